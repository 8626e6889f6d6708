"""No barriers that a program can find, at any width and in both colour schemes: axe-core on every page and
state."""

import hashlib
import importlib.resources
from collections.abc import Callable

import pytest

from benchmarks.browser import Browser, View
from tests.api.conftest import Marked, recording
from tests.api.web.conftest import Site, assert_clean

AXE_SHA256 = "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc"
FOCUSED = "((at) => at.id || at.className || at.textContent.trim())(document.activeElement)"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def axe(view: View) -> list[str]:
    """What axe-core (MPL-2.0, of the tests alone) finds serious or critical."""
    source = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_bytes()
    assert hashlib.sha256(source).hexdigest() == AXE_SHA256
    view.page.evaluate(source.decode())
    found = view.page.evaluate("(tags) => axe.run({ runOnly: tags })", RULES)
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:120]} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
        if one["impact"] in ("serious", "critical", "moderate")
    ]


def intake(view: View) -> None:
    view.page.click("#recheck summary")


def dropped(data: bytes) -> Callable[[View], None]:
    def act(view: View) -> None:
        view.drop("a.flac", data)
        view.verdict()
        view.page.click("#expert > summary")
        view.page.wait_for_selector("#expert .facts")

    return act


def refused(view: View) -> None:
    view.drop("a.wav", b"RIFF")
    view.until("document.getElementById('intake-problem').textContent")


def talking(view: View) -> None:
    view.page.click("#start")
    view.until("parseFloat(document.getElementById('marked').textContent) >= 1")
    view.page.click("#stop")
    view.page.wait_for_selector("text=The conversation is over.")


def proved(view: View) -> None:
    view.page.wait_for_selector("#growth svg")
    view.page.click("text=Use a key that you got elsewhere")


STATES = {
    "verify": ("/", intake),
    "refused": ("/", refused),
    "not detected": ("/", dropped(recording("eltocino"))),
    "talk": ("/talk", talking),
    "log": ("/log", proved),
}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_and_nothing_is_wider_than_a_small_phone(
    browser: Browser, site: Site, state: str, dark: bool
) -> None:
    address, act = STATES[state]
    with browser.view(address, dark=dark, width=360 if dark else 1200, height=740) as view:
        act(view)
        assert axe(view) == []
        assert view.page.evaluate("document.documentElement.scrollWidth") <= (360 if dark else 1200)
        assert_clean(view, browser)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_in_a_found_result_and_in_a_proof(
    browser: Browser, kathleen: Marked, dark: bool
) -> None:
    with browser.view("/", dark=dark, width=360, height=740) as view:
        dropped(kathleen.data)(view)
        assert axe(view) == []
        view.page.goto(f"/log#{kathleen.generation_id}")
        view.page.wait_for_selector("#proof [data-valid=true]")
        assert axe(view) == []
        assert view.page.evaluate("document.documentElement.scrollWidth") <= 360
        assert_clean(view, browser)


def test_everything_is_reached_by_keyboard(browser: Browser) -> None:
    """In the order of the page, the skip link first."""
    with browser.view("/") as view:
        reached = []
        for _ in range(13):
            view.page.keyboard.press("Tab")
            reached.append(view.page.evaluate(FOCUSED))
    assert reached[:8] == ["skip", "brand", "Verify", "Talk", "Log", "choose", "record", "url"]
    assert "recheck-choose" in reached
