"""Behaviour cloning: fit the actor to recorded (state, action) pairs by supervised learning.

Continuous actions by least squares on the mean, discrete ones by cross-entropy; both are the
maximum likelihood of the policy's own distribution with its standard deviation held.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import gymnasium
import numpy as np
import torch

# The first optimiser imports torch._dynamo, and that import crashes the process (signal 11) when
# an EGL context already exists: import it before any environment renders.
import torch._dynamo
from torch import Tensor

from robo.data import EpisodeStore
from robo.errors import RoboError, StoreError
from robo.policies.actor_critic import ActorCritic
from robo.policies.beta import Beta
from robo.policies.policy import Policy
from robo.rollout import Episode


@dataclass(frozen=True)
class BehaviourCloningConfig:
    """How a policy is cloned."""

    epochs: int = 200
    """Passes over the training pairs, at most."""
    batch_size: int = 256
    """Pairs per gradient step."""
    learning_rate: float = 1e-3
    """Of Adam."""
    validation_fraction: float = 0.1
    """Share of the episodes that is held out, whole episodes; 0 holds out none."""
    patience: int = 20
    """Epochs without a better validation loss before it stops; the best epoch is kept."""
    successes_only: bool = True
    """Leave out failed episodes."""
    standard_deviation: Literal["keep", "residual"] = "residual"
    """Of continuous actions afterwards: as it was, or that of the fit's errors."""
    minimum_std: float = 0.05
    """Lower bound of the residual standard deviation, in action units."""
    maximum_std: float = math.inf
    """Upper bound of it: errors of a fit to few demonstrations say little about how far from its
    mean a policy may act and still succeed."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if min(self.epochs, self.batch_size, self.patience) < 1:
            raise ValueError("epochs, batch_size and patience must each be at least 1")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction {self.validation_fraction} must lie in 0 ... 1, 1 excluded"
            )
        if self.learning_rate <= 0 or self.minimum_std <= 0:
            raise ValueError("learning_rate and minimum_std must be above 0")
        if not self.maximum_std >= self.minimum_std:
            raise ValueError(
                f"maximum_std {self.maximum_std} must be at least minimum_std {self.minimum_std}"
            )


def clone(
    episodes: EpisodeStore | Iterable[Episode],
    actor_critic: Policy,
    config: BehaviourCloningConfig | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Fit the actor, and the normaliser where it has seen no data, in place.

    Args:
        episodes: demonstrations; their ``state`` and their actions as sent are read.
        actor_critic: the policy; its critic stays as it is.
        config: see :class:`BehaviourCloningConfig`.
        seed: of the split and of the shuffling.

    Returns:
        ``episodes``, ``steps``, ``epochs`` (run), ``best_epoch``, ``training_loss``,
        ``validation_loss`` (mean negative log likelihood up to a constant: half the squared
        error per step, or cross-entropy in nats; the training loss again where nothing is held
        out).

    Raises:
        StoreError: no episodes, or none of them successful.
        RoboError: episodes of another state or action shape, or with values that are not finite.
    """
    config = config or BehaviourCloningConfig()
    if actor_critic.config.kind in ("transformer", "vla"):
        from robo.policies.chunk_cloning import clone_chunks

        return clone_chunks(episodes, actor_critic, config, seed)  # type: ignore[arg-type]
    if not isinstance(actor_critic, ActorCritic) or isinstance(actor_critic.distribution, Beta):
        raise RoboError(
            f"behaviour cloning fits Gaussian or categorical MLPs over states, not network kind "
            f"{actor_critic.config.kind!r} with a {type(actor_critic.distribution).__name__}: "
            "clone with --network.kind mlp and --network.distribution gaussian"
        )
    pairs = _pairs(episodes, actor_critic, config)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(pairs), generator=generator).tolist()
    held_out = min(round(config.validation_fraction * len(pairs)), len(pairs) - 1)
    training = _join([pairs[i] for i in order[held_out:]])
    validation = _join([pairs[i] for i in order[:held_out]]) if held_out else training
    if not actor_critic.normaliser.active:
        actor_critic.normaliser.update(training[0])
    metrics = _fit(actor_critic, training, validation, config, generator)
    if config.standard_deviation == "residual" and actor_critic.log_std is not None:
        with torch.no_grad():
            error = _output(actor_critic, validation[0]) - validation[1]
            std = error.square().mean(0).sqrt().clamp(config.minimum_std, config.maximum_std)
            actor_critic.log_std.copy_(std.log())
    return {
        "episodes": float(len(pairs)),
        "steps": float(sum(len(action) for _, action in pairs)),
        **metrics,
    }


def _fit(
    actor_critic: ActorCritic,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    config: BehaviourCloningConfig,
    generator: torch.Generator,
) -> dict[str, float]:
    """Adam with early stopping; the best epoch's parameters stay."""
    state, action = training
    optimiser = torch.optim.Adam(actor_critic.actor.parameters(), lr=config.learning_rate)
    best, best_epoch, epoch, loss_sum = float("inf"), 0, 0, 0.0
    best_parameters = copy.deepcopy(actor_critic.actor.state_dict())
    for epoch in range(1, config.epochs + 1):
        loss_sum = 0.0
        for rows in torch.randperm(len(state), generator=generator).split(config.batch_size):
            loss = _loss(actor_critic, state[rows], action[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += float(loss.detach()) * len(rows)
        with torch.no_grad():
            validation_loss = float(_loss(actor_critic, *validation))
        if validation_loss < best:
            best, best_epoch = validation_loss, epoch
            best_parameters = copy.deepcopy(actor_critic.actor.state_dict())
        elif epoch - best_epoch >= config.patience:
            break
    actor_critic.actor.load_state_dict(best_parameters)
    return {
        "epochs": float(epoch),
        "best_epoch": float(best_epoch),
        "training_loss": loss_sum / len(state),
        "validation_loss": best,
    }


def _output(actor_critic: ActorCritic, state: Tensor) -> Tensor:
    return actor_critic.actor(actor_critic.normaliser(state))


def _loss(actor_critic: ActorCritic, state: Tensor, action: Tensor) -> Tensor:
    output = _output(actor_critic, state)
    if actor_critic.log_std is None:
        return torch.nn.functional.cross_entropy(output, action)
    return 0.5 * (output - action).square().sum(-1).mean()


def _pairs(
    episodes: EpisodeStore | Iterable[Episode],
    actor_critic: ActorCritic,
    config: BehaviourCloningConfig,
) -> list[tuple[Tensor, Tensor]]:
    """States ``[L, D]`` and actions ``[L, A]`` or ``[L]`` of each episode that counts."""
    if isinstance(episodes, EpisodeStore):
        # Camera frames are most of a store's bytes, and cloning from state reads none of them.
        store = episodes
        episodes = (store.read(i, views=()) for i in range(len(store)))
    pairs, seen = [], 0
    for episode in episodes:
        seen += 1
        if episode.success or not config.successes_only:
            pairs.append(state_action_pair(episode, actor_critic))
    if not seen:
        raise StoreError(
            "behaviour cloning needs at least one episode but the store is empty; record "
            "demonstrations first (robo collect)"
        )
    if not pairs:
        raise StoreError(
            f"none of the {seen} episodes is a success; record successful demonstrations or set "
            "successes_only to False"
        )
    return pairs


def state_action_pair(episode: Episode, actor_critic: ActorCritic) -> tuple[Tensor, Tensor]:
    """States ``[L, D]`` and actions ``[L, A]`` or ``[L]`` of one episode.

    Raises:
        RoboError: of another shape than the policy's, or not finite.
    """
    state = np.asarray(episode.observation["state"], np.float32)[:-1]
    action = np.asarray(episode.action)
    space = actor_critic.action_space
    if state.shape[1:] != (actor_critic.state_dim,) or action.shape[1:] != space.shape:
        raise RoboError(
            f"an episode of {episode.info.task} has states of shape {state.shape[1:]} and actions "
            f"of shape {action.shape[1:]}, but the policy reads ({actor_critic.state_dim},) and "
            f"gives {space.shape}; clone from episodes of the policy's own task"
        )
    if not (np.isfinite(state).all() and np.isfinite(action).all()):
        raise RoboError(
            f"an episode of {episode.info.task} (seed {episode.info.seed}) holds states or actions "
            "that are not finite; leave it out"
        )
    if isinstance(space, gymnasium.spaces.Discrete):
        return torch.from_numpy(state), torch.from_numpy(action.astype(np.int64) - int(space.start))
    return torch.from_numpy(state), torch.from_numpy(action.astype(np.float32))


def _join(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.cat([state for state, _ in pairs]), torch.cat([action for _, action in pairs])
