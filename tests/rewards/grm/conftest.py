"""Synthetic episodes for the GRM tests: a red square goes to a blue one, seen by three views."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.rollout import Episode, EpisodeInfo

VIEWS = ("front", "side", "wrist")
TARGET = np.array([0.75, 0.5])


def draw(position: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """uint8 [size, size, 3] per view of the mover at ``position`` (in [0, 1] squared)."""

    def square(image, centre, colour, half):
        low = np.clip(np.round(np.asarray(centre) * (size - 1)).astype(int) - half, 0, size)
        high = np.clip(low + 2 * half + 1, 0, size)
        image[low[1] : high[1], low[0] : high[0]] = colour

    images = {view: np.full((size, size, 3), 90, np.uint8) for view in VIEWS}
    half = max(1, size // 16)
    square(images["front"], TARGET, (40, 60, 220), half)
    square(images["front"], position, (220, 40, 40), half)
    square(images["side"], 1 - TARGET[::-1], (40, 60, 220), half)
    square(images["side"], 1 - position[::-1], (220, 40, 40), half)
    square(images["wrist"], 0.5 + (TARGET - position) / 2, (40, 60, 220), half)
    return images


def episode(
    seed: int, success: bool = True, size: int = 32, steps: int = 24, stride: int = 1
) -> tuple[Episode, np.ndarray]:
    """An episode, and true progress [L+1]: how much nearer than 0.7 the mover is.

    Successes go straight to the target; failures go to a place beside it and stay there.
    """
    rng = np.random.default_rng(seed)
    start = np.array([rng.uniform(0.05, 0.3), rng.uniform(0.1, 0.9)])
    side = np.array([0.0, rng.choice([-0.3, 0.3])])
    goal = TARGET if success else TARGET + side + rng.normal(0, 0.03, 2)
    fraction = np.linspace(0, 1, steps + 1)[:, None]
    if not success:
        fraction = np.minimum(fraction * 1.5, 1)
    path = start + (goal - start) * fraction
    path[1:-1] += rng.normal(0, 0.02, path[1:-1].shape)
    if success:
        path[-1] = TARGET
    truth = np.clip(1 - np.linalg.norm(path - TARGET, axis=1) / 0.7, 0, 1)
    at = np.unique(np.append(np.arange(0, steps + 1, stride), steps))
    shots = [draw(path[index], size) for index in at]
    result = Episode(
        info=EpisodeInfo("synthetic/Reach", "go to the blue square", seed=seed),
        observation={"state": path.astype(np.float32)},
        action=np.zeros((steps, 2), np.float32),
        reward=np.zeros(steps, np.float32),
        success=success,
        terminated=success,
        frames={view: np.stack([shot[view] for shot in shots]) for view in VIEWS},
        frame_step=at,
        metadata={} if success else {"progress_ceiling": 0.5, "closest": int(steps / 1.5)},
    )
    return result, truth


class Synthetic:
    """What the tests call."""

    views = VIEWS
    draw = staticmethod(draw)
    episode = staticmethod(episode)


@pytest.fixture(scope="session")
def synthetic() -> type[Synthetic]:
    return Synthetic


@pytest.fixture(scope="session")
def small_grm() -> CompactGRM:
    """A small untrained model of three views at 32 pixels, with references."""
    torch.manual_seed(0)
    config = CompactGRMConfig(
        VIEWS, height=32, width=32, channels=(4, 8, 8), embedding=16, hidden=16
    )
    grm = CompactGRM(config).eval()
    demos = [episode(seed)[0] for seed in range(4)]
    for kind, row in (("start", 0), ("goal", -1)):
        grm.reference[kind] = {
            view: torch.from_numpy(np.stack([demo.frames[view][row] for demo in demos]))
            for view in VIEWS
        }
    # Sharp keypoints: fresh ones rest in the middle of every picture, and what differs between
    # pictures is then so little that rounding shows once it is spread.
    with torch.no_grad():
        for encoder in grm.encoders:
            encoder.convolutions[-1].weight.mul_(14.0)
    with torch.no_grad():  # spread hops from the goal around -0.4: fresh weights say about 0
        _, goal = grm.reference_embeddings()
        shots = [draw(place, 32) for place in np.random.default_rng(0).uniform(0, 1, (64, 2))]
        frames = {view: np.stack([shot[view] for shot in shots]) for view in VIEWS}
        output = grm.head[3]
        hop = grm.hops(goal[None], grm.encode(frames), goal, goal).atanh() - output.bias
        factor = 0.8 / hop.std()
        output.weight.mul_(factor)
        output.bias.fill_(-0.4 - float(factor * hop.mean()))
    grm.task, grm.instruction = "synthetic/Reach", "go to the blue square"
    return grm
