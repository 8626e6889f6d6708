"""Every generation that a filter names, as CSV or JSON Lines, a page at a time: `earmark export` and
`GET /v1/generations/export`.

JSON Lines is what `GET /v1/generations/{id}` answers, one object a line. CSV has the same columns; a text
that a spreadsheet would take for a formula gets an apostrophe before it (CWE-1236). Newest first. What is
begun while the export runs is not in it; what was there at its start is there once, whatever its state is
by then."""

import csv
import io
from collections.abc import Iterator
from enum import StrEnum

from api.schemas import GenerationRecord
from registry import GenerationFilter, Registry

PAGE = 500
COLUMNS = tuple(GenerationRecord.model_fields)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class ExportFormat(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSONL = "jsonl"


MEDIA_TYPES = {ExportFormat.CSV: "text/csv; charset=utf-8", ExportFormat.JSONL: "application/jsonl"}


def pages(registry: Registry, wanted: GenerationFilter) -> Iterator[list[GenerationRecord]]:
    """Each page as records; blocks on the database for each. Raises DatabaseUnavailable."""
    after = None
    while found := registry.generations(PAGE, after, wanted):
        standing = registry.standing([generation.generation_id for generation in found])
        yield [GenerationRecord.of(one, standing[one.generation_id]) for one in found]
        after = found[-1].generation_id


def header(form: ExportFormat) -> str:
    """What comes before the first row."""
    return _csv_lines([list(COLUMNS)]) if form is ExportFormat.CSV else ""


def lines(records: list[GenerationRecord], form: ExportFormat) -> str:
    """One page as text, each row with its line end."""
    if form is ExportFormat.JSONL:
        return "".join(record.model_dump_json() + "\n" for record in records)
    rows = [record.model_dump(mode="json") for record in records]
    return _csv_lines([[_cell(row[column]) for column in COLUMNS] for row in rows])


def _csv_lines(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)  # RFC 4180
    return out.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA_STARTS) else text
