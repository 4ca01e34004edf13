"""Embeddings of rollouts, each computed once: keyed by the encoder and the rollout's own frames.

A key made of task and trial alone would give all rollouts of one initial state one embedding.
This one is a digest of the frames themselves, so that two rollouts share an entry only where
they look alike pixel for pixel.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robo.perception.clips import Clip
from robo.perception.video import VideoEncoder
from robo.storage import write_bytes


def clip_key(encoder: str, clip: Clip) -> str:
    """A digest of the encoder's name and of every frame of every view."""
    digest = hashlib.blake2b(encoder.encode(), digest_size=20)
    for view in sorted(clip):
        images = np.ascontiguousarray(torch.as_tensor(clip[view]).cpu().numpy())
        digest.update(f"|{view}{images.shape}|".encode())
        digest.update(images.data)
    return digest.hexdigest()


class EmbeddingCache:
    """Embeddings by an encoder, the newest ``limit`` of them in memory, and in a folder if any."""

    def __init__(
        self, encoder: VideoEncoder, limit: int = 4096, folder: Path | None = None
    ) -> None:
        """``folder`` keeps embeddings for later processes; None keeps them in memory only."""
        self.encoder, self.limit, self.folder = encoder, limit, folder
        self.hits = self.misses = 0
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def embed(self, clips: Sequence[Clip]) -> Tensor:
        """What ``encoder.embed`` gives, ``[E, D]``; only clips not seen before are encoded."""
        name = self.encoder.name
        keys = [clip_key(name, clip) for clip in clips]
        found = {key: self._find(key) for key in dict.fromkeys(keys)}
        missing = [key for key, embedding in found.items() if embedding is None]
        first = {key: index for index, key in reversed(list(enumerate(keys)))}
        self.misses += len(missing)
        self.hits += len(keys) - len(missing)
        fresh = self.encoder.embed([clips[first[key]] for key in missing])
        for key, embedding in zip(missing, fresh, strict=True):
            found[key] = embedding
            self._keep(key, embedding)
        rows = [found[key] for key in keys]
        return torch.stack(rows) if rows else torch.zeros(0, self.encoder.dim)  # type: ignore[arg-type]

    def _find(self, key: str) -> Tensor | None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if self.folder is None or not (self.folder / f"{key}.npy").is_file():
            return None
        saved = np.load(self.folder / f"{key}.npy", allow_pickle=False)
        return torch.from_numpy(saved)

    def _keep(self, key: str, embedding: Tensor) -> None:
        self._kept[key] = embedding
        while len(self._kept) > self.limit:
            self._kept.popitem(last=False)
        if self.folder is not None:
            content = io.BytesIO()
            np.save(content, embedding.numpy(), allow_pickle=False)
            write_bytes(self.folder / f"{key}.npy", content.getvalue())
