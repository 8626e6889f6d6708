"""Every generation that a filter names, as CSV or JSON Lines, a page at a time: `earmark export` and
`GET /v1/generations/export`.

JSON Lines is what `GET /v1/generations/{id}` answers, one object a line; where receipts are asked for, each
also has `receipt`, as a row of `GET /v1/generations` has it. CSV has the same columns; a text that a
spreadsheet would take for a formula gets an apostrophe before it (CWE-1236). Newest first. What is
begun while the export runs is not in it; what was there at its start is there once, whatever its state is
by then."""

import csv
import io
from collections.abc import Iterator, Sequence
from enum import StrEnum

from api import listing
from api.schemas import GenerationRecord, ListedGeneration
from registry import GenerationFilter, Registry

PAGE = 500
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class ExportFormat(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSONL = "jsonl"


MEDIA_TYPES = {ExportFormat.CSV: "text/csv; charset=utf-8", ExportFormat.JSONL: "application/jsonl"}


def columns(receipts: bool) -> tuple[str, ...]:
    """There is no column for receipts where none are asked for."""
    return tuple((ListedGeneration if receipts else GenerationRecord).model_fields)


def pages(
    registry: Registry, wanted: GenerationFilter, *, receipts: bool = False
) -> Iterator[Sequence[GenerationRecord]]:
    """Each page as records, with `receipts` as listed generations; blocks on the database for each. Raises
    DatabaseUnavailable; with receipts LogDamaged, too."""
    after = None
    while found := registry.generations(PAGE, after, wanted):
        yield listing.listed(registry, found, receipts=True) if receipts else listing.records(registry, found)
        after = found[-1].generation_id


def header(form: ExportFormat, *, receipts: bool = False) -> str:
    """What comes before the first row."""
    return _csv_lines([list(columns(receipts))]) if form is ExportFormat.CSV else ""


def lines(records: Sequence[GenerationRecord], form: ExportFormat) -> str:
    """One page as text, each row with its line end."""
    if form is ExportFormat.JSONL:
        return "".join(record.model_dump_json() + "\n" for record in records)
    rows = [record.model_dump(mode="json") for record in records]
    return _csv_lines([[_cell(value) for value in row.values()] for row in rows])


def _csv_lines(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)  # RFC 4180
    return out.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA_STARTS) else text
