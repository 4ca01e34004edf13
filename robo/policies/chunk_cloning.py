"""Behaviour cloning of policies that plan chunks: from every state the actions that followed.

Continuous actions by least squares, binned ones by cross-entropy, as in
``robo.policies.behaviour_cloning``; actions beyond the end of a demonstration count nowhere.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robo.data import EpisodeStore
from robo.errors import RoboError, StoreError
from robo.policies.behaviour_cloning import BehaviourCloningConfig
from robo.policies.binned import Binned
from robo.policies.distributions import DiagonalGaussian
from robo.policies.image_actor_critic import ImageActorCritic
from robo.rollout import Episode


@dataclass
class _Rows:
    """What is fitted: observations, joined chunks ``[R, K*A]``, and which actions count."""

    observation: dict[str, Tensor]
    chunk: Tensor
    counts: Tensor

    def __len__(self) -> int:
        return len(self.chunk)

    def at(self, index: Tensor) -> _Rows:
        observation = {key: rows[index] for key, rows in self.observation.items()}
        return _Rows(observation, self.chunk[index], self.counts[index])


def clone_chunks(
    episodes: EpisodeStore | Iterable[Episode],
    policy: ImageActorCritic,
    config: BehaviourCloningConfig | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Fit the policy, and its normaliser where it has seen no data, in place.

    Args:
        episodes: demonstrations with every entry of the observation that the policy reads.
        policy: with continuous or binned actions.
        config: see :class:`~robo.policies.behaviour_cloning.BehaviourCloningConfig`.
        seed: of the split and of the shuffling.

    Returns:
        What :func:`robo.policies.behaviour_cloning.clone` returns; losses are per action
        dimension.

    Raises:
        StoreError: no episodes, or none of them successful.
        RoboError: episodes that lack what the policy reads, or other action shapes.
    """
    config = config or BehaviourCloningConfig()
    if not isinstance(policy.distribution, (Binned, DiagonalGaussian)):
        raise RoboError(
            f"chunks are cloned for continuous or binned actions, not for "
            f"{type(policy.distribution).__name__}: set --network.distribution gaussian"
        )
    rows = [
        _rows(episode, policy)
        for episode in episodes
        if episode.success or not config.successes_only
    ]
    if not rows:
        raise StoreError(
            "none of the episodes is a success, or there are none; record demonstrations first "
            "(robo collect)"
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator).tolist()
    held_out = min(round(config.validation_fraction * len(rows)), len(rows) - 1)
    training = _join([rows[i] for i in order[held_out:]])
    validation = _join([rows[i] for i in order[:held_out]]) if held_out else training
    if not policy.normaliser.active:
        policy.normaliser.update(training.observation["state"])
    found = _fit(policy, training, validation, config, generator)
    if config.standard_deviation == "residual" and policy.log_std is not None:
        _set_residual(policy, validation, config)
    return {"episodes": float(len(rows)), "steps": float(sum(map(len, rows))), **found}


def _rows(episode: Episode, policy: ImageActorCritic) -> _Rows:
    missing = [key for key in policy.keys if key not in episode.observation]
    action = np.asarray(episode.action, np.float32)
    shape = policy.action_space.shape
    if missing or action.shape[1:] != shape:
        raise RoboError(
            f"an episode of {episode.info.task} lacks observations {missing} or has actions of "
            f"shape {action.shape[1:]} where the policy gives {shape}; record it from the "
            "environment that the policy acts in"
        )
    length = len(action)
    later = np.arange(length)[:, None] + np.arange(policy.chunk)
    inside = later < length
    chunk = action[np.minimum(later, length - 1)]
    counts = np.repeat(inside[..., None], action.shape[1], axis=2)
    observation = {
        key: torch.from_numpy(np.asarray(episode.observation[key])[:length].copy())
        for key in policy.keys
    }
    flat = (torch.from_numpy(part.reshape(length, -1)) for part in (chunk, counts))
    return _Rows(observation, *flat)


def _join(rows: list[_Rows]) -> _Rows:
    observation = {
        key: torch.cat([part.observation[key] for part in rows]) for key in rows[0].observation
    }
    return _Rows(
        observation,
        torch.cat([part.chunk for part in rows]),
        torch.cat([part.counts for part in rows]),
    )


def _loss(policy: ImageActorCritic, rows: _Rows) -> Tensor:
    output, _ = policy.outputs({k: v.to(policy.device) for k, v in rows.observation.items()})
    chunk, counts = rows.chunk.to(output), rows.counts.to(policy.device)
    if isinstance(policy.distribution, Binned):
        each = -policy.distribution.log_prob_each(output, chunk)
    else:
        each = 0.5 * (output - chunk).square()
    return (each * counts).sum() / counts.sum()


def _fit(
    policy: ImageActorCritic,
    training: _Rows,
    validation: _Rows,
    config: BehaviourCloningConfig,
    generator: torch.Generator,
) -> dict[str, float]:
    """Adam with early stopping; the best epoch's parameters stay."""
    optimiser = torch.optim.Adam(policy.trained_parameters(), lr=config.learning_rate)
    best, best_epoch, epoch, total = float("inf"), 0, 0, 0.0
    kept = copy.deepcopy(policy.state_dict())
    for epoch in range(1, config.epochs + 1):
        total = 0.0
        for index in torch.randperm(len(training), generator=generator).split(config.batch_size):
            loss = _loss(policy, training.at(index))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(index)
        with torch.no_grad():
            parts = torch.arange(len(validation)).split(config.batch_size)
            losses = [float(_loss(policy, validation.at(part))) * len(part) for part in parts]
        found = sum(losses) / len(validation)
        if found < best:
            best, best_epoch = found, epoch
            kept = copy.deepcopy(policy.state_dict())
        elif epoch - best_epoch >= config.patience:
            break
    policy.load_state_dict(kept)
    return {
        "epochs": float(epoch),
        "best_epoch": float(best_epoch),
        "training_loss": total / len(training),
        "validation_loss": best,
    }


def _set_residual(policy: ImageActorCritic, rows: _Rows, config: BehaviourCloningConfig) -> None:
    """The standard deviation of the fit's errors, dimension by dimension."""
    assert policy.log_std is not None
    with torch.no_grad():
        output, _ = policy.outputs({k: v.to(policy.device) for k, v in rows.observation.items()})
        error = (output.cpu() - rows.chunk).square() * rows.counts
        mean = error.sum(0) / rows.counts.sum(0).clamp(min=1)
        policy.log_std.copy_(mean.sqrt().clamp(min=config.minimum_std).log())
