"""The reward model as a service that speaks the OpenAI chat protocol, for robots and second GPUs.

``POST /v1/chat/completions`` takes one question with eight images and answers
``<score>+37.25%</score>``. Questions of all clients are answered in common batches. At most
``queue`` of them wait: further ones are refused at once with 503 and ``Retry-After``, so that a
client slows down in place of falling ever further behind.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.grm.backbone import SLOTS, Backbone, PairBatch
from robo.rewards.grm.prompt import IMAGES
from robo.rewards.grm.score_text import format_score

Chat = Sequence[str | Tensor]
"""Texts and uint8 images ``[H, W, 3]`` of one question, in order."""
LARGEST_REQUEST = 64 * 2**20
"""Bytes."""
LARGEST_IMAGE = 4096 * 4096
"""Pixels."""
DECIMALS = 6
"""Of the percentage in an answer: more than float32 holds, so that the service rounds nothing."""


@dataclass(frozen=True)
class ServiceConfig:
    """How the service listens and batches."""

    host: str = "127.0.0.1"
    """Address to bind; anything but the loopback needs a token."""
    port: int = 8008
    """Port; 0 takes a free one."""
    name: str = "grm"
    """The model's name for clients."""
    queue: int = 256
    """Questions that may wait; further ones are refused with 503."""
    batch: int = 32
    """Questions answered together at most."""
    gather: float = 0.005
    """Seconds that the first question of a batch waits for others."""
    timeout: float = 120.0
    """Seconds after which a waiting question is given up with 504."""

    def __post_init__(self) -> None:
        """Refuse what cannot serve."""
        if min(self.queue, self.batch) < 1 or self.gather < 0 or self.timeout <= 0:
            raise RoboError(
                f"queue {self.queue} and batch {self.batch} must be at least 1, gather "
                f"{self.gather} at least 0 and timeout {self.timeout} above 0"
            )
        if not 0 <= self.port < 65536:
            raise RoboError(f"port is {self.port}, expected 0 to 65535")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def answerer(backbone: Backbone) -> Callable[[Sequence[Chat]], Tensor]:
    """Hops ``[P]`` of questions, by any backbone.

    A backbone that reads text is given the question as the client worded it. Others are given its
    eight images, in the published order.
    """
    of_chats = getattr(backbone, "hops_of_chats", None)
    if of_chats is not None:
        return of_chats

    def by_images(chats: Sequence[Chat]) -> Tensor:
        from robo.rewards.grm.pair_scorer import fitted

        size = backbone.size
        rows = [[part for part in chat if isinstance(part, Tensor)] for chat in chats]
        frames = torch.stack(
            [torch.stack([fitted(image[None], size)[0] for image in row]) for row in rows]
        )  # [P, 8, H, W, 3]
        count = len(chats)
        before, after = frames[:, 2:5], frames[:, 5:8]
        # START and GOAL have a front view only: it stands in all three places.
        start, goal = (frames[:, i, None].expand_as(before) for i in (0, 1))
        table = torch.cat([before, after, start, goal])
        place = torch.arange(count)
        pairs = PairBatch(
            {slot: table[:, i] for i, slot in enumerate(SLOTS)},
            place,
            place + count,
            place + 2 * count,
            place + 3 * count,
            ("",) * count,
        )
        return backbone.hops(pairs)

    return by_images


class Batcher:
    """Answers questions of many threads in common batches, from a bounded queue."""

    def __init__(self, answer: Callable[[Sequence[Chat]], Tensor], config: ServiceConfig) -> None:
        """Start the one thread that asks the model."""
        self._answer, self.config = answer, config
        self._waiting: queue.Queue[tuple[Chat, Future[float]] | None] = queue.Queue(config.queue)
        self.counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._work, daemon=True, name="grm batches")
        self._thread.start()

    def submit(self, chat: Chat) -> Future[float]:
        """Ask one question.

        Raises:
            queue.Full: too many are waiting.
        """
        future: Future[float] = Future()
        self._waiting.put_nowait((chat, future))
        return future

    def depth(self) -> int:
        """Questions that wait."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Answer what waits, and stop."""
        self._waiting.put(None)
        self._thread.join(timeout=10.0)

    def _work(self) -> None:
        ended = False
        while not ended:
            first = self._waiting.get()
            if first is None:
                return
            batch = [first]
            until = time.monotonic() + self.config.gather
            while len(batch) < self.config.batch:
                try:
                    following = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if following is None:
                    ended = True
                    break
                batch.append(following)
            self._do([entry for entry in batch if entry[1].set_running_or_notify_cancel()])

    def _do(self, batch: list[tuple[Chat, Future[float]]]) -> None:
        if not batch:
            return
        try:
            hops = self._answer([chat for chat, _ in batch]).tolist()
        except Exception as error:
            if len(batch) > 1:  # one bad question must not spoil the others
                for entry in batch:
                    self._do([entry])
                return
            self.counts["failed"] += 1
            batch[0][1].set_exception(error)
            return
        self.counts["batches"] += 1
        self.counts["answers"] += len(batch)
        self.counts["invalid"] += sum(math.isnan(hop) for hop in hops)
        for (_, future), hop in zip(batch, hops, strict=True):
            future.set_result(hop)


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
            self._server = ThreadingHTTPServer((self.config.host, self.config.port), handler)
        except OSError as error:
            raise RoboError(
                f"the reward service cannot bind {self.config.host}:{self.config.port} "
                f"({error.strerror}): give another --port or --host"
            ) from error
        self.batcher = Batcher(answerer(backbone), self.config)
        self._server.daemon_threads = True
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


class _RefusedError(Exception):
    """An HTTP code with a sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


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
        except _RefusedError as refusal:
            self.close_connection = True
            kind = "server_error" if refusal.code >= 500 else "invalid_request_error"
            self._reply(
                refusal.code,
                {"error": {"message": str(refusal), "type": kind, "code": refusal.code}},
            )

    def _check_caller(self) -> None:
        """Refuse strangers, and web pages that use this machine's address by another name."""
        service = self.service
        if service.token:
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if not secrets.compare_digest(given.encode(), service.token.encode()):
                raise _RefusedError(401, "the bearer token is missing or wrong")
        elif not is_loopback(_host_name(self.headers.get("Host", ""))):
            raise _RefusedError(403, "without a token this service is for this machine only")

    def _get(self) -> dict[str, Any]:
        service = self.service
        if self.path == "/v1/models":
            entry = {"id": service.config.name, "object": "model", "owned_by": "robo"}
            return {"object": "list", "data": [entry]}
        if self.path == "/health":
            counts = {"answers": 0, "invalid": 0, "refused": 0, **service.batcher.counts}
            return {"ok": True, "waiting": service.batcher.depth(), **counts}
        raise _RefusedError(
            404, f"there is no {self.path}; see /v1/models and /v1/chat/completions"
        )

    def _post(self) -> dict[str, Any]:
        if self.path != "/v1/chat/completions":
            raise _RefusedError(404, f"there is no {self.path}; post to /v1/chat/completions")
        service = self.service
        chat = chat_of(self._body())
        try:
            future = service.batcher.submit(chat)
        except queue.Full:
            service.batcher.counts["refused"] += 1
            raise _RefusedError(503, "too many questions are waiting; ask again later") from None
        try:
            hop = future.result(timeout=service.config.timeout)
        except FutureTimeout:
            future.cancel()
            raise _RefusedError(504, "the model took too long; ask again later") from None
        except RoboError as error:
            raise _RefusedError(400, str(error)) from error
        except Exception as error:
            raise _RefusedError(
                500, f"the model failed: {type(error).__name__}: {error}"
            ) from error
        return completion(service.config.name, format_score(hop, DECIMALS))

    def _body(self) -> dict[str, Any]:
        announced = self.headers.get("Content-Length") or ""
        length = int(announced) if announced.isdecimal() else 0
        if not 0 < length <= LARGEST_REQUEST:
            raise _RefusedError(
                413, f"a request must have 1 to {LARGEST_REQUEST} bytes, and say so"
            )
        try:
            body = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError) as error:
            raise _RefusedError(400, "the request is not valid JSON") from error
        if not isinstance(body, dict):
            raise _RefusedError(400, "the request is no JSON object")
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


def chat_of(body: dict[str, Any]) -> list[str | Tensor]:
    """Texts and images of a chat request's last user message.

    Raises:
        _RefusedError: a request of another shape, or images that cannot be read.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise _RefusedError(400, "the request has no list of messages")
    asked = [m for m in messages if isinstance(m, dict) and m.get("role") == "user"]
    content = asked[-1].get("content") if asked else None
    if not isinstance(content, list):
        raise _RefusedError(400, f"expected a user message with texts and {IMAGES} images")
    chat: list[str | Tensor] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            chat.append(part["text"])
        elif kind == "image_url" and isinstance(part.get("image_url"), dict):
            chat.append(picture_of(part["image_url"].get("url")))
        else:
            raise _RefusedError(400, f"a part of the message is no text and no image_url: {kind!r}")
    images = sum(isinstance(part, Tensor) for part in chat)
    if images != IMAGES:
        raise _RefusedError(400, f"the question has {images} images, expected {IMAGES}")
    return chat


def picture_of(url: Any) -> Tensor:
    """uint8 ``[H, W, 3]`` of a data address; other addresses are never fetched.

    Raises:
        _RefusedError: no whole picture of a usual size.
    """
    from PIL import Image

    head, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise _RefusedError(400, "images must be data addresses: data:image/png;base64,...")
    try:
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
            if image.width * image.height > LARGEST_IMAGE or min(image.size) < 2:
                raise _RefusedError(400, f"an image has {image.width}x{image.height} pixels")
            return torch.from_numpy(np.array(image.convert("RGB")))
    except (binascii.Error, OSError, ValueError, SyntaxError) as error:
        raise _RefusedError(400, f"an image cannot be read ({error})") from error


def completion(model: str, text: str) -> dict[str, Any]:
    """A chat completion with one answer."""
    message = {"role": "assistant", "content": text}
    return {
        "id": f"grm-{secrets.token_hex(8)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
