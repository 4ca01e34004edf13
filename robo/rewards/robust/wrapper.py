"""What the wrappers share: named numbers that last as long as an episode, whatever the cuts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.base import Reward
from robo.rollout import CameraSchedule, RewardTerms, Rollout


class WrapperError(RoboError, ValueError):
    """Settings of a wrapper that are out of range, or rewards that do not fit together."""


class EpisodeMemory:
    """Named numbers per environment that begin anew with every episode."""

    def __init__(self, **initial: float) -> None:
        """Names and what each begins with."""
        self.initial = initial
        self._episode: Tensor | None = None
        self._values: dict[str, Tensor] = {}

    def at(self, episode: Tensor) -> dict[str, Tensor]:
        """The numbers ``[N]`` before a step of the episodes ``[N]``; write into them.

        Raises:
            WrapperError: another number of environments than before.
        """
        if self._episode is None:
            self._episode = torch.full_like(episode, -1)
            self._values = {
                name: torch.full(episode.shape, value, dtype=torch.float64, device=episode.device)
                for name, value in self.initial.items()
            }
        if self._episode.shape != episode.shape:
            raise WrapperError(
                f"the open episodes are of {len(self._episode)} environments, but the rollout has "
                f"{len(episode)}: resume with the number that was saved"
            )
        fresh = self._episode.to(episode.device) != episode
        for name, value in self.initial.items():
            part = self._values[name].to(episode.device)
            self._values[name] = torch.where(fresh, torch.full_like(part, value), part)
        self._episode = episode.clone()
        return self._values

    def state_dict(self) -> dict[str, Any]:
        """Ids and numbers of the open episodes; empty before the first step."""
        if self._episode is None:
            return {}
        values = {name: part.clone() for name, part in self._values.items()}
        return {"episode": self._episode.clone(), "values": values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._episode = state["episode"].clone() if state else None
        self._values = {name: part.clone() for name, part in state.get("values", {}).items()}


class RewardWrapper:
    """A reward made of others. Subclasses say what a step pays, given an episode's memory.

    The critic reads the inner rewards' features and then the memory, since what the next steps
    pay depends on it.
    """

    memory: dict[str, float] = {}  # noqa: RUF012
    """Names of the numbers kept per episode, and what they begin with."""

    def __init__(self, **inner: Reward) -> None:
        """Take over the inner rewards by name.

        Raises:
            WrapperError: they want different frames, discounts or time-out rules.
        """
        self.inner = inner
        parts = list(inner.values())
        self.camera: CameraSchedule | None = _agreed("frames", [part.camera for part in parts])
        self.gamma: float | None = _agreed("discounts", [part.gamma for part in parts])
        self.timeout: str | None = _agreed("time-out rules", [part.timeout for part in parts])
        self.signals = tuple(dict.fromkeys(name for part in parts for name in part.signals))
        self.critic_feature_dim = sum(part.critic_feature_dim for part in parts) + len(self.memory)
        self._memory = EpisodeMemory(**self.memory)

    def prepare(self, rollout: Rollout, inner: dict[str, RewardTerms]) -> None:
        """Look at the whole rollout before its first step is paid; nothing by default."""
        return

    @abstractmethod
    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """What step ``step`` pays, float64 ``[N]`` by term; updates ``memory`` in place.

        Terms whose name begins with ``inner.`` are for the log only.
        """

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``, with the inner rewards' own terms."""
        inner = {name: reward(rollout) for name, reward in self.inner.items()}
        self.prepare(rollout, inner)
        rows: list[dict[str, Tensor]] = []
        before, after = [], []
        for step in range(rollout.shape[0]):
            memory = self._memory.at(rollout.episode[step])
            before.append(_stacked(memory, rollout))
            valid = None if rollout.valid is None else rollout.valid[step]
            kept = dict(memory)
            paid = self.pay(rollout, inner, step, memory)
            if valid is not None:
                paid = {
                    name: part.where(valid, torch.zeros_like(part)) for name, part in paid.items()
                }
                memory.update({name: memory[name].where(valid, kept[name]) for name in kept})
            rows.append(paid)
            after.append(_stacked(memory, rollout))
        terms = {name: torch.stack([row[name] for row in rows]).float() for name in rows[0]}
        total = torch.stack([p for n, p in terms.items() if not n.startswith("inner.")]).sum(0)
        for part, given in inner.items():
            terms |= {f"inner.{part}.{name}": value for name, value in given.terms.items()}
        features, final = self._features(rollout, inner, torch.stack(before), torch.stack(after))
        return RewardTerms(total, terms, features, final)

    def _features(
        self, rollout: Rollout, inner: dict[str, RewardTerms], before: Tensor, after: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Critic features of all states and of the final ones."""
        if not self.critic_feature_dim:
            return None, None
        fresh = torch.tensor(list(self.memory.values()), dtype=before.dtype, device=before.device)
        last = torch.where(rollout.done[-1][:, None], fresh, after[-1])
        own = torch.cat((before, last[None])).float()
        ended = rollout.final_observation
        own_final = after[ended.step, ended.env].float()
        given = [part for part in inner.values() if part.critic_features is not None]
        features = [part.critic_features for part in given]
        finals = [part.final_critic_features for part in given]
        return torch.cat([*features, own], -1), torch.cat([*finals, own_final], -1)  # type: ignore

    def state_dict(self) -> dict[str, Any]:
        """Memory of the open episodes, and the state of the inner rewards."""
        return {
            "memory": self._memory.state_dict(),
            "inner": {name: reward.state_dict() for name, reward in self.inner.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._memory.load_state_dict(state["memory"])
        for name, reward in self.inner.items():
            reward.load_state_dict(state["inner"][name])


def _stacked(memory: dict[str, Tensor], rollout: Rollout) -> Tensor:
    """``[N, C]`` of the numbers."""
    if not memory:
        return torch.zeros((rollout.shape[1], 0), dtype=torch.float64)
    return torch.stack(list(memory.values()), dim=-1).clone()


def _agreed(what: str, values: Sequence[Any]) -> Any:
    """The one value that is not None, or None.

    Raises:
        WrapperError: there are two.
    """
    given = [value for value in values if value is not None]
    if any(value != given[0] for value in given):
        raise WrapperError(f"the wrapped rewards want different {what}: {given[0]} and {given[-1]}")
    return given[0] if given else None
