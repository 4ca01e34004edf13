"""What a reward learns while a policy trains, handed to another reward of the same settings.

``state_dict`` also holds the open episodes of the run's own environments, and fits no other
number of them. Who looks at single episodes beside the run (a video of the policy) needs only
what was learned: the weights of a refreshed model, the references, the centre.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol, runtime_checkable

from robo.errors import RoboError
from robo.rewards.base import Reward

PARTS = ("potential", "gold", "inner", "reward")
"""Attributes in which a reward keeps those it is made of: one, or several by name."""


@runtime_checkable
class Learns(Protocol):
    """A reward, or a part of one, that the run changes."""

    def learned(self) -> dict[str, Any]:
        """Copies of what it has learned so far, without anything of open episodes."""
        ...

    def take_learned(self, learned: dict[str, Any]) -> None:
        """Go on from what :meth:`learned` of another one returned."""
        ...


def parts_of(reward: Any) -> list[Any]:
    """A reward and all that it is made of, each once, the outermost first."""
    found: list[Any] = [reward]
    for part in found:
        for name in PARTS:
            inner = getattr(part, name, None)
            members = list(inner.values()) if isinstance(inner, dict) else [inner]
            found += [m for m in members if m is not None and not any(m is f for f in found)]
    return found


def counts_of(reward: Any) -> dict[str, int]:
    """What a reward counts of itself since the run began: rows scored, invalid answers.

    One that counts tells of its parts, too; of one that does not, the parts are added up.
    """
    return dict(_counts(reward, set()))


def _counts(reward: Any, seen: set[int]) -> Counter[str]:
    total: Counter[str] = Counter()
    if id(reward) in seen:
        return total
    seen.add(id(reward))
    own = getattr(reward, "counts", None)
    if own is not None:
        total.update(own)
        seen.update(id(part) for part in parts_of(reward))
        return total
    for name in PARTS:
        inner = getattr(reward, name, None)
        for part in list(inner.values()) if isinstance(inner, dict) else [inner]:
            if part is not None:
                total.update(_counts(part, seen))
    return total


def hand_over(trained: Reward, other: Reward) -> None:
    """Give ``other`` what ``trained`` has learned; its open episodes stay its own.

    Raises:
        RoboError: the two are made of different parts.
    """
    theirs, mine = parts_of(trained), parts_of(other)
    if [type(part) for part in theirs] != [type(part) for part in mine]:
        names = [" of ".join(type(part).__name__ for part in parts) for parts in (theirs, mine)]
        raise RoboError(
            f"what a reward has learned goes to one of the same settings only: this is {names[0]}, "
            f"the other {names[1]}"
        )
    for part, twin in zip(theirs, mine, strict=True):
        if isinstance(part, Learns):
            twin.take_learned(part.learned())


def restore_learned(reward: Reward, state: dict[str, Any]) -> None:
    """Give ``reward`` what one of its settings had learned; its open episodes stay its own.

    Args:
        reward: of the run that goes on.
        state: ``state_dict`` of the saved one, of any number of environments.
    """
    own = reward.state_dict()
    reward.load_state_dict(state)
    parts = [part for part in parts_of(reward) if isinstance(part, Learns)]
    learned = [part.learned() for part in parts]
    reward.load_state_dict(own)
    for part, known in zip(parts, learned, strict=True):
        part.take_learned(known)
