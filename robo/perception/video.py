"""Video encoders: the frames of a rollout to one vector, behind one interface.

Whatever the model, :meth:`VideoEncoder.embed` takes clips of any lengths, batches them, runs on
any device under autocast, and gives back float32 rows on the CPU. A clip without frames gives
zeros, which no model gives for a real one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from robo.errors import CheckpointError, RoboError
from robo.perception.clips import Clip, clip_length, frame_indices, stack_clip

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class VideoEncoder(ABC):
    """From clips to embeddings ``[E, D]``."""

    name: str
    """What it is, weights included: embeddings of encoders of different names never mix."""
    views: tuple[str, ...]
    """Camera roles that it reads; each gives its own part of the embedding."""
    frames: int
    """Frames sampled from each clip."""
    dim: int
    """Size D of an embedding."""
    device: torch.device
    """Where it runs."""
    max_batch: int
    """Clips that go through the network together."""

    @abstractmethod
    def forward(self, batch: Tensor) -> Tensor:
        """Embeddings ``[B, D]`` of sampled clips, uint8 ``[B, V, F, H, W, 3]`` on the device."""

    def embed(self, clips: Sequence[Clip]) -> Tensor:
        """One embedding per clip.

        Args:
            clips: camera role to uint8 ``[F, H, W, 3]`` each; F may differ, and be 0.

        Returns:
            float32 ``[E, D]`` on the CPU; zeros for a clip without frames.

        Raises:
            RoboError: a missing view, images of different sizes, or an embedding that is not
                finite.
        """
        result = torch.zeros(len(clips), self.dim)
        filled = [index for index, clip in enumerate(clips) if clip_length(clip, self.views)]
        for start in range(0, len(filled), self.max_batch):
            part = filled[start : start + self.max_batch]
            result[part] = self._embed([clips[index] for index in part])
        if not bool(result.isfinite().all()):
            raise RoboError(
                f"video encoder {self.name!r} gave an embedding that is NaN or infinite; its "
                "weights are damaged, or its precision is too low: load it again"
            )
        return result

    def embed_windows(self, clips: Sequence[Clip], ends: Sequence[Sequence[int]]) -> Tensor:
        """Embeddings of the beginnings of clips, ``[W, D]``.

        Args:
            clips: E of them.
            ends: per clip the lengths of its beginnings, in frames; W in all.
        """
        parts = [
            {view: clip[view][:end] for view in self.views}
            for clip, each in zip(clips, ends, strict=True)
            for end in each
        ]
        return self.embed(parts)

    def _embed(self, clips: Sequence[Clip]) -> Tensor:
        stacked = [stack_clip(clip, self.views, self.frames) for clip in clips]
        sizes = {tuple(part.shape[2:4]) for part in stacked}
        if len(sizes) > 1:
            raise RoboError(
                f"clips of one batch have images of sizes {sorted(sizes)} (height x width); "
                "render all at one size"
            )
        with torch.inference_mode(), autocast(self.device):
            return self.forward(torch.stack(stacked).to(self.device)).float().cpu()


def autocast(device: torch.device) -> torch.autocast:
    """Half precision on a GPU (as SRPO's released code runs V-JEPA 2), float32 elsewhere."""
    return torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")


def normalised_frames(
    frames: Tensor,
    size: int,
    resize: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Frames as image networks read them.

    Args:
        frames: uint8 ``[B, H, W, 3]``.
        size: height and width of the centre crop, pixels.
        resize: length of the shorter side before the crop; None: ``size``.
        mean: of each channel, for values in [0, 1].
        std: of each channel.

    Returns:
        float32 ``[B, 3, size, size]``.
    """
    images = frames.permute(0, 3, 1, 2).float().mul_(1 / 255)
    height, width = images.shape[-2:]
    scale = (resize or size) / min(height, width)
    target = (max(size, int(height * scale)), max(size, int(width * scale)))
    if target != (height, width):
        images = functional.interpolate(
            images, size=target, mode="bilinear", align_corners=False, antialias=True
        )
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    images = images[..., top : top + size, left : left + size]
    shift = images.new_tensor(mean)[:, None, None]
    return (images - shift) / images.new_tensor(std)[:, None, None]


class PixelEncoder(VideoEncoder):
    """Frames shrunk to a few pixels, joined: the plain pixel distance, to compare with."""

    def __init__(
        self, views: tuple[str, ...] = ("front",), frames: int = 16, size: int = 16
    ) -> None:
        """``size`` is the height and width of the shrunk frames."""
        self.views, self.frames, self.size = tuple(views), frames, size
        self.dim = len(self.views) * frames * size * size * 3
        self.name = f"pixels-{frames}x{size}-{'+'.join(self.views)}"
        self.device, self.max_batch = torch.device("cpu"), 64

    def forward(self, batch: Tensor) -> Tensor:
        """Mean colours of a grid of ``size`` x ``size`` cells, in [0, 1]."""
        images = batch.flatten(0, 2).permute(0, 3, 1, 2).float() / 255
        small = functional.adaptive_avg_pool2d(images, self.size)
        return small.reshape(len(batch), -1)


class FrameEncoder(VideoEncoder):
    """Base of encoders that look at single frames: their embeddings, averaged over time.

    Every frame is encoded once; a short clip repeats none.
    """

    @abstractmethod
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Embeddings ``[B, D / V]`` of frames uint8 ``[B, H, W, 3]`` on the device."""

    def embed_windows(self, clips: Sequence[Clip], ends: Sequence[Sequence[int]]) -> Tensor:
        """See :class:`VideoEncoder`; every frame is encoded once for all beginnings."""
        found = []
        for clip, each in zip(clips, ends, strict=True):
            frames = {view: torch.as_tensor(clip[view]) for view in self.views}
            rows = {view: self._rows(images) for view, images in frames.items()}
            for end in each:
                index = torch.from_numpy(frame_indices(end, min(end, self.frames)))
                found.append(torch.cat([rows[view][index].mean(0) for view in self.views]))
        return torch.stack(found) if found else torch.zeros(0, self.dim)

    def _rows(self, frames: Tensor) -> Tensor:
        chunk = self.max_batch * self.frames
        with torch.inference_mode(), autocast(self.device):
            parts = [
                self.encode_frames(frames[start : start + chunk].to(self.device)).float().cpu()
                for start in range(0, len(frames), chunk)
            ]
        return torch.cat(parts)

    def forward(self, batch: Tensor) -> Tensor:
        """The same from sampled clips."""
        count, views, frames = batch.shape[:3]
        rows = self.encode_frames(batch.flatten(0, 2))
        return rows.reshape(count, views, frames, -1).mean(dim=2).flatten(1)

    def _embed(self, clips: Sequence[Clip]) -> Tensor:
        parts, lengths = [], []
        for clip in clips:
            length = clip_length(clip, self.views)
            index = torch.from_numpy(frame_indices(length, min(length, self.frames)))
            lengths.append(len(index))
            parts.append(torch.cat([torch.as_tensor(clip[view])[index] for view in self.views]))
        rows = self._rows(torch.cat(parts))
        each = rows.split([length * len(self.views) for length in lengths])
        return torch.stack(
            [part.reshape(len(self.views), -1, part.shape[-1]).mean(1).flatten() for part in each]
        )


def load_video_encoder(
    source: str | Path, views: tuple[str, ...] = ("front",), device: str = "cpu"
) -> VideoEncoder:
    """The encoder that a text names.

    Args:
        source: the folder of a compact encoder (``robo fit video-encoder``); ``pixels``;
            ``vjepa2:ID`` with an id such as facebook/vjepa2-vitl-fpc64-256, or a local folder of
            its files; ``open_clip:FOLDER`` (``robo fit clip`` writes one) or
            ``open_clip:MODEL:WEIGHTS``, with a tag of open_clip or a local file.
        views: camera roles; a compact encoder has its own.
        device: torch device.

    Raises:
        CheckpointError: no such folder, or damaged files.
        MissingExtraError: a package that is not installed.
        RoboError: a text that names no encoder.
    """
    text = str(source)
    kind, _, rest = text.partition(":")
    if text == "pixels":
        return PixelEncoder(views)
    if kind == "vjepa2" and rest:
        from robo.perception.vjepa2 import VJEPA2Encoder

        return VJEPA2Encoder.load(rest, views, device)
    if kind == "open_clip" and rest:
        from robo.perception.open_clip_video import OpenClipEncoder

        model, _, weights = rest.partition(":")
        return OpenClipEncoder.load(model, weights, views, device)
    if Path(source).is_dir():
        from robo.perception.compact_video import CompactVideoEncoder

        return CompactVideoEncoder.load(source, device)
    raise CheckpointError(
        f"video encoder {text!r} is no folder and none of pixels, vjepa2:ID and open_clip:MODEL; "
        "fit one with `robo fit video-encoder` and name its folder"
    )
