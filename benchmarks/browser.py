"""Chromium and the pages in it, for the tests and for benchmarks/web.py: nothing here is a mock.

Debian's chromium, driven by Playwright, with a microphone that plays a file. Whatever a page says on its
console and every request it makes is kept."""

import base64
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_WATCH = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const shift of list.getEntries()) window.shifted += shift.value;
}).observe({ type: "layout-shift", buffered: true });
"""

_DROP = """
([zone, name, encoded]) => {
  const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  for (const kind of ["dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
    document.querySelector(zone).dispatchEvent(event);
  }
}
"""


@dataclass
class View:
    """A page, and what it complained of. What a browser logs of a refusal (4xx) is no complaint."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(_WATCH)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.addresses.append(request.url))

    def _on_console(self, message: Any) -> None:
        refused = "the server responded with a status of 4" in message.text
        if message.type in ("error", "warning") and not refused:
            self.complaints.append(message.text)

    def drop(self, name: str, data: bytes, zone: str = "#drop") -> None:
        """Drop a file on a part of the page."""
        self.page.evaluate(_DROP, [zone, name, base64.b64encode(data).decode()])

    def until(self, expression: str, timeout_s: float = 30.0) -> None:
        """Wait until it is true in the page. Playwright's own way evaluates text there, which the pages'
        policy forbids."""
        deadline = time.monotonic() + timeout_s
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"it did not happen: {expression}"
            self.page.wait_for_timeout(50)

    def verdict(self, timeout_s: float = 30.0) -> str:
        """The verdict that is shown, once one is."""
        box = self.page.wait_for_selector("[data-verdict]", timeout=1000 * timeout_s)
        return str(box.get_attribute("data-verdict"))

    @property
    def shifted(self) -> float:
        """All layout shift so far, as browsers count it (CLS)."""
        return float(self.page.evaluate("window.shifted"))

    @property
    def first_paint_ms(self) -> float:
        painted = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        return float(self.page.evaluate(painted))

    @property
    def weight_bytes(self) -> int:
        """What came over the wire for the page and all that it loaded."""
        sizes = "performance.getEntries().reduce((sum, one) => sum + (one.transferSize ?? 0), 0)"
        return int(self.page.evaluate(sizes))


class Browser:
    """One chromium; each view has a profile of its own."""

    def __init__(self, chromium: Any, base_url: str) -> None:
        self._chromium = chromium
        self.base_url = base_url

    @contextmanager
    def view(
        self, address: str, *, width: int = 1200, height: int = 900, dark: bool = False
    ) -> Iterator[View]:
        context = self._chromium.new_context(
            base_url=self.base_url,
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            permissions=["microphone"],
        )
        context.set_default_timeout(90_000)  # a machine with much else to do is no fault of the page
        try:
            view = View(context.new_page())
            view.page.goto(address, wait_until="networkidle")
            yield view
        finally:
            context.close()


@contextmanager
def browsing(base_url: str, microphone: Path | None = None) -> Iterator[Browser]:
    """Chromium until the block ends. `microphone`: a WAV file that its microphone plays, over and over."""
    from playwright.sync_api import sync_playwright

    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags += [f"--use-file-for-fake-audio-capture={microphone}"] if microphone else []
    flags += ["--no-sandbox"] if os.geteuid() == 0 else []  # chromium refuses root's processes a sandbox
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            yield Browser(chromium, base_url)
        finally:
            chromium.close()
