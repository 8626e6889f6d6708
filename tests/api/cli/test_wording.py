"""What a person reads of a detection. The objects here are written by hand from the published contract."""

from typing import Any

import pytest

from api.cli.wording import VERDICTS, describe, how_sure, notes


def _evidence(technique: str, outcome: str, p: float | None = None, **segment: Any) -> dict[str, Any]:
    return {
        "technique": technique,
        "outcome": outcome,
        "reason": "no weights are installed" if outcome == "not_applicable" else None,
        "false_alarm_probability": p,
        "segments": [segment] if segment else [],
    }


DETECTION: dict[str, Any] = {
    "verdict": "issued_here",
    "verdict_reason": "The mark and the fingerprint name the same generation.",
    "evidence": [
        _evidence("watermark_keyed", "found", 2e-13, start_s=0.0, end_s=8.24, content_id="00c0ffee0042"),
        _evidence("watermark_public", "not_applicable"),
        _evidence(
            "fingerprint", "found", 1e-4, start_s=0.0, end_s=8.0, generation_id="0198-77", offset_s=3.5
        ),
        _evidence("registry", "found"),
    ],
    "limits": ["The mark does not say who spoke."],
}


def test_a_detection_is_a_verdict_and_one_line_per_technique() -> None:
    assert describe("a.wav", DETECTION).splitlines() == [
        "a.wav: issued here",
        "  The mark and the fingerprint name the same generation.",
        "  keyed watermark   found           a random clip would look like this about once in 10^12"
        "; 0.0 to 8.2 s, content id 00c0ffee0042",
        "  public watermark  not applicable  no weights are installed",
        "  fingerprint       found           a random clip would look like this about once in 10,000"
        "; 0.0 to 8.0 s, generation 0198-77 at 3.50 s",
        "  registry          found",
    ]


def test_a_content_id_that_was_recognised_says_so_and_how_surely() -> None:
    segment = {"start_s": 0.0, "end_s": 4.0, "content_id": "00c0ffee0042"}
    row = _evidence("watermark_keyed", "found", 1e-4, **segment, content_id_false_alarm_probability=3e-9)
    assert (
        describe("a.wav", {**DETECTION, "evidence": [row]})
        .splitlines()[2]
        .endswith(
            "0.0 to 4.0 s, content id 00c0ffee0042 (recognised; another would fit as well about once in 10^8)"
        )
    )


def test_a_limit_that_holds_for_every_file_is_said_once() -> None:
    other = {**DETECTION, "limits": ["The mark does not say who spoke.", "A mark can be copied."]}
    assert notes([DETECTION, other]).splitlines() == [
        "note: The mark does not say who spoke.",
        "note: A mark can be copied.",
    ]


def test_nothing_detected_says_that_it_does_not_mean_a_human_spoke() -> None:
    assert (
        "does not mean that a human"
        in describe("a.wav", {**DETECTION, "verdict": "not_detected"}).splitlines()[0]
    )


def test_a_pasted_mark_never_begins_with_the_word_issued() -> None:
    """People read the first words only."""
    first = describe("a.wav", {**DETECTION, "verdict": "mark_transplanted"}).splitlines()[0]
    assert first.startswith("a.wav: NOT what was issued")


def test_there_is_a_sentence_for_every_verdict_of_the_service() -> None:
    from api.verdict import Verdict

    assert set(VERDICTS) == {verdict.value for verdict in Verdict}


def test_many_spans_are_shortened_and_counted() -> None:
    segments = [{"start_s": float(s), "end_s": s + 1.0} for s in range(10)]
    evidence = {**_evidence("watermark_keyed", "found", 1e-3), "segments": segments}
    line = describe("a.wav", {**DETECTION, "evidence": [evidence]}).splitlines()[2]
    assert line.endswith("2.0 to 3.0 s; and 7 more")


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (1.0, "a random clip usually looks like this"),
        (0.25, "a random clip would look like this about once in 4"),
        (1 / 1234, "a random clip would look like this about once in 1,200"),
        (1e-6, "a random clip would look like this about once in 10^6"),
        (1e-12, "a random clip would look like this about once in 10^12"),
        (0.0, "a random clip would look like this less than once in 10^300"),
    ],
)
def test_a_false_alarm_probability_is_said_as_a_count(p: float, words: str) -> None:
    assert how_sure(p) == words
