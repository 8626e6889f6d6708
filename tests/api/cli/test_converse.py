"""`earmark converse` as a person types it, with a tiny model that says noise."""

import json
from pathlib import Path

import pytest

from audio import decode
from tests.api.cli.test_main import Earmark, assert_refused, earmark
from tests.generation.tiny import write_tiny_checkpoint

__all__ = ["earmark"]  # a fixture
USER = Path(__file__).parents[2] / "assets" / "kerstin_2.flac"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


def test_a_reply_has_the_users_length_and_is_issued_here(
    earmark: Earmark, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "reply.wav"
    user_s = decode(USER.read_bytes()).source.duration_s
    code, said, err = earmark(
        "converse", USER, "-o", out, "--model", model, "--seed", 3, "--after", 1, "--json"
    )
    assert (code, err) == (0, "")
    issued = json.loads(said)
    assert issued["text"]
    assert user_s + 1 <= issued["duration_s"] < user_s + 1.09
    assert len(decode(out.read_bytes()).wav_T) / 24_000 == pytest.approx(issued["duration_s"], abs=1e-3)
    detection = json.loads(earmark("verify", out, "--json").out)
    assert detection["verdict"] == "issued_here", detection["verdict_reason"]
    assert detection["generation"]["generation_id"] == issued["generation_id"]
    [entry] = json.loads(earmark("log", "list", "--json").out)
    assert (entry["state"], entry["system"], entry["model"]) == ("complete", "earmark", "tiny")


def test_what_cannot_be_answered_is_one_sentence_and_nothing_is_registered(
    earmark: Earmark, model: Path, tmp_path: Path
) -> None:
    out, text = tmp_path / "reply.wav", tmp_path / "text.wav"
    text.write_bytes(b"no audio at all")
    wrong = [
        (["converse", tmp_path / "absent.wav", "-o", out, "--model", model], 1, "absent.wav"),
        (["converse", text, "-o", out, "--model", model], 1, "text.wav"),
        (["converse", USER, "-o", out, "--model", tmp_path / "absent"], 1, "absent"),
    ]
    assert_refused(earmark, wrong)
    assert not out.exists()
    assert json.loads(earmark("log", "list", "--json").out) == []


def test_without_a_name_it_is_the_one_of_the_package(earmark: Earmark, tmp_path: Path) -> None:
    out = tmp_path / "reply.opus"
    code, said, err = earmark("converse", USER, "-o", out, "--seed", 7, "--json")
    assert (code, err) == (0, "")
    assert json.loads(said)["model"] == "mini"
    assert decode(out.read_bytes()).source.duration_s == pytest.approx(
        json.loads(said)["duration_s"], abs=0.1
    )
