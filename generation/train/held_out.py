"""Say and keep what a training measured on held-out data: on the terminal, and as a line of held_out.jsonl.

A crash leaves at most the last line cut short; nothing reads the file but people.
"""

import json
from collections.abc import Callable
from pathlib import Path


def note_held_out(
    out: Path, step: int, spent_s: float, figures: dict[str, float], report: Callable[[str], None]
) -> None:
    """`spent_s`: seconds spent on steps so far, over all runs."""
    report(f"step {step} held-out " + " ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    line = json.dumps({"step": step, "spent_s": round(spent_s)} | figures)
    with (out / "held_out.jsonl").open("a") as file:
        file.write(line + "\n")
