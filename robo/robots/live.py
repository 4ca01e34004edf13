"""The live page: what the robot sees, the ghost of the wanted scene, and the operator's keys.

On this machine only: the server binds the loopback address, answers requests that name it as
their host, and takes keys only with the token that the page was given.
"""

from __future__ import annotations

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from robo.robots.live_state import LiveState
from robo.robots.operators import Console
from robo.robots.robot import RobotError

LARGEST_REQUEST = 10_000
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'"
)


class LivePage:
    """Serves the page from threads of its own until closed."""

    def __init__(self, state: LiveState, console: Console, port: int = 0) -> None:
        """Start the server.

        Raises:
            RobotError: where the port is taken.
        """
        self.token = secrets.token_urlsafe(16)
        handler = type("Handler", (_Handler,), {"page": self})
        self.state, self.console = state, console
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise RobotError(
                f"the live page cannot use port {port} ({error.strerror}): give another one by "
                "--judging.port"
            ) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return f"http://127.0.0.1:{self.port}/"

    def html(self) -> bytes:
        """The page with its token."""
        text = (resources.files("robo.robots") / "assets" / "live.html").read_text()
        return text.replace("{{token}}", self.token).encode()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=1.0)


class _Handler(BaseHTTPRequestHandler):
    page: LivePage
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """The page, its state, or a view."""
        if not self._is_local():
            return
        parts = urlsplit(self.path)
        if parts.path == "/":
            self._reply(200, "text/html; charset=utf-8", self.page.html())
        elif parts.path == "/state":
            content = json.dumps(self.page.state.snapshot()).encode()
            self._reply(200, "application/json", content)
        elif parts.path.startswith("/view/"):
            role = parts.path.removeprefix("/view/").removesuffix(".jpg")
            ghost = parse_qs(parts.query).get("ghost") == ["1"]
            image = self.page.state.jpeg(role, ghost)
            if image is None:
                self._reply(404, "text/plain", b"no such view")
            else:
                self._reply(200, "image/jpeg", image)
        else:
            self._reply(404, "text/plain", b"not found")

    def do_POST(self) -> None:
        """A key."""
        if not self._is_local():
            return
        announced = self.headers.get("Content-Length") or ""
        length = int(announced) if announced.isdecimal() else 0
        if not 0 < length <= LARGEST_REQUEST:
            self.close_connection = True
            self._reply(413, "text/plain", b"too large")
            return
        body = self.rfile.read(length)
        if not secrets.compare_digest(self.headers.get("X-Token", ""), self.page.token):
            self._reply(403, "text/plain", b"reload the page")
            return
        try:
            request = json.loads(body)
            taken = self.page.console.press(str(request["key"]), str(request.get("note", "")))
        except (ValueError, KeyError, TypeError):
            taken = False
        self._reply(200 if taken else 400, "application/json", json.dumps({"ok": taken}).encode())

    def _is_local(self) -> bool:
        """Refuse other hosts' names for this address, as a hostile web page would use."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host in ("127.0.0.1", "localhost"):
            return True
        self._reply(403, "text/plain", b"this page is for this machine only")
        return False

    def _reply(self, code: int, kind: str, content: bytes) -> None:
        try:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the operator's."""
