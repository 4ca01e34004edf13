"""The state of environments, collectors and rewards, cut anew for another number of owners.

What belongs to single environments is saved in slices of the global list, one per rank and group.
A run resumed with the same ranks takes its own slices back; with others, slices are cut and joined
here. In the state of N environments every list of length N, and every array whose first axis has
length N, has one entry per environment; all else must be equal in all slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


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


def own_slice(slices: Sequence[dict[str, Any]], first: int, stop: int) -> dict[str, Any]:
    """Collector and reward state for the global environments ``first`` ... ``stop - 1``.

    Args:
        slices: of each rank of the saved run: ``first``, ``stop``, ``collector``, ``reward``,
            ``reward_returns``.
        first: global index.
        stop: global index.

    Returns:
        ``collector`` (a list of states under ``groups``), ``reward`` and ``reward_returns`` (rows
        of environments, None in checkpoints without them). Where the reward keeps
        more than numbers of single environments and the cut is another one, its state is None
        and the collectors' environments are to be reset, so that both begin new episodes.
    """
    ordered = sorted(slices, key=lambda part: part["first"])
    collectors = [
        state for part in ordered for state in part["collector"].get("groups", [part["collector"]])
    ]
    for part in ordered:
        if (part["first"], part["stop"]) == (first, stop):
            return {
                "collector": {"groups": collectors},
                "reward": part["reward"],
                "reward_returns": part.get("reward_returns"),
            }
    counts = [part["stop"] - part["first"] for part in ordered]
    try:
        whole = join_rows([part["reward"] for part in ordered], counts)
        reward = cut_rows(whole, sum(counts), first, stop)
    except NotDivisibleError:
        reward, collectors = None, [{**state, "env": None} for state in collectors]
    return {
        "collector": {"groups": collectors},
        "reward": reward,
        "reward_returns": _own_returns(ordered, counts, first, stop),
    }


def _own_returns(
    ordered: Sequence[dict[str, Any]], counts: Sequence[int], first: int, stop: int
) -> dict[str, Any] | None:
    """Open sums of the environments ``first`` ... ``stop - 1``; None where a slice has none."""
    if any(part.get("reward_returns") is None for part in ordered):
        return None
    whole = join_rows([part["reward_returns"] for part in ordered], counts)
    return cut_rows(whole, sum(counts), first, stop)
