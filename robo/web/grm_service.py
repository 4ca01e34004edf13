"""The reward model as a service that speaks the OpenAI chat protocol, for robots and second GPUs.

``POST /v1/chat/completions`` takes one question with eight images and answers
``<score>+37.25%</score>``. Questions of all clients are answered in common batches. At most
``queue`` of them wait: further ones are refused at once with 503 and ``Retry-After``, so that a
client slows down in place of falling ever further behind.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from http.server import BaseHTTPRequestHandler
from typing import Any

from robo.errors import RoboError
from robo.local_server import CONNECTIONS, BoundedServer, drain, is_loopback
from robo.rewards.grm.backbone import Backbone
from robo.rewards.grm.score_text import format_score
from robo.web.grm_batching import Batcher, ServiceConfig, answerer
from robo.web.grm_chat import RefusedError, chat_of, completion

LARGEST_REQUEST = 64 * 2**20
"""Bytes."""
DECIMALS = 6
"""Of the percentage in an answer: more than float32 holds, so that the service rounds nothing."""


class GRMService:
    """Serves a backbone from threads of its own until closed."""

    def __init__(
        self,
        backbone: Backbone,
        config: ServiceConfig | None = None,
        token: str = "",
    ) -> None:
        """Start to listen.

        Raises:
            RoboError: an address beyond this machine without a token, or a port that is taken.
        """
        self.config = config or ServiceConfig()
        if not is_loopback(self.config.host) and not token:
            raise RoboError(
                f"the service would be open to everybody at {self.config.host}: give it a token "
                "(--token-file), or bind 127.0.0.1"
            )
        self.token = token
        handler = type("Handler", (_Handler,), {"service": self})
        try:
            # A connection asks one thing at a time: those that may wait, and some to be refused.
            self._server = BoundedServer(
                (self.config.host, self.config.port), handler, self.config.queue + CONNECTIONS
            )
        except OSError as error:
            raise RoboError(
                f"the reward service cannot bind {self.config.host}:{self.config.port} "
                f"({error.strerror}): give another --port or --host"
            ) from error
        self.batcher = Batcher(answerer(backbone), self.config)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Base for clients on this machine."""
        host = self.config.host if self.config.host != "0.0.0.0" else "127.0.0.1"
        return f"http://{host}:{self.port}/v1"

    def wait(self) -> None:
        """Serve until the server stops."""
        self._thread.join()

    def close(self) -> None:
        """Stop listening; what waits is still answered."""
        self._server.shutdown()
        self._server.server_close()
        self.batcher.close()
        self._thread.join(timeout=2.0)

    def __enter__(self) -> GRMService:
        """The service itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


class _Handler(BaseHTTPRequestHandler):
    service: GRMService
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """The models, or how the service is."""
        self._guarded(self._get)

    def do_POST(self) -> None:
        """A question."""
        self._guarded(self._post)

    def _guarded(self, act: Callable[[], dict[str, Any]]) -> None:
        try:
            self._check_caller()
            self._reply(200, act())
        except RefusedError as refusal:
            self.close_connection = True
            kind = "server_error" if refusal.code >= 500 else "invalid_request_error"
            self._reply(
                refusal.code,
                {"error": {"message": str(refusal), "type": kind, "code": refusal.code}},
            )
            drain(self)

    def _check_caller(self) -> None:
        """Refuse strangers, and web pages that use this machine's address by another name."""
        service = self.service
        if service.token:
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if not secrets.compare_digest(given.encode(), service.token.encode()):
                raise RefusedError(401, "the bearer token is missing or wrong")
        elif not is_loopback(_host_name(self.headers.get("Host", ""))):
            raise RefusedError(403, "without a token this service is for this machine only")

    def _get(self) -> dict[str, Any]:
        service = self.service
        if self.path == "/v1/models":
            entry = {"id": service.config.name, "object": "model", "owned_by": "robo"}
            return {"object": "list", "data": [entry]}
        if self.path == "/health":
            counts = {"answers": 0, "invalid": 0, "refused": 0, **service.batcher.counts}
            return {"ok": True, "waiting": service.batcher.depth(), **counts}
        raise RefusedError(404, f"there is no {self.path}; see /v1/models and /v1/chat/completions")

    def _post(self) -> dict[str, Any]:
        if self.path != "/v1/chat/completions":
            raise RefusedError(404, f"there is no {self.path}; post to /v1/chat/completions")
        service = self.service
        chat = chat_of(self._body())
        try:
            future = service.batcher.submit(chat)
        except queue.Full:
            service.batcher.counts["refused"] += 1
            raise RefusedError(503, "too many questions are waiting; ask again later") from None
        try:
            hop = future.result(timeout=service.config.timeout)
        except FutureTimeout:
            future.cancel()
            raise RefusedError(504, "the model took too long; ask again later") from None
        except RoboError as error:
            raise RefusedError(400, str(error)) from error
        except Exception as error:
            raise RefusedError(500, f"the model failed: {type(error).__name__}: {error}") from error
        return completion(service.config.name, format_score(hop, DECIMALS))

    def _body(self) -> dict[str, Any]:
        announced = self.headers.get("Content-Length") or ""
        length = int(announced) if announced.isdecimal() else 0
        if not 0 < length <= LARGEST_REQUEST:
            raise RefusedError(413, f"a request must have 1 to {LARGEST_REQUEST} bytes, and say so")
        try:
            body = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, "the request is not valid JSON") from error
        if not isinstance(body, dict):
            raise RefusedError(400, "the request is no JSON object")
        return body

    def _reply(self, code: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if code == 503:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing per request; /health counts them."""


def _host_name(header: str) -> str:
    """Host of a Host header, without its port and an IPv6 address's brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header
