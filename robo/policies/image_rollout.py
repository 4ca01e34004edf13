"""A rollout with images as an update reads it: one copy of the images, and rows by index.

On a CPU the images stay in the arrays that the collector filled. On a GPU they are copied there
once where they fit (then every epoch reads them from there), and otherwise stay in the
collector's pinned memory, from which each chunk is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from robo.policies.exploration_loss import Exploration
from robo.policies.image_actor_critic import ImageActorCritic
from robo.policies.learners import Before
from robo.policies.targets import Targets, check_rewards, estimate_targets
from robo.rollout import RewardTerms, Rollout

RESIDENT_SHARE = 0.5
"""Share of a GPU's free memory that a rollout's images may take."""


@dataclass(frozen=True)
class Chunk:
    """Rows that go through the network together, on the policy's device."""

    observation: dict[str, Tensor]
    """Key to ``[b, ...]``; images are uint8."""
    features: Tensor | None
    """Critic features ``[b, C]``."""
    action: Tensor
    """``[b, A]``, or ``[b]`` for discrete ones."""
    before: Before
    """Numbers from before the update."""
    old_output: Tensor
    """The actor's output before the update ``[b, size]``."""
    exploration: Exploration | None = None
    """Of these rows; None without an exploration loss."""


@dataclass(frozen=True)
class Minibatch:
    """Rows of one gradient."""

    rollout: ImageRollout
    """Where they are."""
    slots: np.ndarray
    """int64 ``[B]``: their place in the rollout, ``step * N + environment``."""
    advantage: np.ndarray
    """float ``[B]``, normalised or not."""

    def __len__(self) -> int:
        """Number of rows B."""
        return len(self.slots)

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The rows in parts of at most ``size``, as equal as possible."""
        parts = -(-len(self) // size)
        bounds = [len(self) * part // max(parts, 1) for part in range(parts + 1)]
        for start, end in pairwise(bounds):
            yield self.rollout.chunk(self.slots[start:end], self.advantage[start:end])


@dataclass
class ImageRollout:
    """What an update reads of a rollout."""

    observation: dict[str, Tensor]
    """Key to ``[T*N, ...]``; images are uint8, views of the rollout's own on a CPU."""
    action: Tensor
    """``[T*N, A]`` or ``[T*N]``."""
    numbers: Tensor
    """float ``[T*N, 3]``: log probability, return, value."""
    advantages: np.ndarray
    """float ``[T*N]``, not normalised."""
    old_output: Tensor
    """The actor's output before the update ``[T*N, size]``."""
    features: Tensor | None
    """Critic features ``[T*N, C]``."""
    valid_slots: np.ndarray | None
    """int64: slots that are rows; None for all."""
    device: torch.device
    """Where the network is."""
    exploration: Exploration | None = None
    """Priors of all slots; None without an exploration loss."""
    order: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """Slots of the epoch, in its order."""
    advantage: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    """Advantages of the epoch, in its order."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.action) if self.valid_slots is None else len(self.valid_slots)

    @property
    def target(self) -> np.ndarray:
        """Returns that the value is fitted to, of every row."""
        return self._rows(self.numbers[:, 1])

    @property
    def value(self) -> np.ndarray:
        """V before the update, of every row."""
        return self._rows(self.numbers[:, 2])

    def _rows(self, column: Tensor) -> np.ndarray:
        array = column.cpu().numpy()
        return array if self.valid_slots is None else array[self.valid_slots]

    def shuffle(self, order: np.ndarray) -> np.ndarray:
        """Take ``order`` for the epoch; its advantages, to be normalised in place."""
        self.order = order if self.valid_slots is None else self.valid_slots[order]
        self.advantage = self.advantages[self.order]
        return self.advantage

    def minibatch(self, start: int, end: int) -> Minibatch:
        """Rows ``start`` ... ``end - 1`` of the epoch."""
        return Minibatch(self, self.order[start:end], self.advantage[start:end])

    def chunk(self, slots: np.ndarray, advantage: np.ndarray) -> Chunk:
        """The rows at ``slots``, gathered where they are kept and then on the device."""
        index = torch.from_numpy(slots)
        numbers = gather(self.numbers, index, self.device)
        log_prob, target, value = numbers.unbind(1)
        advantages = torch.from_numpy(advantage).to(self.device)
        features = None
        if self.features is not None:
            features = gather(self.features, index, self.device)
        return Chunk(
            {key: gather(entry, index, self.device) for key, entry in self.observation.items()},
            features,
            gather(self.action, index, self.device),
            Before(log_prob, advantages, target, value),
            gather(self.old_output, index, self.device),
            None if self.exploration is None else self.exploration.rows(index, self.device),
        )


def gather(source: Tensor, index: Tensor, device: torch.device) -> Tensor:
    """Rows of ``source`` at ``index``, on ``device``."""
    rows = source.index_select(0, index.to(source.device, non_blocking=True))
    return rows.to(device, non_blocking=True)


def place(entry: Tensor, device: torch.device) -> Tensor:
    """``entry`` where an update should keep it: on a GPU that has room for it, else as it is."""
    if device.type != "cuda" or entry.device == device:
        return entry
    free, _ = torch.cuda.mem_get_info(device)
    if entry.numel() * entry.element_size() > RESIDENT_SHARE * free:
        return entry
    return entry.to(device, non_blocking=True)


def prepare(
    policy: ImageActorCritic,
    rollout: Rollout,
    terms: RewardTerms,
    *,
    chunk_size: int,
    gamma: float,
    gae_lambda: float,
    bootstrap_timeout: bool,
    recompute_log_prob: bool = False,
    targets: Targets | None = None,
    exploration: Exploration | None = None,
) -> ImageRollout:
    """Evaluate actor and critic once, estimate advantages, and put everything in its place.

    Sets ``rollout.value``. Arguments and errors are those of :func:`robo.policies.packing.pack`;
    ``chunk_size`` images go through the network together; ``exploration`` adds its loss.
    """
    reward_shape = check_rewards(rollout, terms).shape
    device = policy.device
    flat = {key: place(rollout.observation[key].flatten(0, 1), device) for key in policy.keys}
    features = None if terms.critic_features is None else terms.critic_features[:-1].flatten(0, 1)
    output, value = evaluate_all(policy, flat, features, chunk_size)
    if targets is None:
        last_features = None if terms.critic_features is None else terms.critic_features[-1]
        _, last_value = evaluate_all(policy, rollout.last_observation, last_features, chunk_size)
        final = rollout.final_observation.observation
        _, final_value = evaluate_all(policy, final, terms.final_critic_features, chunk_size)
        targets = estimate_targets(
            rollout,
            terms,
            torch.cat([value.cpu().reshape(reward_shape), last_value.cpu()[None]]),
            final_value.cpu(),
            gamma=gamma,
            gae_lambda=gae_lambda,
            bootstrap_timeout=bootstrap_timeout,
        )
    action = rollout.action.flatten(0, 1).to(device)
    log_prob = rollout.log_prob.flatten().to(device)
    if recompute_log_prob:
        with torch.no_grad():
            log_prob = policy.distribution.log_prob(output, policy.log_std, action)
    valid = rollout.valid
    return ImageRollout(
        observation=flat,
        action=action,
        numbers=_numbers(log_prob.to(value), targets),
        advantages=targets.advantage.reshape(-1),
        old_output=output,
        features=None if features is None else features.to(device),
        valid_slots=None if valid is None else np.flatnonzero(valid.cpu().numpy().reshape(-1)),
        device=device,
        exploration=exploration,
    )


def _numbers(log_prob: Tensor, targets: Targets) -> Tensor:
    columns = (targets.target, targets.value)
    return torch.stack(
        [log_prob, *(torch.from_numpy(part.reshape(-1)).to(log_prob) for part in columns)], 1
    ).clone()


def evaluate_all(
    policy: ImageActorCritic,
    observation: dict[str, Tensor],
    features: Tensor | None,
    chunk_size: int,
) -> tuple[Tensor, Tensor]:
    """The actor's output ``[B, size]`` and V ``[B]`` of rows ``[B, ...]``, without gradients."""
    policy.check_features(features)
    count = len(observation["state"])
    dtype = next(policy.parameters()).dtype
    output = torch.empty((count, policy.distribution.size), dtype=dtype, device=policy.device)
    value = torch.empty(count, dtype=dtype, device=policy.device)
    with torch.no_grad():
        for start in range(0, count, chunk_size):
            rows = slice(start, start + chunk_size)
            part = {key: observation[key][rows].to(policy.device) for key in policy.keys}
            known = None if features is None else features[rows].to(policy.device)
            output[rows], value[rows] = policy.outputs(part, known)
    return output, value
