"""HTTP for pages of this machine: loopback by default, a token from elsewhere, nothing cached.

Pages are for the person at this machine. The server binds the loopback address and answers only
requests that name it as their host, which keeps hostile web pages out. Bound to another address,
every request needs the token. Whatever changes something is a POST, and always needs the token.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from robo.errors import RoboError

LARGEST_REQUEST = 1_000_000
"""Bytes of a request's body, where a server does not say otherwise."""
CONNECTIONS = 128
"""Connections that a server holds at a time, where it does not say otherwise."""
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)
"""What a connection too many is told."""
DRAIN_BYTES, DRAIN_SECONDS = 64_000_000, 5.0
"""How much of a refused body is read and thrown away, so that its sender gets the answer."""
POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; media-src 'self'; style-src 'self' "
    "'unsafe-inline'; script-src 'self' 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class ServerError(RoboError):
    """A server that cannot start as asked."""


@dataclass(frozen=True)
class Request:
    """What a handler is told."""

    path: str
    """Without the query, such as ``/api/episode/3``."""
    query: Mapping[str, str] = field(default_factory=dict)
    """The last value of each name."""
    body: bytes = b""
    """Of a POST."""

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: where it is none.
        """
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """What a handler answers."""

    content: bytes
    """The body."""
    kind: str = "application/json"
    """Its media type."""
    code: int = 200
    """HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More of them."""
    immutable: bool = False
    """Whether the browser may keep it while the page is open (the path names a version)."""


def json_response(value: Any, code: int = 200) -> Response:
    """A value as JSON."""
    return Response(json.dumps(value, allow_nan=False, separators=(",", ":")).encode(), code=code)


def text_response(text: str, code: int) -> Response:
    """A sentence."""
    return Response(text.encode(), "text/plain; charset=utf-8", code)


class BoundedServer(ThreadingHTTPServer):
    """A thread per connection, up to a number of them; further ones are told to come back.

    A client that opens connections and says nothing costs a thread each until it times out.
    """

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        connections: int = CONNECTIONS,
    ) -> None:
        """Listen at ``address`` (host, port), with at most so many connections at a time.

        Raises:
            OSError: where it cannot.
        """
        self._room = threading.BoundedSemaphore(connections)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, or a refusal."""
        if not self._room.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.settimeout(1.0)
                request.sendall(BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The connection's thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


Handler = Callable[[Request], Response | None]
"""Answers a request, or returns None where the path is not its own."""


class LocalServer:
    """Serves from threads of its own until closed."""

    def __init__(
        self,
        get: Handler,
        post: Handler | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        largest: int = LARGEST_REQUEST,
    ) -> None:
        """Start the server.

        Args:
            get: answers GET requests.
            post: answers POST requests, which have shown the token; None refuses them.
            host: address to bind; other than loopback, every request needs the token.
            port: 0 for any free one.
            largest: bytes of a request's body.

        Raises:
            ServerError: where the address or port cannot be used.
        """
        self.largest = largest
        self.token = secrets.token_urlsafe(16)
        self.get, self.post, self.host = get, post, host
        self.loopback = is_loopback(host)
        handler = type("BoundHandler", (_Handler,), {"server_": self})
        try:
            self._server = BoundedServer((host, port), handler)
        except OSError as error:
            raise ServerError(
                f"cannot serve on {host} port {port} ({error.strerror or error}): give another one "
                "by --host and --port"
            ) from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where a browser finds it; with the token where one is asked for."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}/" + ("" if self.loopback else f"?token={self.token}")

    def is_token(self, given: str) -> bool:
        """Whether ``given`` is the token, compared in constant time."""
        return secrets.compare_digest(given.encode(), self.token.encode())

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=1.0)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def drain(handler: BaseHTTPRequestHandler) -> None:
    """Throw away what a refused client still sends, for a while.

    To close on bytes that nobody read resets the connection, and a client in the middle of its
    body would see that in place of the answer.
    """
    try:
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_WR)
        handler.connection.settimeout(1.0)
        until, left = time.monotonic() + DRAIN_SECONDS, DRAIN_BYTES
        while left > 0 and time.monotonic() < until:
            got = len(handler.rfile.read1(65_536))  # type: ignore[attr-defined]
            if not got:
                return
            left -= got
    except (OSError, ValueError):
        return


class _Handler(BaseHTTPRequestHandler):
    server_: LocalServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Answer what ``get`` knows."""
        self._guarded(self.server_.get, b"")

    def do_POST(self) -> None:
        """Answer what ``post`` knows, with the token only."""
        announced = self.headers.get("Content-Length") or ""
        length = int(announced) if announced.isdecimal() else 0
        if not 0 < length <= self.server_.largest:
            self.close_connection = True
            self._reply(text_response("too large", 413))
            drain(self)
            return
        body = self.rfile.read(length)
        if not self._is_local():
            return
        if not self.server_.is_token(self.headers.get("X-Token", "")):
            self._reply(text_response("reload the page", 403))
        elif self.server_.post is None:
            self._reply(text_response("nothing to change here", 405))
        else:
            self._guarded(self.server_.post, body)

    def _guarded(self, handler: Handler, body: bytes) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if not self._is_local() or not self._may_read(query):
            return
        try:
            response = handler(Request(parts.path, query, body))
        except RoboError as error:
            response = json_response({"error": str(error)}, 400)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            response = json_response({"error": f"{type(error).__name__}: {error}"}, 400)
        self._reply(response or text_response("not found", 404))

    def _is_local(self) -> bool:
        """Refuse other hosts' names for this address, as a hostile web page would use."""
        host = self.headers.get("Host", "")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if not self.server_.loopback or name in LOOPBACK_NAMES:
            return True
        self._reply(text_response("this page is for this machine only", 403))
        return False

    def _may_read(self, query: Mapping[str, str]) -> bool:
        """Where others can reach the server, ask for the token: query, header or cookie."""
        if self.server_.loopback:
            return True
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("robo_token")
        remembered = None if cookie is None else cookie.value
        given = (query.get("token"), self.headers.get("X-Token"), remembered)
        if any(one and self.server_.is_token(one) for one in given):
            return True
        self._reply(text_response("open the address with its token, as robo printed it", 403))
        return False

    def _reply(self, response: Response) -> None:
        try:
            self.send_response(response.code)
            self.send_header("Content-Type", response.kind)
            self.send_header("Content-Length", str(len(response.content)))
            keep = "private, max-age=3600" if response.immutable else "no-store"
            self.send_header("Cache-Control", keep)
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            if not self.server_.loopback and response.code == 200:
                cookie = f"robo_token={self.server_.token}; HttpOnly; SameSite=Strict; Path=/"
                self.send_header("Set-Cookie", cookie)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is its owner's."""
