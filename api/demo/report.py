"""The demo's table: one row per file, from the JSON of its detection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.demo.cases import Case

_HEADINGS = ("file", "verdict", "watermark p", "payload", "fingerprint match", "ms", "")


@dataclass(frozen=True)
class Row:
    """One file's result. `latency_ms` is from the first byte sent to the last byte received."""

    case: Case
    detection: Mapping[str, Any]
    latency_ms: float

    @property
    def as_expected(self) -> bool:
        attributed = self.attributed_to in (None, self.case.generation_id)
        return attributed and self.detection["verdict"] in self.case.required

    @property
    def attributed_to(self) -> str | None:
        generation = self.detection["generation"]
        return None if generation is None else generation["generation_id"]

    def evidence(self, technique: str) -> Mapping[str, Any] | None:
        return next((one for one in self.detection["evidence"] if one["technique"] == technique), None)


def table(rows: Sequence[Row], names: Mapping[str, str]) -> str:
    """The table as text. `names`: generation id to the name of the recording that was marked under it."""
    cells = [_HEADINGS, *(_cells(row, names) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths).rstrip())
    return "\n".join(lines)


def _cells(row: Row, names: Mapping[str, str]) -> tuple[str, ...]:
    return (
        row.case.file_name,
        row.detection["verdict"],
        _p_value(row.evidence("watermark_keyed")),
        _payload(row.evidence("watermark_keyed")),
        _match(row.evidence("fingerprint"), names),
        f"{row.latency_ms:.0f}",
        "ok" if row.as_expected else "UNEXPECTED",
    )


def _p_value(evidence: Mapping[str, Any] | None) -> str:
    p = evidence and evidence["false_alarm_probability"]
    return "-" if p is None else f"{p:.2g}"


def _payload(evidence: Mapping[str, Any] | None) -> str:
    """The content id that was decoded; several when spans name different ones."""
    found = {segment["content_id"]: None for segment in (evidence or {}).get("segments", ())}
    return " ".join(content_id for content_id in found if content_id) or "-"


def _match(evidence: Mapping[str, Any] | None, names: Mapping[str, str]) -> str:
    """The best match: which recording, and where in it the file begins."""
    segments = (evidence or {}).get("segments") or ()
    if not segments:
        return "-"
    best = segments[0]
    # offset_s is the place of start_s, which is not the file's beginning when that is silent.
    begins_s = round(best["offset_s"] - best["start_s"], 2) + 0.0  # -0.00 is nobody's place
    return f"{names.get(best['generation_id'], best['generation_id'])} at {begins_s:.2f} s"


def failures(rows: Sequence[Row]) -> list[str]:
    """One sentence per row that came out otherwise than it must."""
    return [f"{row.case.file_name}: {_complaint(row)}" for row in rows if not row.as_expected]


def _complaint(row: Row) -> str:
    verdict = row.detection["verdict"]
    if verdict in row.case.required:
        copied = row.case.generation_id or "no generation"
        return f"it is attributed to generation {row.attributed_to}, but is a copy of {copied}"
    required = " or ".join(sorted(row.case.required))
    return f"the verdict must be {required}, but is {verdict}: {row.detection['verdict_reason']}"
