"""A progress line on a terminal; no bar anywhere else, so that logs and pipes stay clean.

`draw` may be called as often as it likes: it writes at most ten times a second, and always the last step.
"""

import sys
import time
from typing import TextIO

_MIN_INTERVAL_S = 0.1  # faster than this is only flicker
_BAR_WIDTH = 30


class Progress:
    """One line that is drawn over itself. A context manager; on leaving, the line is removed."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._started_s = time.monotonic()
        self._drawn_s = float("-inf")
        self._width = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the line away, so that something else can be printed in its place."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0
            self._drawn_s = float("-inf")

    def note(self, text: str) -> None:
        """For work that reports in words: only the latest on a terminal, every one as a line elsewhere."""
        if self._stream.isatty():
            self._overwrite(f"{self._label} {text}")
        else:
            print(text, file=self._stream, flush=True)

    def draw(self, done: int, total: int) -> None:
        """Show `done` of `total` steps; `total` 0 means there is nothing to do."""
        if not self._stream.isatty():
            return
        now_s = time.monotonic()
        if now_s - self._drawn_s < _MIN_INTERVAL_S and done < total:
            return
        self._drawn_s = now_s
        self._overwrite(f"{self._label} {render(done, total)} {now_s - self._started_s:.0f} s")

    def _overwrite(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)


def render(done: int, total: int) -> str:
    """The bar itself, such as `[######      ]  50 % (5 of 10)`. More than all counts as all."""
    fraction = min(1.0, done / total) if total else 1.0
    filled = round(fraction * _BAR_WIDTH)
    return f"[{'#' * filled}{' ' * (_BAR_WIDTH - filled)}] {fraction:4.0%} ({done} of {total})"
