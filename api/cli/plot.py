"""A detection as a picture: `earmark verify --plot OUT.svg`. Waveform, spans of each technique, scores over
time.

Works on the JSON object of `POST /v1/detections` with its `waveform`, as `wording` does, and draws SVG itself
(docs/decisions/0026). Lanes from top to bottom: the outline; for each technique that found something its
spans, each as high as its score in the share of that technique's best. Not here: sound, numbers that the JSON
does not have."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from api.cli.wording import TECHNIQUES, VERDICTS, how_sure

JsonObject = Mapping[str, Any]

NUM_PEAKS = 1000
WIDTH, LEFT, RIGHT = 1000, 170, 20
WAVE_HEIGHT, LANE_HEIGHT, GAP, TOP = 140, 44, 24, 64
COLOURS = {
    "watermark_keyed": "#0b7a66",
    "watermark_public": "#5b8c00",
    "fingerprint": "#2f5bb7",
    "registry": "#a05a00",
}
_NUM_TICKS = 6
_STYLE = "text{font:14px system-ui,sans-serif;fill:#10201f}.small{font-size:12px;fill:#4d5f60}"


def draw(name: str, detection: JsonObject) -> str:
    """The SVG document. `detection` has a `waveform`; `name` is what the file is called."""
    rows = [row for row in detection["evidence"] if row["segments"]]
    height = TOP + WAVE_HEIGHT + GAP + len(rows) * (LANE_HEIGHT + GAP) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}">',
        f"<title>{escape(name)}</title><style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(20, 28, f"{name}: {VERDICTS[detection['verdict']]}"),
        _text(20, 48, detection["verdict_reason"], small=True),
        *_outline(detection["waveform"]),
    ]
    top = TOP + WAVE_HEIGHT + GAP
    for row in rows:
        parts += _lane(row, detection["input"]["duration_s"], top)
        top += LANE_HEIGHT + GAP
    return "\n".join([*parts, *_axis(detection["input"]["duration_s"], top), "</svg>\n"])


def _x(share: float) -> float:
    """Where a share of the duration lies."""
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _text(x: float, y: float, words: str, *, small: bool = False, anchor: str = "start") -> str:
    css = ' class="small"' if small else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}>{escape(words)}</text>'


def _outline(peaks: Sequence[float]) -> Iterator[str]:
    yield _text(20, TOP + WAVE_HEIGHT / 2 + 5, "waveform")
    loudest = max([*peaks, 1e-3])
    middle = TOP + WAVE_HEIGHT / 2
    bars = [
        f"M{_x(i / len(peaks)):.1f} {middle - peak / loudest * WAVE_HEIGHT / 2:.1f}"
        f"V{middle + peak / loudest * WAVE_HEIGHT / 2:.1f}"
        for i, peak in enumerate(peaks)
    ]
    yield f'<path d="{"".join(bars)}" stroke="#6f8587" stroke-width="0.8"/>'


def _lane(row: JsonObject, duration_s: float, top: float) -> Iterator[str]:
    colour = COLOURS[row["technique"]]
    yield _text(20, top + 22, TECHNIQUES[row["technique"]])
    if row["score"] is not None:
        yield _text(20, top + 40, f"score {row['score']:.3g}", small=True)
    yield f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{LANE_HEIGHT}" fill="#eef2f3"/>'
    best = max((span["score"] or 0.0 for span in row["segments"]), default=0.0)
    for span in row["segments"]:
        share = (span["score"] or 0.0) / best if best > 0 else 1.0
        height = LANE_HEIGHT * max(share, 0.1)
        start, end = _x(span["start_s"] / duration_s), _x(span["end_s"] / duration_s)
        words = f"{span['start_s']:.2f} to {span['end_s']:.2f} s"
        if span["score"] is not None:
            words += f", score {span['score']:.3g}"
        yield (
            f'<rect x="{start:.1f}" y="{top + LANE_HEIGHT - height:.1f}" width="{max(end - start, 1):.1f}" '
            f'height="{height:.1f}" fill="{colour}"><title>{escape(words)}</title></rect>'
        )
    if row["false_alarm_probability"] is not None:
        yield _text(LEFT, top - 5, how_sure(row["false_alarm_probability"]), small=True)


def _axis(duration_s: float, top: float) -> Iterator[str]:
    for i in range(_NUM_TICKS):
        share = i / (_NUM_TICKS - 1)
        anchor = "start" if i == 0 else "end" if i == _NUM_TICKS - 1 else "middle"
        yield _text(_x(share), top + 12, f"{share * duration_s:.1f} s", small=True, anchor=anchor)
