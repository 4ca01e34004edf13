"""The state of environments, collectors and rewards, cut anew for another number of owners.

What belongs to single environments is saved in slices of the global list, one per rank and group.
A run resumed with the same ranks takes its own slices back; with others, slices are cut and joined
here. In the state of N collected environments every list of length N, and every array whose first
axis has length N, has one entry per environment. A reward's state holds other things as well
(weights, references, tables of episodes), whose lengths may be N by chance: there only what is
declared is cut, see :meth:`robo.rewards.base.Reward.state_dict`. All else must be equal in all
slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

OPEN = "open"
"""Entry of a reward's state with rows of open episodes, told apart by its ``episode``."""
VALUES = "values"
"""Entry beside ``episode [N]`` whose arrays have one row per environment, too."""
ENV_LAST = ("past", "worst")
"""Entries of earlier versions' checkpoints that have the environments on their last axis."""


class NotDivisibleError(ValueError):
    """State that does not belong to single environments: it cannot be cut for other owners."""


def cut_rows(tree: Any, count: int, first: int, stop: int) -> Any:
    """Rows ``first`` ... ``stop - 1`` of the state ``tree`` of ``count`` environments."""
    if isinstance(tree, dict):
        return {key: cut_rows(value, count, first, stop) for key, value in tree.items()}
    return tree[first:stop] if _is_rows(tree, count) else tree


def join_rows(trees: Sequence[Any], counts: Sequence[int]) -> Any:
    """The state of all environments of ``trees``, which hold ``counts`` environments each.

    Raises:
        NotDivisibleError: where something that is not per environment differs.
    """
    head = trees[0]
    if any(type(tree) is not type(head) for tree in trees):
        raise NotDivisibleError("slices of the saved state are of different kinds")
    if isinstance(head, dict):
        if any(tree.keys() != head.keys() for tree in trees):
            raise NotDivisibleError("slices of the saved state hold different entries")
        return {key: join_rows([tree[key] for tree in trees], counts) for key in head}
    if all(_is_rows(tree, count) for tree, count in zip(trees, counts, strict=True)):
        if isinstance(head, list):
            return [row for tree in trees for row in tree]
        return torch.cat(list(trees)) if isinstance(head, torch.Tensor) else np.concatenate(trees)
    if any(not _equal(tree, head) for tree in trees):
        raise NotDivisibleError("the saved state holds more than single environments' own")
    return head


def _is_rows(value: Any, count: int) -> bool:
    if isinstance(value, list):
        return len(value) == count
    return isinstance(value, (torch.Tensor, np.ndarray)) and value.shape[:1] == (count,)


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    return bool(np.array_equal(left, right)) if isinstance(left, np.ndarray) else left == right


def collector_slice(states: Sequence[dict[str, Any]], first: int, stop: int) -> dict[str, Any]:
    """A collector's state for the global environments ``first`` ... ``stop - 1``.

    Args:
        states: of collectors that together cover these environments, whatever their cuts.
        first: global index.
        stop: global index.

    Raises:
        NotDivisibleError: states that do not cover the range.
    """
    for state in states:
        if (state["first"], state["first"] + len(state["episode"])) == (first, stop):
            return state
    parts, counts = [], []
    for state in sorted(states, key=lambda state: state["first"]):
        begin, count = state["first"], len(state["episode"])
        low, high = max(first, begin) - begin, min(stop, begin + count) - begin
        if low < high:
            shift = begin + low - first
            parts.append(_cut_collector(state, count, low, high, shift))
            counts.append(high - low)
    if sum(counts) != stop - first:
        raise NotDivisibleError(
            f"the saved collectors hold {sum(counts)} of the environments {first} to {stop - 1}"
        )
    opened = {key: info for part in parts for key, info in part.pop("open").items()}
    carried = [frames for part in parts for frames in part.pop("carried")]
    env = _joined_or_none([part.pop("env") for part in parts], counts)
    return {
        **join_rows(parts, counts),
        "env": env,
        "first": first,
        "open": opened,
        "carried": carried,
    }


def _joined_or_none(states: list[Any], counts: list[int]) -> Any:
    """Joined states of environments; None, hence a reset, where that cannot be exact."""
    try:
        return None if any(state is None for state in states) else join_rows(states, counts)
    except NotDivisibleError:
        return None


def _cut_collector(
    state: dict[str, Any], count: int, low: int, high: int, shift: int
) -> dict[str, Any]:
    """Rows ``low`` ... ``high - 1`` of one collector; ``shift`` is the new index of the first."""
    rows = {key: value for key, value in state.items() if key not in ("open", "carried", "first")}
    cut = cut_rows(rows, count, low, high)
    members = {str(episode) for episode in cut["episode"]}
    cut["open"] = {key: info for key, info in state["open"].items() if key in members}
    cut["carried"] = [_cut_frames(part, low, high, shift) for part in state["carried"]]
    return cut


def _cut_frames(part: dict[str, Any], low: int, high: int, shift: int) -> dict[str, Any]:
    here = (part["env"] >= low) & (part["env"] < high)
    return {
        "views": {name: image[here] for name, image in part["views"].items()},
        "step": part["step"][here],
        "env": part["env"][here] - low + shift,
        "episode": part["episode"][here],
        "final": part["final"][here],
    }


@dataclass(frozen=True)
class _Cut:
    """Which environments of one slice go to an owner."""

    count: int
    """Environments of the slice."""
    low: int
    """First of those that are taken."""
    high: int
    """After the last of them."""
    shift: int
    """New index of the first."""
    members: torch.Tensor
    """Ids of the episodes that are open in them."""


def reward_slice(slices: Sequence[dict[str, Any]], first: int, stop: int) -> dict[str, Any]:
    """A reward's state for the global environments ``first`` ... ``stop - 1``.

    Args:
        slices: see :func:`own_slice`, in the order of their environments.
        first: global index.
        stop: global index.

    Raises:
        NotDivisibleError: where it cannot be told what belongs to which environment, or what
            belongs to none differs between slices.
    """
    parts, counts = [], []
    for part in slices:
        begin, count = part["first"], part["stop"] - part["first"]
        low, high = max(first, begin) - begin, min(stop, part["stop"]) - begin
        if low < high:
            members = _open_episodes(part, begin + low, begin + high)
            cut = _Cut(count, low, high, begin + low - first, members)
            parts.append(_cut_reward(part["reward"], cut))
            counts.append(high - low)
    return _join_reward(parts, counts)


def _groups(part: dict[str, Any]) -> list[dict[str, Any]]:
    """States of the collectors of one slice."""
    return part["collector"].get("groups", [part["collector"]])


def _open_episodes(part: dict[str, Any], first: int, stop: int) -> torch.Tensor:
    return torch.tensor(
        [
            episode
            for state in _groups(part)
            for env, episode in enumerate(state.get("episode", []), state.get("first", 0))
            if first <= env < stop
        ],
        dtype=torch.int64,
    )


def _has_rows(state: dict[str, Any], count: int) -> bool:
    """Whether a part of a reward's state is declared to have one row per environment."""
    episode = state.get("episode")
    return isinstance(episode, torch.Tensor) and tuple(episode.shape) == (count,)


def _cut_reward(state: dict[str, Any], cut: _Cut, rows: bool = False) -> dict[str, Any]:
    rows = rows or _has_rows(state, cut.count)
    if "episode" in state and not rows:
        raise NotDivisibleError("a reward's open episodes are not one per environment")
    found: dict[str, Any] = {}
    for name, value in state.items():
        if name == OPEN:
            found[name] = None if value is None else _cut_open(value, cut)
        elif isinstance(value, dict):
            found[name] = _cut_reward(value, cut, rows and name == VALUES)
        elif rows and isinstance(value, (list, torch.Tensor, np.ndarray)):
            if name in ENV_LAST or not _is_rows(value, cut.count):
                raise NotDivisibleError(f"the reward's {name!r} is not one row per environment")
            found[name] = value[cut.low : cut.high]
        elif _may_be_rows(value, cut.count):
            raise NotDivisibleError(f"the reward's {name!r} may or may not be per environment")
        else:
            found[name] = value
    return found


def _may_be_rows(value: Any, count: int) -> bool:
    if isinstance(value, list):
        return len(value) == count
    return isinstance(value, (torch.Tensor, np.ndarray)) and count in value.shape


def _cut_open(table: Any, cut: _Cut) -> dict[str, Any]:
    """The rows whose episode is open in the environments that are taken."""
    if not isinstance(table, dict) or not isinstance(table.get("episode"), torch.Tensor):
        raise NotDivisibleError("a table of open episodes does not say whose its rows are")
    here = torch.isin(table["episode"], cut.members.to(table["episode"].device))

    def rows(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: rows(inner) for name, inner in part.items()}
        if not _is_rows(part, len(here)) or not isinstance(part, torch.Tensor):
            raise NotDivisibleError("a table of open episodes has entries without a row for each")
        return part[here.to(part.device)]

    found = rows(table)
    if "env" in found:
        found["env"] = found["env"] - cut.low + cut.shift
    return found


def _join_reward(
    parts: Sequence[dict[str, Any]], counts: Sequence[int], rows: bool = False
) -> dict[str, Any]:
    """The state of all environments of ``parts``, which hold ``counts`` environments each."""
    if len(parts) == 1:
        return parts[0]
    head = parts[0]
    if any(not isinstance(part, dict) or part.keys() != head.keys() for part in parts):
        raise NotDivisibleError("slices of the reward's state hold different entries")
    rows = rows or all(_has_rows(part, n) for part, n in zip(parts, counts, strict=True))
    found: dict[str, Any] = {}
    for name, value in head.items():
        values = [part[name] for part in parts]
        if name == OPEN:
            found[name] = _join_open([part for part in values if part is not None])
        elif isinstance(value, dict):
            found[name] = _join_reward(values, counts, rows and name == VALUES)
        elif rows:
            found[name] = join_rows(values, counts)
        elif any(type(part) is not type(value) or not _equal(part, value) for part in values):
            raise NotDivisibleError(f"the reward's {name!r} differs between slices")
        else:
            found[name] = value
    return found


def _join_open(tables: list[Any]) -> Any:
    if not tables:
        return None
    if isinstance(tables[0], torch.Tensor):
        return torch.cat(tables)
    return {name: _join_open([table[name] for table in tables]) for name in tables[0]}


def own_slice(slices: Sequence[dict[str, Any]], first: int, stop: int) -> dict[str, Any]:
    """Collector and reward state for the global environments ``first`` ... ``stop - 1``.

    Args:
        slices: of each rank of the saved run: ``first``, ``stop``, ``collector``, ``reward``,
            ``reward_returns``.
        first: global index.
        stop: global index.

    Returns:
        ``collector`` (a list of states under ``groups``), ``reward``, ``reward_returns`` (rows
        of environments, None in checkpoints without them) and ``learned_from``, None. Where the
        cut is another one and the reward's open episodes cannot be shared out, ``reward`` is None
        and the collectors' environments are to be reset, so that both begin new episodes;
        ``learned_from`` is then a whole slice's state, from which to restore what was learned.
    """
    ordered = sorted(slices, key=lambda part: part["first"])
    collectors = [state for part in ordered for state in _groups(part)]
    for part in ordered:
        if (part["first"], part["stop"]) == (first, stop):
            return {
                "collector": {"groups": collectors},
                "reward": part["reward"],
                "reward_returns": part.get("reward_returns"),
                "learned_from": None,
            }
    learned_from = None
    try:
        reward = reward_slice(ordered, first, stop)
    except NotDivisibleError:
        reward, collectors = None, [{**state, "env": None} for state in collectors]
        learned_from = [part["reward"] for part in ordered if part["first"] <= first][-1]
    counts = [part["stop"] - part["first"] for part in ordered]
    return {
        "collector": {"groups": collectors},
        "reward": reward,
        "reward_returns": _own_returns(ordered, counts, first, stop),
        "learned_from": learned_from,
    }


def _own_returns(
    ordered: Sequence[dict[str, Any]], counts: Sequence[int], first: int, stop: int
) -> dict[str, Any] | None:
    """Open sums of the environments ``first`` ... ``stop - 1``; None where a slice has none."""
    if any(part.get("reward_returns") is None for part in ordered):
        return None
    whole = join_rows([part["reward_returns"] for part in ordered], counts)
    return cut_rows(whole, sum(counts), first, stop)
