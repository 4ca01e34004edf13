"""Contrastive training of an image-text model on frames whose captions are known.

Many frames of a batch show the same state of affairs, so a frame's sentence is right for others
too: every sentence of the same scene counts as a match (SupCon, Khosla et al., arXiv 2004.11362,
in the symmetric form of CLIP, Radford et al., arXiv 2103.00020).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

# See robo.rewards.grm.fit: importing it later may crash once an EGL context exists.
import torch._dynamo
from torch import Tensor, nn

from robo.errors import RoboError
from robo.perception.augment import jitter, pad_edges, random_shift
from robo.perception.clip import ClipEncoder
from robo.perception.clip_config import ClipFitConfig
from robo.perception.views import BLANK

PLENTY = 200
"""Frames from which on a scene comes as often as any; with fewer, by the root of their number."""
LARGEST_SCALE = math.log(100.0)
"""CLIP's bound of the logarithm of its inverse temperature."""


@dataclass(frozen=True)
class ClipFitStep:
    """What the caller's progress bar is told after each training step."""

    iteration: int
    """Steps done."""
    iterations: int
    """Steps planned."""
    loss: float
    """Loss of this step."""


class FrameCaptions:
    """Frames with the scene that each shows; scenes of plenty of frames come equally often.

    Args:
        images: uint8 ``[M, H, W, 3]``, of the model's size.
        label: int64 ``[M]``, 0 ... S-1.
        wording: the sentences of each of the S scenes.
        config: reads ``augment``.
        group: int64 ``[M]``, the episode of each; within a scene one comes by the root of its
            number of frames, since those of a car that stands still are all the same. None
            takes every frame alike.
        mirrored: every other frame is shown in a mirror.
    """

    def __init__(
        self,
        images: np.ndarray,
        label: np.ndarray,
        wording: Sequence[Sequence[str]],
        config: ClipFitConfig,
        group: np.ndarray | None = None,
        mirrored: bool = False,
    ) -> None:
        """See the class."""
        self.mirrored = mirrored
        self.augment = replace(config.augment, view_dropout=0.0)
        self.padded = pad_edges(images[:, None], self.augment.shift)
        self.wording = wording
        self.rows = [np.flatnonzero(label == scene) for scene in range(len(wording))]
        self.shares = [_shares(rows if group is None else group[rows]) for rows in self.rows]
        self.scenes = np.array([scene for scene, rows in enumerate(self.rows) if len(rows)])
        # A scene of a handful of frames would otherwise fill its share of every batch with them.
        weight = np.sqrt([min(len(self.rows[scene]), PLENTY) for scene in self.scenes])
        self.chance = weight / weight.sum()
        if len(self.scenes) < 2:
            raise RoboError(
                f"the frames show {len(self.scenes)} of {len(wording)} scenes, expected at least "
                "two to contrast: record more episodes"
            )

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], np.ndarray]:
        """Images float ``[B, H, W, 3]`` in [0, 1], a sentence for each, and their scenes."""
        scene = rng.choice(self.scenes, size, p=self.chance)
        rows = np.array([rng.choice(self.rows[index], p=self.shares[index]) for index in scene])
        text = [str(rng.choice(np.asarray(self.wording[index], object))) for index in scene]
        shifted = random_shift(self.padded, rows, self.augment.shift, rng)
        if self.mirrored:
            turned = rng.random(size) < 0.5
            shifted[turned] = shifted[turned][..., ::-1, :]
        images = torch.from_numpy(shifted)
        scaled = jitter(images, self.augment, rng)[:, 0]
        return scaled.mul(128.0).add(BLANK).div(255.0).clamp(0, 1), text, scene


def _shares(group: np.ndarray) -> np.ndarray:
    """Chance of each row, float64 ``[M]``: a group comes by the root of its number of rows."""
    _, place, count = np.unique(group, return_inverse=True, return_counts=True)
    share = 1 / np.sqrt(count[place]) if len(group) else np.zeros(0)
    return share / share.sum() if len(group) else share


def contrastive_loss(image: Tensor, text: Tensor, scene: Tensor, scale: Tensor) -> Tensor:
    """Cross entropy of matching images with sentences, both ways.

    Args:
        image: unit embeddings ``[B, D]``.
        text: unit embeddings ``[B, D]``.
        scene: int64 ``[B]``; equal ones match.
        scale: inverse temperature.

    Returns:
        The mean of both directions, less the entropy of the matches: 0 at best.
    """
    logits = scale * image @ text.T
    match = (scene[:, None] == scene[None]).float()
    target = match / match.sum(dim=1, keepdim=True)
    there = -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
    back = -(target * logits.T.log_softmax(dim=1)).sum(dim=1).mean()
    return (there + back) / 2 - match.sum(dim=1).log().mean()


def learning_rate_factor(fraction: float) -> float:
    """Linear warm-up over the first 5 %, then a half cosine to 0; ``fraction`` in [0, 1]."""
    return min(1.0, fraction / 0.05 + 0.02) * 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))


def train_clip(
    encoder: ClipEncoder,
    data: FrameCaptions,
    config: ClipFitConfig,
    on_progress: Callable[[ClipFitStep], None] = lambda step: None,
) -> list[float]:
    """Train ``encoder.model`` in place; the loss of every step.

    Raises:
        RoboError: the loss is not finite any more.
    """
    model, rng = encoder.model, np.random.default_rng(config.seed)
    model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.peak,
        betas=(0.9, 0.98),
        weight_decay=config.weight_decay,
    )
    tokens: dict[str, Tensor] = {}
    losses: list[float] = []
    began = time.perf_counter()
    limit = None if config.minutes is None else 60.0 * config.minutes
    for iteration in range(config.iterations):
        elapsed = time.perf_counter() - began
        if limit is not None and elapsed >= limit:
            break
        fraction = max(iteration / config.iterations, elapsed / limit if limit else 0.0)
        for group in optimizer.param_groups:
            group["lr"] = config.peak * learning_rate_factor(fraction)
        images, text, scene = data.draw(config.batch_size, rng)
        for sentence in text:
            if sentence not in tokens:
                tokens[sentence] = encoder.tokenizer([sentence])[0]
        batch = torch.stack([tokens[sentence] for sentence in text]).to(encoder.device)
        image = model.encode_image(encoder.normalise(images.to(encoder.device)), normalize=True)
        words = model.encode_text(batch, normalize=True)
        scale = model.logit_scale.exp()
        matches = torch.from_numpy(scene).to(encoder.device)
        loss = contrastive_loss(image, words, matches, scale)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, LARGEST_SCALE)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise RoboError(
                f"training diverged at step {iteration + 1} (loss {losses[-1]}); lower "
                f"learning_rate, now {config.peak}"
            )
        on_progress(ClipFitStep(iteration + 1, config.iterations, losses[-1]))
    model.eval().requires_grad_(False)
    encoder.forget()
    return losses
