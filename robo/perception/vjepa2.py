"""V-JEPA 2 as a video encoder, by the classes of transformers.

As SRPO uses it (arXiv 2511.15605 and its released code): 64 frames spread over the rollout, the
shorter side resized to 256/224 of the crop, a centre crop, ImageNet's mean and deviation, half
precision, and the mean over all output tokens. No predictor, no action-conditioned variant, no
normalisation of the embedding.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robo.errors import CheckpointError, MissingExtraError
from robo.perception.kernels import compile_layers, quick_attention
from robo.perception.video import VideoEncoder, autocast, normalised_frames
from robo.perception.vjepa2_rotary import share_rotary


class VJEPA2Encoder(VideoEncoder):
    """A ``transformers.VJEPA2Model``, one embedding per view joined: D = V * hidden size."""

    def __init__(
        self,
        model: Any,
        name: str,
        views: tuple[str, ...] = ("front",),
        device: str | torch.device = "cpu",
        max_batch: int = 4,
    ) -> None:
        """``model`` is moved to ``device`` and only evaluated; its config says size and frames."""
        config = model.config
        share_rotary(model)
        self.model = model.to(device).eval().requires_grad_(False)
        self.name, self.views = name, tuple(views)
        self.frames, self.crop = int(config.frames_per_clip), int(config.crop_size)
        self.dim = int(config.hidden_size) * len(self.views)
        self.device, self.max_batch = torch.device(device), max_batch

    @classmethod
    def load(
        cls,
        source: str | Path,
        views: tuple[str, ...] = ("front",),
        device: str | torch.device = "cpu",
        max_batch: int = 4,
        compiled: bool = True,
    ) -> VJEPA2Encoder:
        """Load by an id of the Hugging Face hub (facebook/vjepa2-vitg-fpc64-384) or a folder.

        ``compiled``: torch.compile its layers where ``device`` is a GPU.

        Raises:
            MissingExtraError: transformers is not installed.
            CheckpointError: nothing there, damaged files, or no V-JEPA 2.
        """
        try:
            from transformers import VJEPA2Model
        except ImportError as error:
            raise MissingExtraError(
                'V-JEPA 2 needs transformers: pip install -e ".[vlm]"'
            ) from error
        try:
            # On a GPU parameters in half precision; autocast keeps the sensitive layers exact.
            dtype = torch.float16 if torch.device(device).type == "cuda" else torch.float32
            model = VJEPA2Model.from_pretrained(
                str(source), dtype=dtype, use_safetensors=True, attn_implementation="sdpa"
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"V-JEPA 2 cannot be loaded from {source} ({str(error).splitlines()[0]}); name a "
                "folder with config.json and model.safetensors, or an id that this machine can "
                "download, such as facebook/vjepa2-vitl-fpc64-256"
            ) from error
        name = f"vjepa2:{_fingerprint(model)}:{'+'.join(views)}"
        encoder = cls(model, name, views, device, max_batch)
        if compiled:
            compile_layers(model.encoder.layer, encoder.device)
        return encoder

    def forward(self, batch: Tensor) -> Tensor:
        """Means over all tokens, of every view by itself."""
        count, views, frames = batch.shape[:3]
        images = normalised_frames(batch.flatten(0, 2), self.crop, int(256 / 224 * self.crop))
        videos = images.unflatten(0, (count * views, frames)).to(
            next(self.model.parameters()).dtype
        )
        with autocast(self.device), quick_attention(self.device):
            tokens = self.model(pixel_values_videos=videos, skip_predictor=True).last_hidden_state
        return tokens.float().mean(dim=1).unflatten(0, (count, views)).flatten(1)


def _fingerprint(model: Any) -> str:
    """A short digest of the configuration and a few rows of every tensor."""
    digest = hashlib.blake2b(str(model.config.to_dict()).encode(), digest_size=8)
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()
