"""``robo serve grm``: a reward model for other processes and machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ServeGRM:
    """Serve a GRM by the OpenAI chat protocol: eight images in, a score out."""

    grm: Path | None = None
    """Folder of a fitted GRM of any kind; None takes --model."""
    model: str | None = None
    """Hugging Face id or folder of a vision-language checkpoint, in place of --grm."""
    task: str | None = None
    """Task whose START and GOAL a compact GRM of several tasks compares with."""
    host: str = "127.0.0.1"
    """Address to bind; anything but this machine needs --token-file."""
    port: int = 8008
    """Port; 0 takes a free one."""
    name: str = "grm"
    """The model's name for clients."""
    token_file: Path | None = None
    """File with the token that clients must send."""
    queue: int = 256
    """Questions that may wait; further ones are refused with 503, and clients ask again."""
    batch: int = 32
    """Questions answered together at most."""
    device: str = "cpu"
    """Torch device."""
    threads: int = 1
    """Threads of torch."""
    seconds: float | None = None
    """Stop after this long; None serves until interrupted."""
    out: Path | None = None
    """Run folder for result.json; None writes none."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Serve until interrupted.

        Returns:
            ``url``, and the counts ``answers``, ``invalid``, ``refused``, ``failed``, ``batches``.

        Raises:
            RoboError: no model, a port that is taken, an open address without a token.
        """
        import time
        from contextlib import suppress

        import torch
        from rich.console import Console

        from robo.rewards.grm.http_backbone import read_token
        from robo.web.grm_batching import ServiceConfig
        from robo.web.grm_service import GRMService

        torch.set_num_threads(self.threads)
        config = ServiceConfig(self.host, self.port, self.name, self.queue, self.batch)
        with GRMService(self._backbone(), config, read_token(self.token_file)) as service:
            Console(stderr=True).print(
                f"serving {self.name} at {service.url} (--http.url of robo fit grm); Ctrl-C stops"
            )
            with suppress(KeyboardInterrupt):
                if self.seconds is None:
                    service.wait()
                else:
                    time.sleep(self.seconds)
            counts = dict(service.batcher.counts)
        wanted = ("answers", "invalid", "refused", "failed", "batches")
        return {"url": service.url, **{name: counts.get(name, 0) for name in wanted}}

    def _backbone(self) -> Any:
        """The model to serve."""
        from robo.errors import RoboError
        from robo.rewards.grm.folder import load_backbone
        from robo.rewards.grm.vlm_config import VLMConfig

        if (self.grm is None) == (self.model is None):
            raise RoboError("name the model to serve: either --grm FOLDER or --model ID")
        if self.grm is not None:
            return load_backbone(self.grm, self.device, self.task)
        from robo.rewards.grm.vlm.loading import load_vlm

        assert self.model is not None
        return load_vlm(VLMConfig(model=self.model, device=self.device, batch=self.batch))
