"""The pages as files and headers, without a browser: what they may load, that nothing is lost, and the
words."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

import api.web
from api.app import create_app
from api.settings import Settings
from api.web.site import PAGES, Site, imported

FOLDER = Path(api.web.__file__).parent
STATIC = FOLDER / "static"
STRINGS = json.loads((FOLDER / "strings" / "en.json").read_text())
MAX_WEIGHT_BYTES = 400_000


class Elements(HTMLParser):
    """All start tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def get(path: str, **headers: str) -> httpx.Response:
    """From the application itself: the pages need no open service."""
    return TestClient(create_app(Settings())).get(path, headers=headers)


@pytest.mark.parametrize("address", PAGES)
def test_a_page_loads_scripts_and_styles_from_here_only(address: str) -> None:
    """One inline handler or style, and the policy below has to be weakened for all of them."""
    response = get(address)
    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "microphone=(self)" in response.headers["Permissions-Policy"]
    for tag, attributes in Elements(response.text).found:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        assert tag != "style"
        for name in ("src", "href"):
            target = attributes.get(name)
            assert target is None or target[0] in "/#", target
        if tag == "script":
            assert attributes["type"] == "module" and attributes["src"]


def test_no_script_makes_html_of_text() -> None:
    """A file name or a server's sentence that becomes markup is the classic hole; trusted types close it
    too."""
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function")
    for path in STATIC.glob("*.js"):
        assert not forbidden.search(path.read_text()), path.name


def test_every_script_opens_by_saying_what_it_is_and_fits_the_page() -> None:
    """No linter reads them, so the two rules that a reader notices first are here."""
    for path in STATIC.glob("*.js"):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("// ") and len(lines) < 260, path.name
        assert [line for line in lines if len(line) > 110] == []


@pytest.mark.parametrize(
    "name", ["nothing.js", "../site.py", "%2e%2e/site.py", "en.json", "", "strings/en.json"]
)
def test_what_is_no_file_of_the_pages_is_a_404_problem(name: str) -> None:
    response = get(f"/web/{name}")
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


def test_a_file_that_is_there_already_is_not_sent_again() -> None:
    first = get("/web/earmark.css")
    again = get("/web/earmark.css", **{"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


@pytest.mark.parametrize(
    ("wanted", "language"),
    [("", "en"), ("en-GB", "en"), ("xx-YY,fr;q=0.9", "fr"), ("xx", "en"), ("FR", "fr")],
)
def test_another_language_is_one_file_more(wanted: str, language: str, tmp_path: Path) -> None:
    for name in ("static", "templates"):
        (tmp_path / name).symlink_to(FOLDER / name)
    (tmp_path / "strings").mkdir()
    (tmp_path / "strings" / "en.json").write_text(json.dumps(STRINGS))
    french = {**STRINGS, "verify.heading": "Cette parole vient-elle d'ici\u00a0? <b>"}
    (tmp_path / "strings" / "fr.json").write_text(json.dumps(french))
    page = Site.load(tmp_path).page("/", wanted).data.decode()
    assert f'<html lang="{language}">' in page
    assert ("Cette parole vient-elle d&#x27;ici" in page) is (language == "fr")
    assert "<b>" not in page


def test_all_words_that_are_used_exist_and_all_that_exist_are_used() -> None:
    """A missing word is an exception in somebody's browser."""
    code = "\n".join(path.read_text() for path in STATIC.glob("*.js"))
    templates = "\n".join(path.read_text() for path in (FOLDER / "templates").glob("*.html"))
    exact = set(re.findall(r'\bt\(\s*"([a-z0-9_.-]+)"', code))
    exact |= {
        key
        for pair in re.findall(r'\bt\([^()"`]*\? "([\w.-]+)" : (?:[^()"`]*\? )?"([\w.-]+)"', code)
        for key in pair
    }
    exact |= set(re.findall(r'"((?:check|verify|receipt|recheck|mic)\.[a-z_]+)"', code))
    exact |= set(re.findall(r"\{\{([a-z_.]+)\}\}", templates)) - {"lang", "page.title"}
    exact |= {f"{page}.title" for page in PAGES.values()}
    prefixes = tuple(set(re.findall(r"\b(?:t|hasWords)\([^()]*`([a-z_.]+)\$\{", code)))
    bare = {re.sub(r"\.(one|other)$", "", key) for key in STRINGS}
    assert exact <= bare, exact - bare
    assert {key for key in bare if key not in exact and not key.startswith(prefixes)} == set()


@pytest.mark.parametrize("address", PAGES)
def test_a_page_with_all_that_it_loads_is_light(address: str) -> None:
    site = Site.load()
    page = PAGES[address]
    modules = {f"{page}.js", *imported(STATIC, f"{page}.js")}
    parts = [
        site.page(address),
        *(site.asset(name) for name in modules | {"earmark.css", "icons.svg", "logo.svg"}),
    ]
    assert all(part is not None for part in parts)
    assert sum(len(part.data) for part in parts if part) < MAX_WEIGHT_BYTES / 2  # not even packed
