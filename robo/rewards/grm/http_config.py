"""What may be chosen about a served reward model, apart from torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from robo.errors import RoboError


@dataclass(frozen=True)
class HTTPConfig:
    """A reward model that somebody serves."""

    url: str = "http://127.0.0.1:8008/v1"
    """Base of the endpoint; requests go to URL/chat/completions."""
    model: str = "grm"
    """Name of the model, as the server knows it."""
    token_file: Path | None = None
    """File with the bearer token; None sends none."""
    prompt_file: Path | None = None
    """Text file with a checkpoint's own wording; None takes ours."""
    slots: tuple[str, str, str] = ("front", "left_wrist", "right_wrist")
    """Cameras shown in the three places of BEFORE and AFTER; a compact GRM behind robo serve grm
    wants its own views here."""
    constrain: Literal["none", "vllm", "sglang", "guided_regex"] = "none"
    """How the server is told the score grammar: structured_outputs of newer vLLM, regex of SGLang,
    guided_regex of older vLLM; robo serve grm needs none."""
    temperature: float = 0.0
    """Of the server's sampling."""
    timeout: float = 60.0
    """Seconds after which a request has failed."""
    tries: int = 3
    """Attempts per request, with growing pauses between them."""
    workers: int = 8
    """Requests at a time."""
    batch: int = 256
    """Pairs handed over at once."""

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RoboError(
                f"the endpoint {self.url!r} is no address, expected http://HOST:PORT/v1"
            )
        if self.timeout <= 0 or min(self.tries, self.workers, self.batch) < 1:
            raise RoboError(
                f"timeout {self.timeout} must be above 0, tries {self.tries}, workers "
                f"{self.workers} and batch {self.batch} at least 1"
            )
