"""Offline learning from stored episodes: regression weighted by progress increments.

The real-robot part of SRPO (arXiv 2511.15605, section 2.10 of whose appendix calls it one-step
advantage-weighted regression): with R_t the progress at state t, D_t = R_t - R_{t-1} and
A = (D - mean)/std over all steps of all episodes, actions are imitated with weights exp(A / beta)
(Peng et al., "Advantage-Weighted Regression", 2019). The paper leaves beta open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from robo.errors import RoboError, StoreError
from robo.perception.clips import clip_length
from robo.perception.video import VideoEncoder
from robo.policies.actor_critic import ActorCritic
from robo.policies.behaviour_cloning import state_action_pair
from robo.policies.distributions import Categorical, DiagonalGaussian
from robo.rewards.progress_curve import progress_of_states
from robo.rewards.success_clusters import cluster
from robo.rollout import Episode


@dataclass(frozen=True)
class AWRConfig:
    """How progress weighs actions."""

    beta: float = 1.0
    """Temperature of the weights; large: plain imitation of all episodes."""
    largest_weight: float = 20.0
    """Weights count up to this."""
    epochs: int = 100
    """Passes over all steps."""
    batch_size: int = 256
    """Steps per gradient."""
    learning_rate: float = 1e-3
    """Of Adam."""
    windows: int = 12
    """Growing videos per episode from which its progress is read."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not (self.beta > 0 and self.largest_weight > 0 and self.learning_rate > 0):
            raise RoboError("beta, largest_weight and learning_rate must each be above 0")
        if min(self.epochs, self.batch_size, self.windows) < 1:
            raise RoboError("epochs, batch_size and windows must each be at least 1")


def increments(progress: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A of every step: (D - mean)/std over all episodes, with D_t = R_t - R_{t-1}.

    Args:
        progress: per episode float ``[L+1]``, of its states.

    Returns:
        Per episode float64 ``[L]``; zeros where all increments are equal.
    """
    steps = [np.diff(np.asarray(values, np.float64)) for values in progress]
    joined = np.concatenate(steps) if steps else np.zeros(0)
    spread = float(joined.std()) if len(joined) else 0.0
    if spread < 1e-12:
        return [np.zeros_like(part) for part in steps]
    return [(part - joined.mean()) / spread for part in steps]


def episode_progress(
    episodes: Sequence[Episode], encoder: VideoEncoder, windows: int = 12
) -> list[np.ndarray]:
    """Progress of every state, by the distance to the successes among ``episodes``.

    A success is compared with the others, never with itself. Progress is 1 less the distance, in
    units of the successes' mean distance from their mean: one unit for all episodes, so that their
    increments can be compared.

    Returns:
        Per episode float ``[L+1]``.

    Raises:
        StoreError: fewer than two successes, or an episode without frames.
    """
    for index, episode in enumerate(episodes):
        if not clip_length(episode.frames, encoder.views):
            raise StoreError(
                f"episode {index} of {episode.info.task} has no camera frames, by which "
                f"progress is judged; leave it out, or record the views {list(encoder.views)}"
            )
    won = [index for index, episode in enumerate(episodes) if episode.success]
    if len(won) < 2:
        raise StoreError(
            f"progress needs at least 2 successes to compare with, got {len(won)}; record more "
            "demonstrations"
        )
    whole = encoder.embed([episode.frames for episode in episodes]).double().numpy()
    everyone = cluster(whole[won]).centres
    scale = float(np.linalg.norm(whole[won] - whole[won].mean(0), axis=1).mean()) or 1.0
    found = []
    for index, episode in enumerate(episodes):
        centres = everyone
        if episode.success:
            centres = cluster(whole[[i for i in won if i != index]]).centres
        found.append(
            progress_of_states(
                encoder,
                episode.frames,
                episode.frame_step,
                len(episode) + 1,
                centres,
                scale,
                windows,
            )
        )
    return found


def advantage_weighted_regression(
    episodes: Sequence[Episode],
    policy: ActorCritic,
    encoder: VideoEncoder,
    config: AWRConfig | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Improve ``policy`` in place on stored episodes, failures included.

    Args:
        episodes: of one task, with frames of the encoder's views; successes among them.
        policy: Gaussian or categorical, over states.
        encoder: judges progress.
        config: options.
        seed: of the shuffling.

    Returns:
        ``episodes``, ``steps``, ``loss_first``, ``loss_last``, ``largest_weight``, and
        ``effective_share`` (of the steps, (sum w)^2 / (n sum w^2)).

    Raises:
        StoreError: fewer than two successes.
        RoboError: episodes of another task, or a policy of another kind.
    """
    config = config or AWRConfig()
    if not isinstance(policy.distribution, (DiagonalGaussian, Categorical)):
        raise RoboError(
            "advantage-weighted regression fits Gaussian or categorical policies over states, not "
            f"{type(policy.distribution).__name__}: choose --network.kind mlp"
        )
    advantage = np.concatenate(increments(episode_progress(episodes, encoder, config.windows)))
    weight = np.minimum(np.exp(np.minimum(advantage / config.beta, 60.0)), config.largest_weight)
    pairs = [state_action_pair(episode, policy) for episode in episodes]
    state, action = (torch.cat([pair[part] for pair in pairs]) for part in (0, 1))
    if not policy.normaliser.active:
        policy.normaliser.update(state)
    weights = torch.from_numpy((weight / weight.mean()).astype(np.float32))
    losses = _regress(policy, state, action, weights, config, seed)
    return {
        "episodes": float(len(episodes)),
        "steps": float(len(weight)),
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "largest_weight": float(weights.max()),
        "effective_share": float(weight.sum() ** 2 / (len(weight) * (weight**2).sum())),
    }


def _regress(
    policy: ActorCritic,
    state: torch.Tensor,
    action: torch.Tensor,
    weights: torch.Tensor,
    config: AWRConfig,
    seed: int,
) -> list[float]:
    """Weighted maximum likelihood, the deviation held; the loss of each epoch."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(policy.actor.parameters(), lr=config.learning_rate)
    losses = []
    for _ in range(config.epochs):
        total = 0.0
        for rows in torch.randperm(len(state), generator=generator).split(config.batch_size):
            output = policy.actor(policy.normaliser(state[rows]))
            if policy.log_std is None:
                each = torch.nn.functional.cross_entropy(output, action[rows], reduction="none")
            else:
                each = 0.5 * (output - action[rows]).square().sum(-1)
            loss = (weights[rows] * each).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(state))
    return losses
