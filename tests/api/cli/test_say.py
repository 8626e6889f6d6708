"""`earmark say` as a person types it, with a tiny voice whose speech is noise."""

import io
import json
from pathlib import Path

import pytest

from audio import decode
from tests.api.cli.test_main import Earmark, _is_one_sentence, assert_refused, earmark
from tests.generation.tiny import write_tiny_voice

__all__ = ["earmark"]  # a fixture
TEXT = "Hello there, how are you today? The quick brown fox jumps over 2 lazy dogs while it rains."


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_voice(tmp_path_factory.mktemp("voices") / "tiny")


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [("out.wav", ("issued_here",)), ("out.opus", ("issued_here", "issued_here_altered"))],  # noise suffers
)
def test_what_is_said_is_verified_as_issued_here_and_is_in_the_log(
    earmark: Earmark, voice: Path, tmp_path: Path, name: str, verdicts: tuple[str, ...]
) -> None:
    out = tmp_path / name
    code, said, err = earmark("say", TEXT, "-o", out, "--model", voice, "--seed", 3, "--json")
    assert (code, err) == (0, "")
    issued = json.loads(said)
    assert issued["model"] == "tiny"
    assert decode(out.read_bytes()).wav_T.shape[0] / 24_000 == pytest.approx(issued["duration_s"], abs=0.05)
    detection = json.loads(earmark("verify", out, "--json").out)
    assert detection["verdict"] in verdicts, detection["verdict_reason"]
    assert detection["generation"]["generation_id"] == issued["generation_id"]
    [entry] = json.loads(earmark("log", "list", "--json").out)
    assert entry["content_id"] == issued["content_id"]
    assert (entry["state"], entry["system"], entry["model"]) == ("complete", "earmark", "tiny")
    assert not list(tmp_path.glob(".*.part"))


def test_without_a_model_it_is_the_voice_that_comes_with_the_package(
    earmark: Earmark, tmp_path: Path
) -> None:
    out, text = tmp_path / "out.wav", "Good morning, my dear friends, how are you?"
    code, said, err = earmark("say", text, "-o", out, "--seed", 3, "--json")
    assert (code, err) == (0, "")
    assert json.loads(said)["model"] == "mini"
    detection = json.loads(earmark("verify", out, "--json").out)
    assert detection["verdict"] == "issued_here", detection["verdict_reason"]
    assert detection["generation"]["generation_id"] == json.loads(said)["generation_id"]


def test_text_may_come_from_standard_input_and_a_seed_repeats_it(
    earmark: Earmark, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marks differ, for each is its own generation; the ids are printed for a reader."""
    lengths = []
    for number in (1, 2):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Hello there, how are you?\n")))
        out = tmp_path / f"{number}.wav"
        code, said, _ = earmark("say", "-o", out, "--model", voice, "--seed", 5, "--style", "whisper")
        assert code == 0
        assert "generation " in said and "content id " in said
        lengths.append(len(out.read_bytes()))
    assert lengths[0] == lengths[1]
    assert (tmp_path / "1.wav").read_bytes() != (tmp_path / "2.wav").read_bytes()


def test_what_cannot_be_said_is_one_sentence_and_nothing_is_registered(
    earmark: Earmark, voice: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.wav"
    wrong = [
        (["say", "...", "-o", out, "--model", voice], 1, "nothing that can be spoken"),
        (["say", TEXT, "-o", out, "--model", voice, "--style", "angry"], 1, "whisper"),
        (["say", TEXT, "-o", out, "--model", voice, "--voice", "nobody"], 1, "kathleen"),
        (["say", TEXT, "-o", out, "--model", tmp_path / "absent"], 1, "absent"),
    ]
    assert_refused(earmark, wrong)
    assert not out.exists()
    assert json.loads(earmark("log", "list", "--json").out) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [(["-o", "out.wav", "--seed", str(2**70)], "seed"), (["-o", "out.mp3"], ".ogg")],
    ids=["a seed that is too large", "a name of another format"],
)
def test_options_that_cannot_be_met_exit_2(
    earmark: Earmark, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    """Such a seed ended in a traceback, and out.mp3 was WAV."""
    with pytest.raises(SystemExit) as ended:
        earmark("say", TEXT, *words)
    assert ended.value.code == 2
    assert named in capsys.readouterr().err.splitlines()[-1]


def test_an_output_that_cannot_be_written_leaves_an_aborted_row(
    earmark: Earmark, voice: Path, tmp_path: Path
) -> None:
    """Its row was durable before; nobody received anything."""
    code, _, err = earmark("say", "Hello.", "-o", tmp_path / "absent" / "out.wav", "--model", voice)
    assert code == 1
    assert _is_one_sentence(err) and "-o" in err
    [entry] = json.loads(earmark("log", "list", "--json").out)
    assert entry["state"] == "aborted"
