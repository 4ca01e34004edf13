"""An image encoder of open_clip as a video encoder: unit embeddings of frames, averaged over time.

The fallback where no video model is at hand. It sees what is where, and not how it moved.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from robo.perception.clip import ClipEncoder
from robo.perception.clip_config import ClipConfig
from robo.perception.video import FrameEncoder


class OpenClipEncoder(FrameEncoder):
    """The image tower of an image-text model; one embedding per view joined."""

    def __init__(
        self,
        clip: ClipEncoder,
        views: tuple[str, ...] = ("front",),
        frames: int = 16,
        max_batch: int = 16,
    ) -> None:
        """``clip`` says the device and the images that go through it at once."""
        self.clip, self.views, self.frames = clip, tuple(views), frames
        self.device, self.max_batch = clip.device, max_batch
        self.name = f"open_clip:{_fingerprint(clip)}:{frames}:{'+'.join(views)}"
        blank = torch.zeros(1, *clip.image_size, 3, dtype=torch.uint8)
        self.dim = clip.images(blank).shape[-1] * len(self.views)

    @classmethod
    def load(
        cls, model: str, weights: str, views: tuple[str, ...] = ("front",), device: str = "cpu"
    ) -> OpenClipEncoder:
        """Load a model of open_clip by name and weights, or a folder (``robo fit clip``).

        Raises:
            MissingExtraError: open_clip is not installed.
            CheckpointError: an unknown model, or weights that cannot be had.
        """
        config = ClipConfig(model, weights) if weights else ClipConfig(model)
        return cls(ClipEncoder.load(config, device), views)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Unit embeddings of frames."""
        return self.clip.images(frames).float()


def _fingerprint(clip: ClipEncoder) -> str:
    """A short digest of a few numbers of every tensor."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in clip.model.visual.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()
