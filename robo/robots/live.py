"""The live page: what the robot sees, the ghost of the wanted scene, and the operator's keys.

On this machine only: the server binds the loopback address, answers requests that name it as
their host, and takes keys only with the token that the page was given.
"""

from __future__ import annotations

from importlib import resources

from robo.local_server import (
    LocalServer,
    Request,
    Response,
    ServerError,
    json_response,
    text_response,
)
from robo.robots.live_state import LiveState
from robo.robots.operators import Console
from robo.robots.robot import RobotError

LARGEST_REQUEST = 10_000
"""Bytes of a key with its note."""


class LivePage:
    """Serves the page from threads of its own until closed."""

    def __init__(self, state: LiveState, console: Console, port: int = 0) -> None:
        """Start the server.

        Raises:
            RobotError: where the port is taken.
        """
        self.state, self.console = state, console
        try:
            self._server = LocalServer(self.get, self.post, port=port, largest=LARGEST_REQUEST)
        except ServerError as error:
            reason = getattr(error.__cause__, "strerror", None) or error
            raise RobotError(
                f"the live page cannot use port {port} ({reason}): give another one by "
                "--judging.port"
            ) from error
        self.port, self.token = self._server.port, self._server.token

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return self._server.url

    def html(self) -> bytes:
        """The page with its token."""
        text = (resources.files("robo.robots") / "assets" / "live.html").read_text()
        return text.replace("{{token}}", self.token).encode()

    def get(self, request: Request) -> Response | None:
        """The page, its state, or a view."""
        if request.path == "/":
            return Response(self.html(), "text/html; charset=utf-8")
        if request.path == "/state":
            return json_response(self.state.snapshot())
        if not request.path.startswith("/view/"):
            return None
        role = request.path.removeprefix("/view/").removesuffix(".jpg")
        image = self.state.jpeg(role, request.query.get("ghost") == "1")
        return (
            text_response("no such view", 404) if image is None else Response(image, "image/jpeg")
        )

    def post(self, request: Request) -> Response | None:
        """A key."""
        try:
            pressed = request.json()
            taken = self.console.press(str(pressed["key"]), str(pressed.get("note", "")))
        except (ValueError, KeyError, TypeError):
            taken = False
        return json_response({"ok": taken}, 200 if taken else 400)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
