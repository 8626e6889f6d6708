"""The command line as a person types it: exit codes, sentences on stderr, nothing else on stdout.

Real service, real PostgreSQL, real recordings. Commands run in this process where that shows the same.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from api.cli.main import main

ASSETS = Path(__file__).resolve().parents[2] / "assets"
SPEECH = ASSETS / "amelia.flac"
OTHER_SPEECH = ASSETS / "krisgesling.flac"


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Earmark = Callable[..., Result]


@pytest.fixture
def earmark(tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]) -> Earmark:
    """Run `earmark WORDS...` in this process, on a data folder and database of the test's own."""
    common = ["--data-dir", str(tmp_path / "data"), "--database-url", database_url]

    def run(*words: object) -> Result:
        capsys.readouterr()
        code = main([*common, *map(str, words)])
        return Result(code, *capsys.readouterr())

    return run


def _is_one_sentence(text: str) -> bool:
    return text.startswith("earmark: ") and len(text.splitlines()) == 1 and "Traceback" not in text


def assert_refused(earmark: Earmark, wrong: Sequence[tuple[Sequence[object], int, str]]) -> None:
    """Each command line ends with its exit code and one sentence that names what is wrong."""
    for words, exit_code, named in wrong:
        code, said, err = earmark(*words)
        assert (code, said) == (exit_code, ""), words
        assert _is_one_sentence(err) and named in err


# the main job


def test_what_was_marked_is_verified_as_issued_here_and_is_in_the_log(
    earmark: Earmark, tmp_path: Path
) -> None:
    marked = tmp_path / "marked.flac"
    code, out, err = earmark("mark", SPEECH, "-o", marked, "--json", "--system", "espeak", "--model", "en-gb")
    assert (code, err) == (0, "")
    issued = json.loads(out)
    assert issued["container"] == "flac"
    assert marked.read_bytes()[:4] == b"fLaC"

    detection = json.loads(earmark("verify", marked, "--json").out)
    assert detection["verdict"] == "issued_here"
    assert detection["generation"]["generation_id"] == issued["generation_id"]

    [entry] = json.loads(earmark("log", "list", "--json").out)
    assert entry["generation_id"] == issued["generation_id"]
    assert entry["content_id"] == issued["content_id"]
    assert (entry["state"], entry["system"], entry["model"]) == ("complete", "espeak", "en-gb")


def test_verify_prints_a_block_for_each_file_and_exits_0_whatever_the_verdict(
    earmark: Earmark, tmp_path: Path
) -> None:
    marked = tmp_path / "marked.wav"
    earmark("mark", SPEECH, "-o", marked)
    code, out, err = earmark("verify", marked, OTHER_SPEECH)
    assert (code, err) == (0, "")
    heads = [line for line in out.splitlines() if not line.startswith(" ")]
    assert heads[:2] == [
        f"{marked}: issued here",
        f"{OTHER_SPEECH}: nothing detected (this does not mean that a human spoke)",
    ]
    assert all(line.startswith("note: ") for line in heads[2:])
    assert out.count("keyed watermark") == out.count("fingerprint  ") == 2


def test_several_files_with_json_are_one_list(earmark: Earmark) -> None:
    detections = json.loads(earmark("verify", "--json", SPEECH, OTHER_SPEECH).out)
    assert [detection["verdict"] for detection in detections] == ["not_detected", "not_detected"]


def test_the_log_shows_the_newest_first_and_no_more_than_asked(earmark: Earmark, tmp_path: Path) -> None:
    assert "nothing like that was issued" in earmark("log", "list").out
    ids = []
    for number in range(3):
        out = earmark("mark", SPEECH, "-o", tmp_path / f"{number}.flac", "--json").out
        ids.append(json.loads(out)["generation_id"])
    listed = json.loads(earmark("log", "list", "--json", "--limit", 2).out)
    assert [entry["generation_id"] for entry in listed] == [ids[2], ids[1]]
    lines = earmark("log", "list").out.splitlines()
    assert [line.split()[2] for line in lines] == ids[::-1]


def test_audio_flows_through_standard_input_and_output(tmp_path: Path, database_url: str) -> None:
    """In a process of its own: what is said about the audio must not be mixed into the audio."""
    words = ["--data-dir", tmp_path / "data", "--database-url", database_url]
    program = [sys.executable, "-m", "api.cli.main", *map(str, words)]
    marked = subprocess.run(
        [*program, "mark", "-", "-o", "-"], input=SPEECH.read_bytes(), capture_output=True, check=True
    )
    assert marked.stdout[:4] == b"fLaC"
    assert b"generation" in marked.stderr
    verified = subprocess.run(
        [*program, "verify", "--json", "-"], input=marked.stdout, capture_output=True, check=True
    )
    assert json.loads(verified.stdout)["verdict"] == "issued_here"
    assert verified.stderr == b""


def test_a_rebuilt_index_is_consistent_and_still_finds_what_was_issued(
    earmark: Earmark, tmp_path: Path
) -> None:
    marked = tmp_path / "marked.flac"
    earmark("mark", SPEECH, "-o", marked)
    before = json.loads(earmark("index", "status", "--json").out)
    assert earmark("index", "rebuild").code == 0
    assert earmark("index", "check").code == 0
    after = json.loads(earmark("index", "status", "--json").out)
    assert after["num_windows"] == before["num_windows"] > 0
    assert json.loads(earmark("verify", marked, "--json").out)["verdict"] == "issued_here"


# wrong usage: exit code 2


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["marc", "a.wav"],
        ["mark", "a.wav"],
        ["verify"],
        ["log"],
        ["log", "list", "--limit", "0"],
        ["log", "list", "--limit", "many"],
        ["serve", "--port", "70000"],
        ["serve", "--port", "0"],
        ["serve", "--device", "tpu"],
        ["index", "repair"],
        ["verify", "--verbose", "a.wav"],
    ],
    ids=" ".join,
)
def test_a_mistyped_command_exits_2_and_names_what_is_wrong(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: " in err.splitlines()[-1]


def test_a_setting_that_does_not_fit_exits_2_and_is_named(
    earmark: Earmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARMARK_MAX_DURATION_S", "soon")
    code, out, err = earmark("log", "list")
    assert (code, out) == (2, "")
    assert _is_one_sentence(err) and "max-duration-s" in err


# failures: exit code 1


def test_a_missing_file_is_one_sentence_and_does_not_stop_the_others(earmark: Earmark) -> None:
    code, out, err = earmark("verify", "absent.wav", SPEECH)
    assert code == 1
    assert out.startswith(f"{SPEECH}: ")
    assert _is_one_sentence(err) and "absent.wav" in err


def test_a_file_that_is_no_audio_is_one_sentence_that_names_it(earmark: Earmark, tmp_path: Path) -> None:
    archive = tmp_path / "speech.wav"
    archive.write_bytes(b"PK\x03\x04" + bytes(200))
    for words in (["verify", archive], ["mark", archive, "-o", tmp_path / "out.wav"]):
        code, out, err = earmark(*words)
        assert (code, out) == (1, "")
        assert _is_one_sentence(err) and str(archive) in err
    assert not (tmp_path / "out.wav").exists()


def test_an_output_that_cannot_be_written_leaves_no_torn_file(earmark: Earmark, tmp_path: Path) -> None:
    target = tmp_path / "absent" / "out.flac"
    code, out, err = earmark("mark", SPEECH, "-o", target)
    assert (code, out) == (1, "")
    assert _is_one_sentence(err) and "-o" in err
    occupied = tmp_path / "folder"
    occupied.mkdir()
    assert earmark("mark", SPEECH, "-o", occupied).code == 1
    assert not list(tmp_path.glob(".*.part"))


def test_an_unreachable_database_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"postgresql://nobody@/earmark?host={tmp_path}"
    assert main(["--database-url", url, "--data-dir", str(tmp_path), "log", "list"]) == 1
    assert _is_one_sentence(capsys.readouterr().err)


def test_a_service_that_cannot_start_says_why_in_one_sentence(tmp_path: Path) -> None:
    """The server's framework would print the traceback of its own start."""
    words = ["serve", "--data-dir", str(tmp_path), "--port", "1"]
    words += ["--database-url", f"postgresql://nobody@/earmark?host={tmp_path}"]
    ended = subprocess.run(
        [sys.executable, "-m", "api.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 1
    assert "the database does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_model_that_is_not_there_is_said_in_one_sentence(tmp_path: Path, database_url: str) -> None:
    words = ["serve", "--data-dir", str(tmp_path), "--port", "1", "--database-url", database_url]
    ended = subprocess.run(
        [sys.executable, "-m", "api.cli.main", *words, "--model", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 1
    assert "nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_fault_of_ours_keeps_its_traceback(earmark: Earmark, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swallowing it into a sentence would hide the only thing that helps."""
    from api.cli import session

    def broken(_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(session, "settings", broken)
    with pytest.raises(ZeroDivisionError):
        earmark("log", "list")


def test_a_reader_that_leaves_early_is_no_error_message(tmp_path: Path) -> None:
    """`earmark --help | head -1` printed a second error when the interpreter flushed at its end."""
    program = "from api.cli.main import main; import sys; sys.exit(main(['verify', '--help']))"
    head = f'{sys.executable} -c "{program}" | true'
    ended = subprocess.run(["sh", "-c", head], capture_output=True, text=True, check=True)
    assert "Traceback" not in ended.stderr


def test_torch_computes_in_one_thread_beside_other_programs(earmark: Earmark) -> None:
    """Left to itself, on two cores of which one was busy, `verify` took 10 s for what takes 0.25."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert earmark("verify", SPEECH).code == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_numpy_starts_no_threads_beside_a_command() -> None:
    """Its threads wait for each other: beside another program `verify` took half as long again."""
    told = (
        "import os, sys\n"
        "from api.cli.main import main\n"
        "try:\n    main(['demo', '--nonsense'])\n"
        "except SystemExit:\n    pass\n"
        "assert 'numpy' not in sys.modules\n"
        "import numpy\n"
        "numpy.ones((500, 500)) @ numpy.ones((500, 500))\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    ran = subprocess.run(
        [sys.executable, "-c", told], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "1\n"
