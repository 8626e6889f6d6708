"""Fetch a file that somebody else names by URL, without being made to reach what they cannot reach
themselves.

(1) the URL: http or https on their usual ports, a host, no user, no fragment; (2) the host is resolved
once, and every address it has must be on the public internet; (3) the connection goes to exactly the
address that was checked, so that no second answer of the name server counts; (4) at most MAX_REDIRECTS,
each through (1) to (3), never from https to http; (5) 200, unencoded, at most so many bytes counted as
they arrive; (6) one deadline for all of it. Nothing is sent along: no cookie, no credentials, no referrer;
proxies in the environment are ignored.

Each connection is made by the backend below, so (2) and (3) hold however a request comes about. What went
wrong is said in one word for everything beyond the public internet's edge, so that nobody scans networks
through us. Source: OWASP, "Server-Side Request Forgery Prevention"; (3) is against DNS rebinding."""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import anyio
import httpcore
from httpcore import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from api.errors import BodyTooLarge, FetchError, FetchFailure

MAX_REDIRECTS = 3
MAX_URL_CHARACTERS = 2048
USUAL_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TUNNELS = [ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")]
"""IPv6 that stands for an IPv4 address, which may be anything: NAT64, Teredo, 6to4."""


def is_public(address: Address) -> bool:
    """On the public internet: not private, loopback, link-local (where clouds keep credentials), multicast,
    reserved or a tunnel."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.is_site_local or any(address in net for net in _TUNNELS):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


@dataclass(frozen=True)
class Policy:
    """Which addresses and ports may be reached. The default is the public internet's usual ports."""

    allows: Callable[[Address], bool] = is_public
    ports: frozenset[int] = frozenset(USUAL_PORTS.values())


class Fetcher:
    """Fetches for one event loop. Each fetch has connections of its own."""

    def __init__(self, timeout_s: float, policy: Policy | None = None) -> None:
        self._timeout_s = timeout_s
        self._policy = policy or Policy()
        self._tls = ssl.create_default_context()

    async def fetch(self, url: str, max_bytes: int) -> bytes:
        """The file's bytes. Raises FetchError with its reason, and BodyTooLarge."""
        backend = _PinnedBackend(self._policy)
        try:
            with anyio.fail_after(self._timeout_s):  # (6)
                async with httpcore.AsyncConnectionPool(self._tls, network_backend=backend) as pool:
                    return await self._follow(pool, check_url(url, self._policy.ports), max_bytes)
        except (TimeoutError, httpcore.TimeoutException) as exc:
            raise FetchError(
                FetchFailure.TIMED_OUT, f"the URL's file did not arrive in {self._timeout_s:g} s"
            ) from exc
        except (httpcore.NetworkError, OSError, ssl.SSLError) as exc:
            raise FetchError(FetchFailure.UNREACHABLE, "the URL's server cannot be reached") from exc
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as exc:
            raise _bad_answer("is no HTTP that we understand") from exc

    async def _follow(self, pool: httpcore.AsyncConnectionPool, url: str, max_bytes: int) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            headers: dict[bytes | str, bytes | str] = {
                "Host": _host(url),
                "Accept": "audio/*",
                "Accept-Encoding": "identity",
            }
            async with pool.stream("GET", url, headers=headers) as response:
                if response.status not in _REDIRECTS:
                    return await _body(response, max_bytes)
                url = self._next(url, _header(response, b"location"))
        raise FetchError(FetchFailure.TOO_MANY_REDIRECTS, f"the URL leads on more than {MAX_REDIRECTS} times")

    def _next(self, url: str, location: str) -> str:
        """(4) Where a redirect leads, checked."""
        following = check_url(urljoin(url, location), self._policy.ports)
        if url.startswith("https:") and not following.startswith("https:"):
            raise FetchError(FetchFailure.BAD_URL, "the URL leads on from https to http")
        return following


def check_url(url: str, ports: frozenset[int] = frozenset(USUAL_PORTS.values())) -> str:
    """(1) The URL in ASCII, without its fragment. Raises FetchError (BAD_URL)."""
    try:
        if len(url) > MAX_URL_CHARACTERS or not url.isprintable() or " " in url or "\\" in url:
            raise ValueError
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port or USUAL_PORTS[parts.scheme]
        if not host or port not in ports or "@" in parts.netloc or "%" in host:
            raise ValueError
    except (ValueError, KeyError, UnicodeError):
        raise FetchError(
            FetchFailure.BAD_URL, "the URL must be http:// or https:// with a host and no user or port"
        ) from None
    named = f"[{host}]" if ":" in host else host
    netloc = named if port == USUAL_PORTS[parts.scheme] else f"{named}:{port}"
    return SplitResult(parts.scheme, netloc, _quoted(parts.path) or "/", _quoted(parts.query), "").geturl()


def _quoted(text: str) -> str:
    """Beyond ASCII as UTF-8 in percent signs; what is quoted already stays."""
    return "".join(c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)


class _PinnedBackend(AsyncNetworkBackend):
    """Connects to an address that was resolved and checked here, and to nothing else."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._inner = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # (2)
        addresses = [ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]
        if not addresses or not all(map(self._policy.allows, addresses)):
            raise FetchError(FetchFailure.REFUSED, "the URL's server is not on the public internet")
        return await self._inner.connect_tcp(  # (3)
            str(addresses[0]), port, timeout, local_address, socket_options
        )


async def _body(response: httpcore.Response, max_bytes: int) -> bytes:
    """(5)"""
    if response.status != 200:
        raise _bad_answer(f"has the status {response.status}")
    if _header(response, b"content-encoding") not in ("", "identity"):
        raise _bad_answer("is compressed, which was not asked for")
    data = bytearray()
    async for chunk in response.aiter_stream():
        data += chunk
        if len(data) > max_bytes:
            raise BodyTooLarge(max_bytes)
    return bytes(data)


def _header(response: httpcore.Response, name: bytes) -> str:
    values = [value for key, value in response.headers if key.lower() == name]
    return values[0].decode("latin-1").strip() if values else ""


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _bad_answer(what: str) -> FetchError:
    return FetchError(FetchFailure.BAD_ANSWER, f"the answer of the URL's server {what}")
