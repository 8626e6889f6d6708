"""The demo's table and its judgement, from detections written by hand."""

from typing import Any

from api.demo.cases import HUMAN, NOT_ISSUED, OURS, Case
from api.demo.report import Row, failures, table


def _row(
    name: str, required: frozenset[str], verdict: str, *evidence: dict[str, Any], of: str | None = None
) -> Row:
    """A row about a copy of generation 0198-77, attributed to `of`."""
    detection = {
        "verdict": verdict,
        "verdict_reason": "because",
        "evidence": list(evidence),
        "generation": {"generation_id": of} if of else None,
    }
    return Row(Case(name, b"", required, "0198-77"), detection, latency_ms=123.4)


def _evidence(technique: str, p: float | None, *segments: dict[str, Any]) -> dict[str, Any]:
    return {"technique": technique, "false_alarm_probability": p, "segments": list(segments)}


FOUND = _row(
    "a_mp3_32k.mp3",
    OURS,
    "issued_here",
    _evidence("watermark_keyed", 1.23e-9, {"content_id": "00c0ffee0042"}, {"content_id": None}),
    _evidence("fingerprint", 1e-5, {"generation_id": "0198-77", "offset_s": 3.9, "start_s": 0.4}),
    of="0198-77",
)
HUMAN_CALLED_OURS = _row("b_unmarked.flac", HUMAN, "issued_here", _evidence("watermark_keyed", 0.5))


def test_the_table_has_one_line_per_file_under_a_heading() -> None:
    assert table([FOUND, HUMAN_CALLED_OURS], {"0198-77": "a"}).splitlines() == [
        "file             verdict      watermark p  payload       fingerprint match  ms",
        "---------------  -----------  -----------  ------------  -----------------  ---  ----------",
        "a_mp3_32k.mp3    issued_here  1.2e-09      00c0ffee0042  a at 3.50 s        123  ok",
        "b_unmarked.flac  issued_here  0.5          -             -                  123  UNEXPECTED",
    ]


def test_a_row_that_came_out_otherwise_than_it_must_is_named_with_the_reason() -> None:
    assert failures([FOUND, HUMAN_CALLED_OURS]) == [
        "b_unmarked.flac: the verdict must be not_detected, but is issued_here: because"
    ]


def test_a_copy_that_is_attributed_to_another_generation_fails_the_demo() -> None:
    """The right verdict about the wrong utterance is a false accusation."""
    assert failures([_row("a.mp3", OURS, "issued_here", of="0198-99")]) == [
        "a.mp3: it is attributed to generation 0198-99, but is a copy of 0198-77"
    ]
    assert not failures([_row("a.mp3", OURS, "issued_here", of="0198-77")])


def test_a_pasted_mark_that_is_called_issued_fails_the_demo() -> None:
    """The two verdicts that would be false about it, and only these."""
    assert not NOT_ISSUED & OURS
    for verdict in OURS:
        assert failures([_row("pasted.flac", NOT_ISSUED, verdict)])
    assert not failures([_row("pasted.flac", NOT_ISSUED, "mark_transplanted")])
