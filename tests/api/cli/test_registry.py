"""`earmark registry`: what an operator does to the registry, and what everyone else then hears of it."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from api.cli.registry import CHANGELOG_KEPT_DAYS, DEAD_KEYS_KEPT_DAYS
from registry import changelog, keys
from tests.api.cli.test_main import SPEECH, Earmark, earmark

__all__ = ["earmark"]


@pytest.fixture
def marked(earmark: Earmark, tmp_path: Path) -> Path:
    """A marked file of this registry."""
    assert earmark("mark", SPEECH, "-o", tmp_path / "marked.flac").code == 0
    return tmp_path / "marked.flac"


def test_a_withdrawal_reaches_who_verifies(earmark: Earmark, marked: Path) -> None:
    """The audio is still ours and still found, and who asks about it hears that it was withdrawn."""
    before = json.loads(earmark("verify", "--json", marked).out)
    assert before["generation"]["withdrawn_at"] is None
    name = before["generation"]["generation_id"]
    done = earmark("registry", "withdraw", name, "--reason", "a voice without consent", "--json")
    assert done.code == 0, done.err
    after = json.loads(earmark("verify", "--json", marked).out)
    assert after["verdict"] == before["verdict"] == "issued_here"
    assert "withdrawn on" in after["verdict_reason"]
    assert after["generation"]["withdrawn_at"] is not None
    found = {row["technique"]: row["outcome"] for row in after["evidence"]}
    assert found == {row["technique"]: row["outcome"] for row in before["evidence"]}
    assert "WITHDRAWN" in earmark("log", "list").out
    entry = json.loads(earmark("log", "show", json.loads(done.out)["index"], "--json").out)["entry"]
    assert (entry["kind"], entry["generation_id"]) == ("revocation", name)
    assert entry["text"] == "a voice without consent"
    assert earmark("log", "monitor").code == 0


def test_a_second_withdrawal_is_the_first_one(earmark: Earmark, marked: Path) -> None:
    """Else the log would say twice, with two reasons and two times, what happened once."""
    name = json.loads(earmark("log", "list", "--json").out)[0]["generation_id"]
    first = earmark("registry", "withdraw", name, "--reason", "one")
    assert earmark("registry", "withdraw", name, "--reason", "another") == first


def test_what_cannot_be_withdrawn_is_named(earmark: Earmark, marked: Path) -> None:
    """And nothing is logged."""
    before = earmark("log", "export").out
    code, _, err = earmark("registry", "withdraw", uuid4(), "--reason", "x")
    assert (code, "holds no generation" in err) == (1, True)
    name = json.loads(earmark("log", "list", "--json").out)[0]["generation_id"]
    code, _, err = earmark("registry", "withdraw", name, "--reason", " ")
    assert (code, "needs a reason" in err) == (1, True)
    assert earmark("log", "export").out == before


def test_a_purge_removes_whose_a_dead_key_was(earmark: Earmark) -> None:
    """The key stays revoked, and a living one keeps its label."""
    for label in ("somebody who left", "somebody who stays"):
        earmark("keys", "create", label, "--scope", "mark")
    dead = next(k for k in json.loads(earmark("keys", "list", "--json").out) if "left" in k["label"])
    earmark("keys", "revoke", dead["key_id"])
    assert "0 keys" in earmark("registry", "purge").out, "revoked a moment ago"
    assert "1 keys" in earmark("registry", "purge", "--dead-keys-after-days", 0).out

    labels = {k["key_id"]: k["label"] for k in json.loads(earmark("keys", "list", "--json").out)}
    assert labels[dead["key_id"]] == keys.PURGED_LABEL
    assert "somebody who stays" in labels.values()
    assert "left" not in earmark("keys", "list").out


@pytest.mark.parametrize("option", ["--dead-keys-after-days", "--changelog-after-days"])
def test_more_days_than_the_calendar_has_are_refused_in_one_sentence(
    earmark: Earmark, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        earmark("registry", "purge", option, 99999999999)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("a number of days is at most 36500, not 99999999999\n")


def test_the_retention_in_the_help_is_that_of_the_store() -> None:
    """The command line repeats it so as not to import the registry."""
    assert keys.DEAD_KEYS_KEPT.days == DEAD_KEYS_KEPT_DAYS
    assert changelog.CHANGELOG_KEPT.days == CHANGELOG_KEPT_DAYS
