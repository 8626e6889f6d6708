"""The pages and their files as they are served: put together once, from this folder, when the application is
made.

    site = Site.load()
    site.page("/", "de-CH, en;q=0.8")       # HTML in the first language that is there, else English
    site.asset("earmark.css")               # None for every name that is no file of ours

A template says `{{verify.title}}` where `strings/<language>.json` has the words, so the first paint has its
text and nothing moves when scripts arrive; scripts get the same words as the module `strings.js`. Each page
names all modules it leads to, so that they load side by side. Not here: headers (`api.routes.pages`)."""

import gzip
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PAGES = {"/": "verify", "/talk": "talk", "/log": "log"}
ENGLISH = "en"
STRINGS_MODULE = "strings.js"

_FOLDER = Path(__file__).parent
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HTML = "text/html; charset=utf-8"
_PLACE = re.compile(r"\{\{([a-z_.]+)\}\}")
_IMPORT = re.compile(r'^(?:import|export) [^;"]*"\./([a-z_.]+)";$', re.MULTILINE)


@dataclass(frozen=True)
class Asset:
    """One file as it is sent, and the same packed."""

    data: bytes
    packed: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Self:
        etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        return cls(data, gzip.compress(data, mtime=0), media_type, etag)


@dataclass(frozen=True)
class Site:
    """All that is served, by language where it has words."""

    languages: Mapping[str, Mapping[str, Asset]]  # pages by path, and strings.js
    assets: Mapping[str, Asset]

    @classmethod
    def load(cls, folder: Path = _FOLDER) -> Self:
        """Read the folder. Raises KeyError when a template uses words that a language lacks."""
        static = {path.name: path for path in sorted((folder / "static").iterdir())}
        languages = {}
        for path in sorted((folder / "strings").glob("*.json")):
            strings: dict[str, str] = json.loads(path.read_text("utf-8"))
            pages = {
                address: Asset.of(_page(folder, name, path.stem, strings).encode(), _HTML)
                for address, name in PAGES.items()
            }
            module = f"export default {json.dumps(strings, ensure_ascii=False)};\n"
            languages[path.stem] = pages | {STRINGS_MODULE: Asset.of(module.encode(), _MEDIA_TYPES[".js"])}
        assets = {
            name: Asset.of(path.read_bytes(), _MEDIA_TYPES[path.suffix]) for name, path in static.items()
        }
        return cls(languages, assets)

    def page(self, address: str, accept_language: str = "") -> Asset:
        """One of PAGES."""
        return self.languages[self._language(accept_language)][address]

    def asset(self, name: str, accept_language: str = "") -> Asset | None:
        """A file by its name, or the words of the caller's language by STRINGS_MODULE."""
        if name == STRINGS_MODULE:
            return self.page(name, accept_language)
        return self.assets.get(name)

    def _language(self, accept_language: str) -> str:
        """The first wanted one that is there; weights other than the order are passed over."""
        for wanted in accept_language.lower().split(","):
            primary = wanted.split(";")[0].strip().split("-")[0]
            if primary in self.languages:
                return primary
        return ENGLISH


def _page(folder: Path, name: str, language: str, strings: Mapping[str, str]) -> str:
    templates = folder / "templates"
    text = (templates / "frame.html").read_text("utf-8")
    text = text.replace("<!-- main -->", (templates / f"{name}.html").read_text("utf-8"))
    text = text.replace(f'data-page="{name}"', 'aria-current="page"')
    text = text.replace("<!-- modules -->", "\n".join(_module_links(folder / "static", f"{name}.js")))
    places = {**strings, "lang": language, "page.title": strings[f"{name}.title"]}
    return _PLACE.sub(lambda place: html.escape(places[place[1]]), text)


def _module_links(static: Path, entry: str) -> Iterator[str]:
    """The module of a page, and all that it imports."""
    yield f'<script type="module" src="/web/{entry}"></script>'
    for name in sorted(imported(static, entry)):
        yield f'<link rel="modulepreload" href="/web/{name}">'


def imported(static: Path, entry: str) -> set[str]:
    """All modules that a module of the folder imports, directly or not."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        path = static / waiting.pop()
        if path.exists():  # strings.js is not a file
            new = set(_IMPORT.findall(path.read_text("utf-8"))) - found
            found |= new
            waiting += sorted(new)
    return found
