"""Bounded and centred: an episode's reward through a sigmoid around that of a reference.

Source: Fu et al., "Reward Shaping to Mitigate Reward Hacking in RLHF", arXiv 2502.18770 (PAR):
a reward for learning is best bounded, grows fast at first and levels off, and is a function of
the reward less a reference. Helps against rare, huge errors of a reward model. Not
policy-invariant: beyond the bound, better is paid no more.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robo.rewards.base import Reward
from robo.rewards.robust.wrapper import RewardWrapper, WrapperError
from robo.rollout import RewardTerms, Rollout


def squash(reward: Tensor, reference: Tensor | float, scale: float) -> Tensor:
    """``2 sigmoid((reward - reference) / scale) - 1``: in (-1, 1), 0 at the reference."""
    return torch.tanh((reward - reference) / (2 * scale))


class SquashedReward(RewardWrapper):
    """With an episode's last step, its sum of rewards, centred and squashed to (-1, 1).

    The reference is of the episodes of all ranks, in the order of one process: by step, then by
    environment.
    """

    memory = {"accumulated": 0.0}  # noqa: RUF012

    def __init__(
        self,
        reward: Reward,
        scale: float = 1.0,
        reference: float | None = None,
        reference_episodes: int = 50,
        gather: Callable[[Any], list[Any]] | None = None,
    ) -> None:
        """Squash ``reward``.

        Args:
            reward: what accumulates.
            scale: distance from the reference at which 46 % of the bound is reached, above 0.
            reference: sum of rewards that counts 0; None takes the mean of the first episodes,
                those of the untrained policy.
            reference_episodes: how many those are, over all ranks.
            gather: the values of all ranks, in their order, on every rank; None in a run of one
                process.

        Raises:
            WrapperError: the scale is not positive, or fewer than one episode.
        """
        if not scale > 0 or reference_episodes < 1:
            raise WrapperError(
                f"scale is {scale} and reference_episodes {reference_episodes}, expected a "
                "positive number and at least 1"
            )
        super().__init__(reward=reward)
        self.scale, self.reference, self.reference_episodes = scale, reference, reference_episodes
        self.gather = gather or (lambda value: [value])
        self._seen, self._sum = 0, 0.0
        self._centres: list[float] = []
        self._agreed = False

    def centre(self) -> float:
        """The sum of rewards that counts 0 now."""
        if self.reference is not None:
            return self.reference
        return self._sum / self._seen if self._seen else 0.0

    def prepare(self, rollout: Rollout, inner: dict[str, RewardTerms]) -> None:
        """Take the ended episodes of all ranks into the reference, and note it for every step."""
        steps = rollout.shape[0]
        # All ranks must ask, or none: since checkpoints of earlier versions hold a reference per
        # rank, all do the first time, and go on from that of rank 0.
        complete = self._agreed and self._seen >= self.reference_episodes
        if self.reference is not None or complete:
            self._centres = [self.centre()] * steps
            return
        parts = self.gather((self._seen, self._sum, self._ended(rollout, inner["reward"].total)))
        self._seen, self._sum, self._agreed = *parts[0][:2], True
        self._centres = []
        for step in range(steps):
            for value in (value for part in parts for value in part[2][step]):
                if self._seen < self.reference_episodes:
                    self._seen, self._sum = self._seen + 1, self._sum + value
            self._centres.append(self.centre())

    def _ended(self, rollout: Rollout, total: Tensor) -> list[list[float]]:
        """By step, the sums of rewards of the episodes that end with it."""
        memory = copy.deepcopy(self._memory)
        ended = rollout.done if rollout.valid is None else rollout.done & rollout.valid
        sums = []
        for step in range(rollout.shape[0]):
            kept = memory.at(rollout.episode[step])
            added = total[step].double()
            if rollout.valid is not None:
                added = added.where(rollout.valid[step], torch.zeros_like(added))
            kept["accumulated"] = kept["accumulated"] + added
            sums.append(kept["accumulated"][ended[step]].tolist())
        return sums

    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Term ``squashed``."""
        memory["accumulated"] = memory["accumulated"] + inner["reward"].total[step].double()
        ended = rollout.done[step]
        if rollout.valid is not None:
            ended = ended & rollout.valid[step]
        return {"squashed": squash(memory["accumulated"], self._centres[step], self.scale) * ended}

    def learned(self) -> dict[str, Any]:
        """The reference so far."""
        return {"seen": self._seen, "sum": self._sum}

    def take_learned(self, learned: dict[str, Any]) -> None:
        """Centre at the reference of :meth:`learned`."""
        self._seen, self._sum = int(learned["seen"]), float(learned["sum"])
        self._agreed = False

    def state_dict(self) -> dict[str, Any]:
        """With the reference so far."""
        return {**super().state_dict(), **self.learned()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.take_learned(state)
