"""A detection as a picture, `earmark verify --plot OUT`: waveform, the mark's score over time, and spans.

Works on the JSON object of `POST /v1/detections` with its `waveform`, as `wording` does. matplotlib draws it
(`pip install 'earmark[plot]'`) in the format of the file's suffix. Not here: numbers that the JSON does not
have."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.errors import CommandError, UsageError
from api.cli.wording import TECHNIQUES, VERDICTS, how_sure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

JsonObject = Mapping[str, Any]

NUM_PEAKS = 1000
FORMATS = (".png", ".svg", ".pdf")
COLOURS = {
    "watermark_keyed": "#0b7a66",
    "watermark_public": "#5b8c00",
    "fingerprint": "#2f5bb7",
    "registry": "#a05a00",
}


def require_plot(path: Path) -> None:
    """Say before any work that the picture cannot be drawn. Raises UsageError, CommandError."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot draws {', '.join(FORMATS)}: name the picture something.png")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise CommandError("--plot needs matplotlib: pip install 'earmark[plot]'") from None


def draw(name: str, detection: JsonObject, suffix: str) -> bytes:
    """The picture as a file. `detection` has a `waveform`; `name` is what the audio is called, and is text:
    dollars in it are no formula."""
    from matplotlib.figure import Figure  # not pyplot: no state of the process, no display

    rows = [row for row in detection["evidence"] if row["segments"]]
    figure = Figure(figsize=(10, 4.6 + 0.4 * len(rows)), layout="constrained")
    outline, scores, lanes = figure.subplots(
        3, 1, sharex=True, height_ratios=(2, 1.5, 0.5 + 0.5 * max(len(rows), 1))
    )
    title = f"{name}: {VERDICTS[detection['verdict']]}\n{detection['verdict_reason']}"
    figure.suptitle(title, fontsize="medium", wrap=True, parse_math=False)
    _outline(outline, detection)
    _scores(scores, detection)
    _lanes(lanes, rows)
    lanes.set_xlim(0, max(detection["input"]["duration_s"], 1e-3))
    lanes.set_xlabel("seconds")
    file = io.BytesIO()
    figure.savefig(file, format=suffix.lower().lstrip("."), dpi=120)
    return file.getvalue()


def _outline(axes: "Axes", detection: JsonObject) -> None:
    peaks, duration_s = detection["waveform"], detection["input"]["duration_s"]
    at_s = [(i + 0.5) / max(len(peaks), 1) * duration_s for i in range(len(peaks))]
    axes.fill_between(at_s, peaks, [-peak for peak in peaks], color="#6f8587", linewidth=0)
    axes.set_ylabel("waveform")
    axes.set_yticks([])


def _scores(axes: "Axes", detection: JsonObject) -> None:
    for row in detection["evidence"]:
        if row.get("scores"):
            at_s = [one["at_s"] for one in row["scores"]]
            axes.plot(at_s, [one["score"] for one in row["scores"]], color=COLOURS[row["technique"]])
    axes.axhline(0.0, color="#4d5f60", linewidth=0.6)
    axes.set_ylabel("mark, z of 1 s")


def _lanes(axes: "Axes", rows: list[JsonObject]) -> None:
    """One lane for each technique that found something, the first on top."""
    for lane, row in enumerate(rows):
        spans = [(span["start_s"], span["end_s"] - span["start_s"]) for span in row["segments"]]
        axes.broken_barh(spans, (lane - 0.3, 0.6), facecolors=COLOURS[row["technique"]])
        if row["false_alarm_probability"] is not None:
            words = how_sure(row["false_alarm_probability"])
            axes.text(0.0, lane - 0.36, words, fontsize="x-small", parse_math=False)
    axes.set_yticks(range(len(rows)), [TECHNIQUES[row["technique"]] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
