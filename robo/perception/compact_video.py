"""The compact video encoder: a small transformer over space-time tokens, made for a CPU.

Trained by masked latent prediction (:mod:`robo.perception.compact_video_fit`), as V-JEPA is
(Bardes et al., "Revisiting Feature Prediction for Learning Visual Representations from Video",
2024): what is hidden is predicted as features of a slowly moving copy, never as pixels.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from robo.errors import CheckpointError, RoboError
from robo.perception.clips import Clip
from robo.perception.compact_video_config import CompactVideoConfig
from robo.perception.video import VideoEncoder
from robo.perception.video_order import order_direction
from robo.perception.views import to_float
from robo.storage import checksum, write_together

FORMAT = 1
WEIGHTS, DESCRIPTION = "model.safetensors", "video_encoder.json"


def transformer(size: int, depth: int, heads: int) -> nn.TransformerEncoder:
    """Pre-norm layers with GELU, without dropout, and a closing layer norm."""
    layer = nn.TransformerEncoderLayer(
        size, heads, 4 * size, 0.0, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, depth, nn.LayerNorm(size), enable_nested_tensor=False)


def positions(shape: tuple[int, int, int, int], size: int) -> Tensor:
    """Sines and cosines of (view, time, row, column), float ``[V*T*R*C, size]``."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij"), -1)
    places = grid.reshape(-1, 4).float()
    each = [size // 8 * 2] * 3
    widths = [size - sum(each), *each]
    parts = []
    for axis, width in enumerate(widths):
        half = max(width // 2, 1)
        frequency = torch.exp(-math.log(100.0) * torch.arange(half) / half)
        angle = places[:, axis : axis + 1] * frequency
        parts.append(torch.cat([angle.sin(), angle.cos()], 1)[:, :width])
    return torch.cat(parts, 1)


class CompactVideoNetwork(nn.Module):
    """Tokens of ``tubelet`` frames x ``patch`` x ``patch`` pixels through a transformer."""

    place: Tensor
    average: Tensor
    """float ``[D]``: mean of pooled features over the training clips."""
    deviation: Tensor
    """float ``[D]``: deviation of each channel, the same in all places, by which embeddings are
    divided."""
    order: Tensor
    """float ``[D]``: see :func:`robo.perception.video_order.order_direction`; ``[0]`` without."""

    def __init__(self, config: CompactVideoConfig) -> None:
        """Fresh weights from torch's generator."""
        super().__init__()
        self.config = config
        self.shape = (
            len(config.views),
            config.frames // config.tubelet,
            config.height // config.patch,
            config.width // config.patch,
        )
        self.tokens = math.prod(self.shape)
        """Number of tokens P of a clip."""
        self.embed = nn.Linear(config.tubelet * config.patch**2 * 3, config.size)
        self.encoder = transformer(config.size, config.depth, config.heads)
        self.register_buffer("place", positions(self.shape, config.size), persistent=False)
        self.cells = (min(config.grid, self.shape[2]), min(config.grid, self.shape[3]))
        """Rows and columns of the grid."""
        dim = config.size * config.segments * math.prod(self.cells) * len(config.views)
        self.register_buffer("average", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))
        self.register_buffer("order", torch.zeros(dim if config.order else 0))

    def patches(self, clips: Tensor) -> Tensor:
        """Pixels of each token, float ``[B, P, tubelet*patch*patch*3]``, of uint8 clips.

        ``clips`` is ``[B, V, F, H, W, 3]``.
        """
        config = self.config
        count, views, frames, height, width, _ = clips.shape
        expected = (len(config.views), config.frames, config.height, config.width)
        if (views, frames, height, width) != expected:
            raise RoboError(
                f"the video encoder reads clips of (views, frames, height, width) {expected}, got "
                f"{(views, frames, height, width)}: render at its size, or fit another one"
            )
        _, time, rows, columns = self.shape
        pixels = to_float(clips.flatten(0, 2)).permute(0, 2, 3, 1)
        cut = pixels.reshape(
            count, views, time, config.tubelet, rows, config.patch, columns, config.patch, 3
        )
        return cut.permute(0, 1, 2, 4, 6, 3, 5, 7, 8).reshape(count, self.tokens, -1)

    def forward(self, patches: Tensor, seen: Tensor | None = None) -> Tensor:
        """Features ``[B, P', size]`` of the tokens ``seen`` (int64 ``[P']``; None: all)."""
        place = self.place
        if seen is not None:
            patches, place = patches[:, seen], place[seen]
        return self.encoder(self.embed(patches) + place)

    def pool(self, features: Tensor) -> Tensor:
        """Means over the tokens of each view, segment of time and cell of the grid, joined.

        ``[B, V*S*R*C*size]``, channels last.
        """
        _, time, rows, columns = self.shape
        parts, size = self.config.segments, self.config.size
        cut = features.reshape(-1, time // parts, rows, columns, size).mean(1)
        cells = functional.adaptive_avg_pool2d(cut.permute(0, 3, 1, 2), self.cells)
        return cells.permute(0, 2, 3, 1).reshape(len(features), -1)


class CompactVideoEncoder(VideoEncoder):
    """The fitted network behind the interface of all encoders."""

    def __init__(
        self,
        network: CompactVideoNetwork,
        device: str | torch.device = "cpu",
        max_batch: int = 32,
        summary: dict[str, Any] | None = None,
    ) -> None:
        """``network`` is moved to ``device`` and only evaluated; ``summary`` is of its training."""
        config = network.config
        self.network = network.to(device).eval().requires_grad_(False)
        self.summary = summary or {}
        self.views, self.frames = config.views, config.frames
        self.image_size = (config.height, config.width)
        """Height and width of the images that it reads, pixels."""
        self.dim = len(network.average) + config.order
        self.device, self.max_batch = torch.device(device), max_batch

    @property
    def name(self) -> str:  # type: ignore[override]
        """Kind, digest of the weights."""
        return f"compact:{checksum(self._tensors())[:16]}"

    def standardise(self, clips: Sequence[Clip]) -> None:
        """Give the embeddings of ``clips`` zero mean, and every channel unit deviation.

        What all rollouts have in common is most of a mean over tokens; distances are to say in
        what they differ. A channel has one deviation in all places: were each place scaled by its
        own, those where hardly anything happens would weigh as much as those that matter.
        """
        with torch.no_grad():
            self.network.average.zero_()
            self.network.deviation.fill_(1.0)
            found = self.embed(clips)[:, : len(self.network.average)]
            self.network.average.copy_(found.mean(0))
            channels = (found - found.mean(0)).reshape(-1, self.network.config.size)
            scale = channels.square().mean(0).sqrt().clamp(min=1e-6)
            self.network.deviation.copy_(scale.repeat(len(self.network.average) // len(scale)))

    def fit_order(self, clips: Sequence[Clip], weight: float) -> None:
        """Let embeddings end with how much of a success has passed, as far as the video shows.

        Args:
            clips: successes, whole.
            weight: see :func:`robo.perception.video_order.order_direction`.

        Raises:
            StoreError: too few clips.
        """
        network = self.network
        network.config = dataclasses.replace(network.config, order=False)
        network.order, self.dim = network.average.new_zeros(0), len(network.average)
        if weight > 0:
            network.order = order_direction(self, clips, weight).to(self.device)
            network.config = dataclasses.replace(network.config, order=True)
            self.dim += 1

    def _tensors(self) -> dict[str, Tensor]:
        state = self.network.state_dict()
        kept = {name: tensor for name, tensor in state.items() if tensor.numel()}  # no empty order
        return {name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}

    def forward(self, batch: Tensor) -> Tensor:
        """Pooled features ``[B, D]``, the order last where there is one."""
        network = self.network
        pooled = network.pool(network(network.patches(batch)))
        found = (pooled - network.average) / network.deviation
        if network.config.order:
            found = torch.cat([found, (found @ network.order.to(found.dtype))[:, None]], 1)
        return found

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``video_encoder.json`` into ``folder``, atomically.

        Raises:
            RoboError: full disk, missing permission; the folder's earlier encoder stays.
        """
        from safetensors.torch import save

        tensors = self._tensors()
        description = {
            "format": FORMAT,
            "kind": "compact_video_encoder",
            "config": dataclasses.asdict(self.network.config),
            "summary": self.summary,
        }
        text = json.dumps(description, indent=2) + "\n"
        write_together(
            {
                Path(folder) / WEIGHTS: save(tensors, {"sha256": checksum(tensors)}),
                Path(folder) / DESCRIPTION: text.encode(),
            }
        )

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> CompactVideoEncoder:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: missing or damaged files.
        """
        from safetensors import SafetensorError, safe_open

        folder = Path(folder)
        for name in (DESCRIPTION, WEIGHTS):
            if not (folder / name).is_file():
                raise CheckpointError(
                    f"{folder} holds no {name}, so it is no video encoder; make one with "
                    "`robo fit video-encoder`"
                )
        try:
            description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if (description["format"], description["kind"]) != (FORMAT, "compact_video_encoder"):
                raise ValueError(f"format {description['format']}, kind {description['kind']}")
            fields: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in {"grid": 1, **description["config"]}.items()
            }
            network = CompactVideoNetwork(CompactVideoConfig(**fields))
            with safe_open(folder / WEIGHTS, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                expected = (file.metadata() or {}).get("sha256")
            if expected != checksum(tensors):
                raise ValueError("its checksum is wrong")
            network.load_state_dict({"order": torch.zeros(0), **tensors})
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            RuntimeError,
            RoboError,
            SafetensorError,
        ) as error:
            raise CheckpointError(
                f"the video encoder in {folder} cannot be read ({str(error).splitlines()[0]}); it "
                "is damaged or of another version: fit it again"
            ) from error
        return cls(network, device, summary=dict(description["summary"]))
