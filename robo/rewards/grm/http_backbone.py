"""A progress model behind an OpenAI-compatible endpoint: vLLM, SGLang or ``robo serve grm``."""

from __future__ import annotations

import base64
import http.client
import io
import json
import math
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.grm.backbone import NO_FRAME, PairBatch, check_slots, eight_images
from robo.rewards.grm.http_config import HTTPConfig
from robo.rewards.grm.prompt import Prompt
from robo.rewards.grm.score_text import CLOSE, parse_score

SCORE_PATTERN = r"<score>[+-]?(100(\.0{1,4})?|(0|[1-9][0-9]?)(\.[0-9]{1,4})?)%?</score>"
"""The score grammar as a regular expression, for servers that decode inside one."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP codes that may pass, and are tried again."""
BROKEN = (OSError, http.client.HTTPException)
"""What a connection raises that fails, or breaks off in the middle of an answer."""


class HTTPBackbone:
    """Asks an endpoint one question a pair, several at a time (implements ``Backbone``).

    A request that fails after all tries is an invalid answer, counted by its cause: training goes
    on with the potential held, and the log shows how often that happened.
    """

    def __init__(self, config: HTTPConfig, token: str | None = None) -> None:
        """Nothing is sent yet; :meth:`check` asks whether the service is there."""
        self.config = config
        self.prompt = Prompt.read(config.prompt_file)
        self.token = token if token is not None else read_token(config.token_file)
        check_slots(config.slots)
        self.views: tuple[str, ...] = config.slots
        self.size: tuple[int, int] = (256, 256)
        self.max_pairs = config.batch
        local = urlsplit(config.url).hostname in ("127.0.0.1", "localhost", "::1")
        # A proxy of the environment would be asked for its own loopback address.
        proxies = [urllib.request.ProxyHandler({})] if local else []
        self._opener = urllib.request.build_opener(*proxies)
        self.causes: Counter[str] = Counter()
        self.answered = 0
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[str, int]:
        """Answers, invalid ones, and those by cause."""
        return {
            "answers": self.answered,
            "invalid": sum(self.causes.values()),
            **{f"invalid_{cause}": number for cause, number in sorted(self.causes.items())},
        }

    def check(self) -> list[str]:
        """Names of the models that the service offers.

        Raises:
            RoboError: no service there, or one that refuses us.
        """
        try:
            found = self._send("/models", None)
            return [str(entry["id"]) for entry in found["data"]]
        except urllib.error.HTTPError as error:
            raise RoboError(
                f"the reward service {self.config.url} refuses the request (HTTP {error.code}); "
                "check its token (--token-file) and address"
            ) from error
        except (*BROKEN, ValueError, KeyError, TypeError) as error:
            raise RoboError(
                f"no reward service answers at {self.config.url} ({error}); start one with `robo "
                "serve grm`, or check the address"
            ) from error

    def hops(self, pairs: PairBatch) -> Tensor:
        """Signed hops float32 ``[P]``; NaN where no readable answer came.

        Raises:
            RoboError: frames that are no whole RGB images, or lack the front view.
        """
        pairs.check()
        order = eight_images(list(pairs.frames), self.config.slots)
        encoded: dict[tuple[str, int], str] = {}
        questions = []
        for pair in range(len(pairs)):
            shown = []
            for role, view in order:
                key = (view, int(getattr(pairs, role)[pair]))
                if key not in encoded:
                    encoded[key] = data_url(_picture(pairs, *key))
                shown.append(encoded[key])
            questions.append(self.question(pairs.instruction[pair], shown))
        with ThreadPoolExecutor(self.config.workers) as pool:
            answers = list(pool.map(self._ask, questions))
        self.answered += len(answers)
        return torch.tensor(answers, dtype=torch.float32)

    def question(self, instruction: str, images: list[str]) -> dict[str, Any]:
        """The request of one pair, with eight images as data addresses."""
        pieces = self.prompt.pieces(instruction)
        content: list[dict[str, Any]] = [{"type": "text", "text": pieces[0]}]
        for url, piece in zip(images, pieces[1:], strict=True):
            content.append({"type": "image_url", "image_url": {"url": url}})
            if piece:
                content.append({"type": "text", "text": piece})
        constraint = {
            "none": {},
            "vllm": {"structured_outputs": {"regex": SCORE_PATTERN}},
            "sglang": {"regex": SCORE_PATTERN},
            "guided_regex": {"guided_regex": SCORE_PATTERN},
        }[self.config.constrain]
        return {
            "model": self.config.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 16,
            "temperature": self.config.temperature,
            "stop": [CLOSE],
            **constraint,
        }

    def _ask(self, question: dict[str, Any]) -> float:
        """The hop of one request, or NaN with its cause counted."""
        try:
            hop = answer_of(self._patiently(question))
            cause = "unreadable" if math.isnan(hop) else None
        except urllib.error.HTTPError as error:
            hop, cause = math.nan, f"http_{error.code}"
        except TimeoutError:
            hop, cause = math.nan, "timeout"
        except urllib.error.URLError as error:
            slow = isinstance(error.reason, TimeoutError)
            hop, cause = math.nan, "timeout" if slow else "unreachable"
        except BROKEN:
            hop, cause = math.nan, "unreachable"
        except (ValueError, KeyError, IndexError, TypeError):
            hop, cause = math.nan, "malformed"
        if cause is not None:
            with self._lock:
                self.causes[cause] += 1
        return hop

    def _patiently(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send a request, again after errors that may pass. The last error is raised."""
        pause = 0.1
        for attempt in range(1, self.config.tries + 1):
            try:
                return self._send("/chat/completions", question)
            except urllib.error.HTTPError as error:
                if error.code not in PASSING or attempt == self.config.tries:
                    raise
                after = error.headers.get("Retry-After") or ""
                pause = max(pause, float(after)) if after.replace(".", "", 1).isdigit() else pause
            except BROKEN:
                if attempt == self.config.tries:
                    raise
            time.sleep(min(pause, self.config.timeout) * (1.0 + 0.2 * random.random()))
            pause *= 4
        raise AssertionError("unreachable")

    def _send(self, path: str, content: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(
            self.config.url.rstrip("/") + path,
            None if content is None else json.dumps(content).encode(),
            headers,
        )
        with self._opener.open(request, timeout=self.config.timeout) as reply:
            return json.loads(reply.read())


def answer_of(reply: dict[str, Any]) -> float:
    """Hop of a chat completion; a server that stops at the closing tag leaves it out."""
    choice = reply["choices"][0]
    text = str(choice["message"]["content"] or "")
    if choice.get("finish_reason") == "stop" and CLOSE not in text:
        text += CLOSE
    return parse_score(text)


def data_url(image: Tensor) -> str:
    """A uint8 image ``[H, W, 3]`` as the address of a PNG, which loses nothing."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.cpu().numpy()).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _picture(pairs: PairBatch, view: str, row: int) -> Tensor:
    images = pairs.frames[view]
    return torch.full_like(images[0], 128) if row == NO_FRAME else images[row]


def read_token(path: Path | None) -> str:
    """The token in a file, or none.

    Raises:
        RoboError: a file that cannot be read, or is empty.
    """
    if path is None:
        return ""
    try:
        token = Path(path).read_text().strip()
    except OSError as error:
        raise RoboError(f"cannot read the token file {path} ({error.strerror})") from error
    if not token:
        raise RoboError(f"the token file {path} is empty; write the service's token into it")
    return token
