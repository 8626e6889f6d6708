"""What every benchmark needs: counts with Wilson intervals, a table on standard output, JSON on disk."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Proportion:
    """`hits` of `trials`, with the Wilson score interval at 95 % (Wilson, 1927)."""

    hits: int
    trials: int

    @property
    def rate(self) -> float:
        """The share of hits; NaN without trials."""
        return self.hits / self.trials if self.trials else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and upper bound, within [0, 1]."""
        if not self.trials:
            return 0.0, 1.0
        z, n = 1.959964, self.trials
        centre = self.rate + z * z / (2 * n)
        spread = z * math.sqrt(self.rate * (1 - self.rate) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.rate:.1f} % ({self.hits}/{self.trials}; {100 * low:.1f}–{100 * high:.1f})"

    def as_json(self) -> dict[str, Any]:
        """The counts and the interval, as numbers."""
        low, high = self.interval
        return {"hits": self.hits, "trials": self.trials, "rate": self.rate, "low": low, "high": high}


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table whose columns line up in a terminal too."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def corpus_root(argument: Path | None) -> Path:
    """Return the corpus folder given, or the one in EARMARK_CORPUS; exit with a sentence without either."""
    chosen = argument or os.environ.get("EARMARK_CORPUS")
    if chosen is None:
        sys.exit("give the corpus folder: --data FOLDER, or EARMARK_CORPUS=FOLDER (docs/benchmarks.md)")
    return Path(chosen)


def write(name: str, result: dict[str, Any]) -> Path:
    """Write benchmarks/results/<name>.json with the time and the machine; return its path."""
    RESULTS.mkdir(exist_ok=True)
    body = {
        "benchmark": name,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        **result,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    return path
