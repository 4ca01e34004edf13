"""Train the compact video encoder by masked latent prediction on stored episodes.

No labels, and no outcomes unless an order is asked for: hidden tokens are predicted as features of
a slowly moving copy of the encoder (its moving average), each layer-normalised, as V-JEPA's are.
Half of the steps hide places throughout the clip, the other half everything after a moment, so
that what will happen matters too.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robo.errors import RoboError, StoreError
from robo.perception.clips import Clip, clip_length, stack_clip
from robo.perception.compact_video import CompactVideoEncoder, CompactVideoNetwork, transformer
from robo.perception.compact_video_config import FitVideoConfig
from robo.perception.video_order import orderable
from robo.rollout import Episode

SHORTEST = 0.2
"""Least share of an episode that a partial clip shows."""


class Predictor(nn.Module):
    """From features of the seen tokens to those of the hidden ones."""

    def __init__(self, network: CompactVideoNetwork) -> None:
        """For the tokens of ``network``."""
        super().__init__()
        config = network.config
        self.enter = nn.Linear(config.size, config.predictor_size)
        self.mask = nn.Parameter(torch.zeros(config.predictor_size))
        self.place = nn.Linear(config.size, config.predictor_size)
        self.layers = transformer(config.predictor_size, config.predictor_depth, config.heads)
        self.leave = nn.Linear(config.predictor_size, config.size)

    def forward(self, features: Tensor, place: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        """Features ``[B, K, size]`` of tokens ``hidden [K]`` from those of ``seen``."""
        known = self.enter(features) + self.place(place[seen])
        asked = (self.mask + self.place(place[hidden])).expand(len(features), -1, -1)
        return self.leave(self.layers(torch.cat([known, asked], 1))[:, len(seen) :])


def load_clips(episodes: Iterable[Episode], views: tuple[str, ...]) -> list[Clip]:
    """The frames of every episode that has any.

    Raises:
        StoreError: fewer than two of them.
    """
    clips: list[Clip] = [
        {view: episode.frames[view] for view in views if view in episode.frames}
        for episode in episodes
        if episode.frames
    ]
    if len(clips) < 2:
        raise StoreError(
            f"a video encoder needs at least 2 episodes with camera frames, got {len(clips)}; "
            "collect more with robo collect"
        )
    for clip in clips:
        clip_length(clip, views)
    return clips


def draw_clips(clips: list[Clip], config: FitVideoConfig, rng: np.random.Generator) -> Tensor:
    """A batch of sampled clips, uint8 ``[B, V, F, H, W, 3]``, whole or of a part each."""
    views, frames = config.network.views, config.network.frames
    batch = []
    for index in rng.choice(len(clips), config.batch, replace=len(clips) < config.batch):
        length = clip_length(clips[index], views)
        start, stop = 0, length
        if rng.random() < config.partial:
            shown = max(2, round(length * rng.uniform(SHORTEST, 1.0)))
            start = int(rng.integers(0, max(length - shown, 0) + 1))
            stop = start + shown
        part = {view: clips[index][view][start:stop] for view in views}
        batch.append(stack_clip(part, views, frames))
    return torch.stack(batch)


def draw_mask(
    network: CompactVideoNetwork, config: FitVideoConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Seen and hidden tokens, int64 ``[P - K]`` and ``[K]``."""
    _, steps, rows, columns = network.shape
    hidden = np.zeros(network.shape, bool)
    # A single place cannot be hidden and its surroundings shown.
    if steps > 1 and (rng.random() < config.future or rows * columns == 1):
        hidden[:, max(1, round(steps * (1 - config.mask))) :] = True
    else:
        places = np.zeros((rows, columns), bool)
        while places.mean() < config.mask:  # blocks, the same throughout time
            height = int(rng.integers(1, max(rows // 2, 1) + 1))
            width = int(rng.integers(1, max(columns // 2, 1) + 1))
            top, left = rng.integers(0, rows - height + 1), rng.integers(0, columns - width + 1)
            places[top : top + height, left : left + width] = True
        if places.all():
            places[rng.integers(rows), rng.integers(columns)] = False
        hidden[:] = places
    flat = hidden.reshape(-1)
    return torch.from_numpy(np.flatnonzero(~flat)), torch.from_numpy(np.flatnonzero(flat))


def prediction_loss(
    network: CompactVideoNetwork,
    predictor: Predictor,
    target: CompactVideoNetwork,
    patches: Tensor,
    mask: tuple[Tensor, Tensor],
) -> Tensor:
    """Mean distance of predicted to layer-normalised target features of the hidden tokens.

    ``patches`` are those of :meth:`CompactVideoNetwork.patches`, ``mask`` is of :func:`draw_mask`.
    """
    seen, hidden = (part.to(patches.device) for part in mask)
    with torch.no_grad():
        features = target(patches)[:, hidden]
        wanted = functional.layer_norm(features, features.shape[-1:])
    found = predictor(network(patches, seen), network.place, seen, hidden)
    return functional.l1_loss(found, wanted)


def fit_video_encoder(
    episodes: Iterable[Episode],
    config: FitVideoConfig | None = None,
    on_progress: Callable[[int, float], None] | None = None,
) -> tuple[CompactVideoEncoder, dict[str, object]]:
    """Train a compact video encoder.

    Args:
        episodes: successes and failures alike; outcomes are read for ``config.order`` alone.
        config: options.
        on_progress: called with (steps done, loss) after each.

    Returns:
        The encoder, and the training summary: ``iterations``, ``loss_first``, ``loss_last``,
        ``spread`` (deviation of embeddings between episodes over their size, before they are
        standardised; 0 would be collapse), ``dimensions`` (in how many directions embeddings of
        the episodes differ, :func:`effective_dimensions`; near 1 is collapse too), ``seconds``,
        ``parameters``, ``episodes``, ``seed``.

    Raises:
        StoreError: too few episodes with frames.
        RoboError: missing views, images of another size, or a loss that is not finite.
    """
    config = config or FitVideoConfig()
    won: list[bool] = []
    clips = load_clips(_noting(episodes, won), config.network.views)
    successes = [clip for clip, good in zip(clips, won, strict=True) if good]
    if config.order:
        orderable(successes, config.network.views)  # too few are told before the training
    rng = np.random.default_rng(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = CompactVideoNetwork(config.network).to(config.device)
        predictor = Predictor(network).to(config.device)
    target = copy.deepcopy(network).requires_grad_(False)
    parameters = [*network.parameters(), *predictor.parameters()]
    optimiser = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.95)
    )
    began, losses = time.perf_counter(), []
    for iteration in range(config.iterations):
        fraction = iteration / config.iterations
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _rate(fraction)
        patches = network.patches(draw_clips(clips, config, rng).to(config.device))
        mask = draw_mask(network, config, rng)
        loss = prediction_loss(network, predictor, target, patches, mask)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        _follow(target, network, config, fraction)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise RoboError(
                f"training the video encoder diverged at step {iteration + 1}; lower "
                f"learning_rate, now {config.learning_rate}"
            )
        if on_progress is not None:
            on_progress(iteration + 1, losses[-1])
    encoder = CompactVideoEncoder(target, config.device)
    encoder.standardise(clips)
    encoder.fit_order(successes, config.order)
    encoder.summary = _came_to(encoder, clips, losses, config.seed, time.perf_counter() - began)
    return encoder, dict(encoder.summary)


def _noting(episodes: Iterable[Episode], won: list[bool]) -> Iterable[Episode]:
    """The episodes with frames; whether each is a success goes to ``won``."""
    for episode in episodes:
        if episode.frames:
            won.append(episode.success)
            yield episode


def _came_to(
    encoder: CompactVideoEncoder,
    clips: list[Clip],
    losses: list[float],
    seed: int,
    seconds: float,
) -> dict[str, object]:
    """What a training's losses and its encoder say; see :func:`fit_video_encoder`."""
    network, tail = encoder.network, max(1, len(losses) // 10)
    return {
        "iterations": len(losses),
        "loss_first": float(np.mean(losses[:tail])),
        "loss_last": float(np.mean(losses[-tail:])),
        "spread": float(network.deviation.mean() / network.average.abs().mean()),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "dimensions": effective_dimensions(encoder.embed(clips)),
        "seconds": seconds,
        "episodes": len(clips),
        "seed": seed,
    }


def effective_dimensions(embedding: Tensor) -> float:
    """Participation ratio (sum l)^2 / sum l^2 of the variances l of ``embedding [E, D]``.

    1 where embeddings differ in one direction alone, at most E - 1; 0 where they do not differ.
    """
    centred = embedding.double() - embedding.double().mean(0)
    # Of rows by rows, which has the same eigenvalues as that of columns by columns.
    gram = centred @ centred.T
    total, squares = float(gram.trace()), float(gram.square().sum())
    return total**2 / squares if squares > 0 else 0.0


def _rate(fraction: float) -> float:
    """Linear warm-up over the first 10 %, then a half cosine to 0."""
    return min(1.0, fraction / 0.1 + 0.02) * 0.5 * (1.0 + math.cos(math.pi * fraction))


@torch.no_grad()
def _follow(
    target: CompactVideoNetwork,
    network: CompactVideoNetwork,
    config: FitVideoConfig,
    fraction: float,
) -> None:
    first, last = config.momentum
    momentum = first + (last - first) * fraction
    for slow, fast in zip(target.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - momentum)
