"""A URL fetches a file from the public internet or nothing: no inside, no rebinding, no bomb, no wait."""

import contextlib
import http.server
import ipaddress
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import anyio
import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import BodyTooLarge, FetchError, FetchFailure
from api.fetch import MAX_REDIRECTS, Fetcher, Policy, check_url, is_public
from tests.api.conftest import Server, recording
from tests.api.test_hostile_uploads import assert_problem

INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "fec0::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "100::1",
]  # fmt: skip
OUTSIDE = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:1.1.1.1"]


class Files(http.server.BaseHTTPRequestHandler):
    """Answers by path; remembers what was sent along."""

    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append(dict(self.headers.items()))
        name, _, rest = self.path.strip("/").partition("/")
        getattr(self, f"answer_{name}", self.answer_missing)(rest)

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_file(self, _: str) -> None:
        self.send(200, recording("amelia"), Set_Cookie="a=b")

    def answer_missing(self, _: str) -> None:
        self.send(404, b"no")

    def answer_leads(self, rest: str) -> None:
        left = int(rest)
        self.send(302, Location=f"/leads/{left - 1}" if left > 1 else "/file")

    def answer_goes(self, rest: str) -> None:
        self.send(307, Location=rest)

    def answer_nowhere(self, _: str) -> None:
        self.send(301)

    def answer_packed(self, _: str) -> None:
        self.send(200, b"\x1f\x8b", Content_Encoding="gzip")

    def answer_endless(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(bytes(10_000))

    def answer_slow(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def answer_garbage(self, _: str) -> None:
        self.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client had enough
            super().handle()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def files(answers: type[Files] = Files) -> Iterator[int]:
    """The port of a server of these answers, while the block lasts."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with files() as port:
        yield port


def fetch(url: str, port: int | None = None, max_bytes: int = 1_000_000, timeout_s: float = 5.0) -> bytes:
    """With a port: a policy for tests, which may reach this machine's loopback on that port, and only it."""
    loopback = ipaddress.ip_network("127.0.0.1/32")
    policy = None if port is None else Policy(lambda address: address in loopback, frozenset({port}))

    async def run() -> bytes:
        return await Fetcher(timeout_s, policy).fetch(url, max_bytes)

    return anyio.run(run)


def refused(url: str, port: int | None = None, **limits: float) -> FetchFailure:
    with pytest.raises(FetchError) as caught:
        fetch(url, port, **limits)
    return caught.value.reason


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused_before_any_connection(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object, **__: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", never)
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    assert refused(f"http://{host}/") == FetchFailure.REFUSED


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_outside_is_not(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses())
def test_every_address_is_judged_and_none_inside_passes(address: ipaddress.IPv4Address) -> None:
    if is_public(address):
        assert address.is_global
        assert not (
            address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
        )


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "localhost."])
def test_other_ways_to_write_loopback_are_refused(host: str) -> None:
    """The resolver understands all of them; what it answers is what is checked."""
    assert refused(f"http://{host}/") in (FetchFailure.REFUSED, FetchFailure.UNREACHABLE)


def test_one_inside_address_among_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(*_: object, **__: object) -> list:
        return [(0, 0, 0, "", (address, 80)) for address in ("1.1.1.1", "10.0.0.1")]

    monkeypatch.setattr(anyio, "getaddrinfo", two)
    assert refused("http://example.com/") == FetchFailure.REFUSED


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name's second answer is the inside, so there must be no second question."""
    asked, connected = [], []

    async def answers(host: str, *_: object, **__: object) -> list:
        asked.append(host)
        return [(0, 0, 0, "", ("1.1.1.1" if len(asked) == 1 else "127.0.0.1", 80))]

    async def connect(_self: object, host: str, *_: object, **__: object) -> None:
        connected.append(host)
        raise httpcore.ConnectError

    monkeypatch.setattr(anyio, "getaddrinfo", answers)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    assert refused("http://rebind.example/") == FetchFailure.UNREACHABLE
    assert (asked, connected) == (["rebind.example"], ["1.1.1.1"])


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://example.com/a", "file:///etc/passwd", "gopher://example.com/", "http://",
        "http:///a", "http://user@example.com/", "http://user:pw@example.com/", "http://example.com:22/",
        "http://example.com:99999/", "http://example.com:x/", "http://exa mple.com/", "http://a\r\nb/",
        "http://example.com/\r\nX: y", "http://example.com\\@127.0.0.1/", "http://[::1", "http://%31/",
        "http://" + "a" * 64 + ".com/", "http://example.com/" + "a" * 2048, "https://example.com:80x/",
    ],
)  # fmt: skip
def test_a_url_that_is_not_plain_http_is_refused(url: str) -> None:
    assert refused(url) == FetchFailure.BAD_URL


@pytest.mark.parametrize(
    ("url", "read_as"),
    [
        ("http://example.com", "http://example.com/"),
        ("https://EXAMPLE.com:443/a?b=c#d", "https://example.com/a?b=c"),
        ("http://bücher.example/ü?ä", "http://xn--bcher-kva.example/%C3%BC?%C3%A4"),
        ("http://[2606:4700::1]:443/", "http://[2606:4700::1]:443/"),
        ("http://example.com/%20", "http://example.com/%20"),
    ],
)
def test_a_url_is_read_like_a_browser_does(url: str, read_as: str) -> None:
    assert check_url(url) == read_as


@given(st.text() | st.text("/:@[]%.#?\\ \t\r\nhtps0123.", max_size=60).map("http://".__add__))
def test_any_text_is_a_url_in_ascii_or_a_bad_url(text: str) -> None:
    try:
        checked = check_url(text)
    except FetchError as exc:
        assert exc.reason == FetchFailure.BAD_URL
        return
    assert checked.isascii() and checked.isprintable() and " " not in checked
    assert check_url(checked) == checked


def test_a_file_is_fetched_and_nothing_is_sent_along(port: int) -> None:
    Files.seen.clear()
    assert fetch(f"http://127.0.0.1:{port}/file", port) == recording("amelia")
    assert fetch(f"http://127.0.0.1:{port}/leads/{MAX_REDIRECTS}", port) == recording("amelia")
    for headers in Files.seen:
        assert set(headers) == {"Host", "Accept", "Accept-Encoding"}
        assert headers["Host"] == f"127.0.0.1:{port}"


def test_proxies_of_the_environment_are_ignored(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert fetch(f"http://127.0.0.1:{port}/file", port) == recording("amelia")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"leads/{MAX_REDIRECTS + 1}", FetchFailure.TOO_MANY_REDIRECTS),
        ("goes/http://10.0.0.1:{port}/", FetchFailure.REFUSED),
        ("goes/http://169.254.169.254:{port}/latest/meta-data", FetchFailure.REFUSED),
        ("goes/file:///etc/passwd", FetchFailure.BAD_URL),
        ("goes/http://127.0.0.1:22/", FetchFailure.BAD_URL),
        ("missing", FetchFailure.BAD_ANSWER),
        ("packed", FetchFailure.BAD_ANSWER),
        ("garbage", FetchFailure.BAD_ANSWER),
        ("slow", FetchFailure.TIMED_OUT),
    ],
)
def test_what_is_no_file_is_refused_for_its_reason(port: int, path: str, reason: FetchFailure) -> None:
    assert refused(f"http://127.0.0.1:{port}/{path.format(port=port)}", port, timeout_s=1.0) == reason


def test_https_never_leads_to_http() -> None:
    with pytest.raises(FetchError, match="https to http"):
        Fetcher(1.0)._next("https://example.com/a", "http://example.com/a")
    assert Fetcher(1.0)._next("https://example.com/a/b", "../c") == "https://example.com/c"


def test_an_endless_file_is_cut_off_while_it_comes(port: int) -> None:
    with pytest.raises(BodyTooLarge):
        fetch(f"http://127.0.0.1:{port}/endless", port, max_bytes=50_000)


# over REST


def detect_url(server: Server, body: object, **options: object) -> object:
    return server.client.post("/v1/detections", json=body, **options)


def test_a_url_in_place_of_a_file_gives_the_same_verdict(server: Server, port: int) -> None:
    state = server.app.state
    strict, state.fetcher = (
        state.fetcher,
        Fetcher(5.0, Policy(lambda address: str(address) == "127.0.0.1", frozenset({port}))),
    )
    try:
        answer = detect_url(server, {"url": f"http://127.0.0.1:{port}/file"}).json()
        too_large = detect_url(server, {"url": f"http://127.0.0.1:{port}/endless"})
    finally:
        state.fetcher = strict
    assert answer["verdict"] == "not_detected"
    assert answer["input"] == server.detect(recording("amelia"))["input"]
    assert too_large.status_code == 413


def test_a_server_as_it_is_shipped_fetches_nothing_from_inside(server: Server, port: int) -> None:
    for url in (f"http://127.0.0.1:{port}/file", "http://127.0.0.1/", "http://[::1]/", "http://localhost/"):
        response = detect_url(server, {"url": url})
        assert response.status_code == 422
        problem = assert_problem(response)
        assert problem["code"] == "url-not-fetched"
        assert problem["reason"] in ("bad_url", "address_refused")
        assert url not in response.text


@pytest.mark.parametrize(
    "body",
    [{}, {"url": 7}, {"url": ""}, {"url": "http://a.b", "x": 1}, [], "http://a.b", {"url": "x" * 3000}],
)
def test_json_that_does_not_fit_is_422(server: Server, body: object) -> None:
    response = detect_url(server, body)
    assert response.status_code == 422
    assert assert_problem(response)["code"] == "invalid-request"


def test_json_is_for_detections_alone_and_small(server: Server) -> None:
    assert server.client.post("/v1/marks", json={"url": "http://a.b"}).status_code == 415
    assert detect_url(server, {"url": "x" * 100_000}).status_code == 413
    broken = server.client.post(
        "/v1/detections", content=b"\xff{", headers={"Content-Type": "application/json"}
    )
    assert broken.status_code == 422
