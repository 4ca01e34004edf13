"""An image encoder of open_clip as a video encoder: unit embeddings of frames, averaged over time.

The fallback where no video model is at hand. It sees what is where, and not how it moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robo.errors import CheckpointError, MissingExtraError
from robo.perception.video import FrameEncoder, autocast, normalised_frames


class OpenClipEncoder(FrameEncoder):
    """The image tower of an open_clip model; one embedding per view joined."""

    def __init__(
        self,
        model: Any,
        name: str,
        views: tuple[str, ...] = ("front",),
        device: str | torch.device = "cpu",
        frames: int = 16,
        max_batch: int = 16,
    ) -> None:
        """``model`` has ``visual`` and ``encode_image``, as open_clip's models do."""
        self.model = model.to(device).eval().requires_grad_(False)
        visual = model.visual
        size = visual.image_size
        self.size = int(size[0] if isinstance(size, Sequence) else size)
        self.mean = tuple(
            getattr(visual, "image_mean", None) or (0.48145466, 0.4578275, 0.40821073)
        )
        self.std = tuple(getattr(visual, "image_std", None) or (0.26862954, 0.26130258, 0.27577711))
        self.name, self.views, self.frames = name, tuple(views), frames
        self.device, self.max_batch = torch.device(device), max_batch
        blank = torch.zeros(1, self.size, self.size, 3, dtype=torch.uint8, device=device)
        with torch.inference_mode():
            self.dim = self.encode_frames(blank).shape[-1] * len(self.views)

    @classmethod
    def load(
        cls,
        model: str = "ViT-B-32",
        weights: str | None = None,
        views: tuple[str, ...] = ("front",),
        device: str | torch.device = "cpu",
    ) -> OpenClipEncoder:
        """Load a model of open_clip.

        Args:
            model: its name there.
            weights: a tag of open_clip, which downloads them, or a local file; None draws random
                ones from seed 0 (a baseline: random features of images).
            views: camera roles.
            device: torch device.

        Raises:
            MissingExtraError: open_clip is not installed.
            CheckpointError: an unknown model, or weights that cannot be had.
        """
        try:
            import open_clip
        except ImportError as error:
            raise MissingExtraError(
                'image encoders need open_clip: pip install -e ".[vlm]"'
            ) from error
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                loaded = open_clip.create_model(model, pretrained=weights)
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"open_clip cannot load {model!r} with weights {weights!r} "
                f"({str(error).splitlines()[0]}); see open_clip.list_pretrained(), or name a local "
                "file"
            ) from error
        name = f"open_clip:{model}:{_fingerprint(loaded)}:{'+'.join(views)}"
        return cls(loaded, name, views, device)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Unit embeddings of frames."""
        images = normalised_frames(frames, self.size, None, self.mean, self.std)
        with autocast(self.device):
            found = self.model.encode_image(images)
        return torch.nn.functional.normalize(found.float(), dim=-1)


def _fingerprint(model: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in model.visual.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()
