"""The server of local pages: who may read, who may change, and what strangers get."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator

import pytest

from robo.errors import RoboError
from robo.local_server import (
    BoundedServer,
    LocalServer,
    Request,
    Response,
    ServerError,
    is_loopback,
)
from robo.local_server import json_response as answer


def get(request: Request) -> Response | None:
    if request.path == "/fails":
        raise RoboError("this cannot be had")
    return answer(dict(request.query)) if request.path == "/" else None


def post(request: Request) -> Response | None:
    return answer({"got": request.json()})


@pytest.fixture
def server() -> Iterator[LocalServer]:
    made = LocalServer(get, post)
    yield made
    made.close()


def ask(server: LocalServer, method: str, path: str, body: str | None = None, **headers: str):
    """Status, headers and text of a reply."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, names)
    reply = connection.getresponse()
    found = reply.status, dict(reply.getheaders()), reply.read().decode()
    connection.close()
    return found


def test_pages_of_this_machine(server: LocalServer) -> None:
    status, headers, text = ask(server, "GET", "/?a=1&a=2")
    assert status == 200 and json.loads(text) == {"a": "2"}
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store" and "Set-Cookie" not in headers
    assert ask(server, "GET", "/nothing")[0] == 404
    status, _, text = ask(server, "GET", "/fails")
    assert status == 400 and json.loads(text) == {"error": "this cannot be had"}
    assert "token" not in server.url


def test_other_names_of_this_machine_are_refused(server: LocalServer) -> None:
    assert ask(server, "GET", "/", Host="evil.example")[0] == 403
    assert ask(server, "GET", "/", Host=f"localhost:{server.port}")[0] == 200
    assert ask(server, "POST", "/", "{}", Host="evil.example", X_Token=server.token)[0] == 403


def test_changes_need_the_token(server: LocalServer) -> None:
    assert ask(server, "POST", "/", "{}")[0] == 403
    assert ask(server, "POST", "/", "{}", X_Token="guess")[0] == 403
    assert ask(server, "POST", "/", "{}", X_Token=server.token)[2] == '{"got":{}}'
    assert ask(server, "POST", "/", "no json", X_Token=server.token)[0] == 400
    assert ask(server, "POST", "/", "x" * 20_000_000, X_Token=server.token)[0] == 413


def test_from_elsewhere_everything_needs_the_token() -> None:
    server = LocalServer(get, host="0.0.0.0")
    try:
        assert f"?token={server.token}" in server.url
        assert ask(server, "GET", "/", Host="robot.example")[0] == 403
        assert ask(server, "GET", "/?token=guess")[0] == 403
        status, headers, _ = ask(server, "GET", f"/?token={server.token}", Host="robot.example")
        assert status == 200
        cookie = headers["Set-Cookie"].partition(";")[0]
        assert ask(server, "GET", "/", Cookie=cookie)[0] == 200
        assert ask(server, "POST", "/", "{}", X_Token=server.token)[0] == 405
    finally:
        server.close()


def test_a_taken_port_is_one_sentence(server: LocalServer) -> None:
    with pytest.raises(ServerError, match=f"port {server.port}"):
        LocalServer(get, port=server.port)
    assert is_loopback("::1") and is_loopback("localhost") and not is_loopback("0.0.0.0")


def test_a_connection_too_many_is_told_to_come_back_and_gets_in_once_there_is_room(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = BoundedServer.__init__
    monkeypatch.setattr(BoundedServer, "__init__", lambda s, a, h: room(s, a, h, connections=2))
    small = LocalServer(get)
    silent = [socket.create_connection(("127.0.0.1", small.port)) for _ in range(2)]
    try:
        ask(server, "GET", "/")  # another server's room is its own
        status, headers, _ = ask(small, "GET", "/")
        assert status == 503 and headers["Retry-After"] == "1"
        for one in silent:
            one.close()
        until = time.monotonic() + 10
        while ask(small, "GET", "/")[0] == 503 and time.monotonic() < until:
            time.sleep(0.02)
        assert ask(small, "GET", "/?a=1")[0] == 200
    finally:
        for one in silent:
            one.close()
        small.close()
