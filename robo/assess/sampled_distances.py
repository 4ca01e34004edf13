"""EPIC, DARD and STARC distances between rewards of any kind, sampled on stored episodes.

The canonical forms are those of :mod:`robo.assess.distances`, with expectations replaced by
samples that all rewards share. Potential shaping then cancels exactly, sample by sample, and not
only on average:

* EPIC: states and actions drawn from the stored episodes, independent of each other;
* DARD: next states that the simulator reached from resets under random actions;
* STARC: values of the uniformly random policy, from the same trials. A trial is closed as if it
  stayed in its last state for ever, which shaping pays ``-Phi`` for as the identity needs; the
  closure weighs ``gamma^horizon``.

What EPIC and DARD ask beside the stored transitions may be impossible ones. A reward of pictures
answers those too; whether it does so sensibly is part of what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from robo.assess.branching import Branches, BranchOptions, branch, staying
from robo.assess.transitions import States, states_of, transition_rewards
from robo.errors import RoboError

if TYPE_CHECKING:
    from robo.rewards.base import Reward
    from robo.rollout import CameraSchedule, Episode
    from robo.sim.contract import Environment

_ZERO = 1e-5
"""A canonical reward this much smaller than its reward is rounding: rewards are float32."""


@dataclass(frozen=True)
class SampleOptions:
    """How many samples."""

    transitions: int = 64
    """Stored transitions that the distance is taken over."""
    ends: float = 0.25
    """Share of them that end an episode, where there are as many: a sparse success is paid
    there, and would hardly be drawn otherwise."""
    pairs: int = 16
    """States and actions that EPIC's expectations are taken over."""
    gamma: float = 0.99
    """Discount, in [0, 1)."""
    branch: BranchOptions = field(default_factory=BranchOptions)
    """Trials of DARD and STARC; none with 0 branches."""
    seed: int = 0
    """Of the drawn transitions."""


@dataclass
class Sample:
    """Transitions of stored episodes, and what the simulator did from their two states."""

    states: States
    before: np.ndarray
    """int64 ``[M]``."""
    action: np.ndarray
    """``[M, A]``."""
    after: np.ndarray
    """int64 ``[M]``."""
    tried: list[tuple[Branches, Branches]]
    """Trials from the state before and the state after; empty without a simulator."""


def draw(
    episodes: Sequence[Episode],
    camera: CameraSchedule | None,
    options: SampleOptions,
    make: Callable[[str], Environment] | None = None,
) -> Sample:
    """Draw transitions, and try actions from their states.

    A transition goes from a state with a frame to the one ``hold`` environment steps later, which
    needs a frame too. From an episode's last state nothing is tried: it counts as staying there.

    Args:
        episodes: whole episodes.
        camera: frames that any of the rewards reads; None for none.
        options: how many.
        make: task to environment; None or 0 branches tries nothing.

    Raises:
        RoboError: no transition fits, or see :func:`robo.assess.branching.branch`.
    """
    states, places = states_of(episodes, camera)
    hold, trying = options.branch.hold, make is not None and options.branch.branches > 0
    fitting = [
        (number, t)
        for number, place in enumerate(places)
        for t in range(len(place) - hold)
        if place[t] >= 0 and place[t + hold] >= 0
    ]
    if not fitting:
        raise RoboError(
            f"no stored transition of {hold} steps has a camera frame at both ends: collect with "
            "--stride 1, or hold actions for a multiple of the stride"
        )
    drawn = _drawn(fitting, [len(place) - 1 - hold for place in places], options)
    tried = {}
    if trying:
        assert make is not None
        tried = _tried(episodes, states, places, drawn, camera, options.branch, make)
    return Sample(
        states,
        np.array([places[n][t] for n, t in drawn]),
        np.stack([np.asarray(episodes[n].action[t]) for n, t in drawn]),
        np.array([places[n][t + hold] for n, t in drawn]),
        [(tried[n, t], tried[n, t + hold]) for n, t in drawn] if trying else [],
    )


def _drawn(
    fitting: list[tuple[int, int]], last: list[int], options: SampleOptions
) -> list[tuple[int, int]]:
    """Transitions without repetition, a share of them the last of their episodes."""
    generator = np.random.default_rng(options.seed)
    ends = [(n, t) for n, t in fitting if t == last[n]]
    inner = [(n, t) for n, t in fitting if t != last[n]]
    count = min(options.transitions, len(fitting))
    wanted = min(len(ends), max(round(options.ends * count), count - len(inner)))
    drawn = [ends[i] for i in generator.choice(len(ends), wanted, replace=False)] if ends else []
    rest = min(count - wanted, len(inner))
    drawn += [inner[i] for i in generator.choice(len(inner), rest, replace=False)] if inner else []
    return sorted(drawn)


def _tried(
    episodes: Sequence[Episode],
    states: States,
    places: list[list[int]],
    drawn: Sequence[tuple[int, int]],
    camera: CameraSchedule | None,
    options: BranchOptions,
    make: Callable[[str], Environment],
) -> dict[tuple[int, int], Branches]:
    """Trials from both states of every drawn transition."""
    found: dict[tuple[int, int], Branches] = {}
    tasks = {episodes[n].info.task for n, _ in drawn}
    for task in sorted(tasks):
        env = make(task)
        try:
            for number in sorted({n for n, _ in drawn if episodes[n].info.task == task}):
                own = [t for n, t in drawn if n == number]
                episode, place = episodes[number], places[number]
                steps = sorted({*own, *(t + options.hold for t in own)} - {len(episode)})
                trials = branch(env, episode, number, steps, place, states, camera, options)
                found |= {(number, t): part for t, part in trials.items()}
                found[number, len(episode)] = staying(place[-1], episode, options.branches)
        finally:
            env.close()
    return found


def epic_canonical(reward: Reward, sample: Sample, options: SampleOptions) -> np.ndarray:
    """``[M]``, up to a constant that centring removes."""
    generator = np.random.default_rng((options.seed, 1))
    count, size = len(sample.before), min(options.pairs, len(sample.before))
    chosen = generator.choice(count, size, replace=False)
    target, action = sample.after[chosen], sample.action[generator.permutation(chosen)]

    def onward(state: np.ndarray) -> np.ndarray:
        """E R(state, A, S')."""
        paid = transition_rewards(
            reward,
            sample.states,
            np.repeat(state, size),
            np.tile(action, (len(state), *[1] * (action.ndim - 1))),
            np.tile(target, len(state)),
        )
        return paid.reshape(len(state), size).mean(axis=1)

    direct = transition_rewards(reward, sample.states, sample.before, sample.action, sample.after)
    return direct + options.gamma * onward(sample.after) - onward(sample.before)


def dard_canonical(reward: Reward, sample: Sample, options: SampleOptions) -> np.ndarray:
    """``[M]``; the trials from both states are paired one by one for the last term."""
    table, gamma = sample.states, options.gamma
    size = options.branch.branches

    def first(which: int) -> tuple[np.ndarray, np.ndarray]:
        """Action and next state of every trial, ``[M K]``."""
        parts = [tried[which] for tried in sample.tried]
        steps = [p.actions[k][0] for p in parts for k in range(size)]
        return np.stack(steps), np.array([p.paths[k][1] for p in parts for k in range(size)])

    (action_b, next_b), (action_a, next_a) = first(0), first(1)

    def mean(before: np.ndarray, action: np.ndarray, after: np.ndarray) -> np.ndarray:
        paid = transition_rewards(reward, table, before, action, after)
        return paid.reshape(-1, size).mean(axis=1)

    direct = transition_rewards(reward, table, sample.before, sample.action, sample.after)
    return (
        direct
        + gamma * mean(np.repeat(sample.after, size), action_a, next_a)
        - mean(np.repeat(sample.before, size), action_b, next_b)
        - gamma * mean(next_b, action_a, next_a)
    )


def starc_canonical(reward: Reward, sample: Sample, options: SampleOptions) -> np.ndarray:
    """``[M]``: R - V(s) + gamma V(s'), with V of the random policy from the trials."""
    table, gamma = sample.states, options.gamma
    before, action, after, weight, owner = [], [], [], [], []
    for i, tried in enumerate(sample.tried):
        for which, sign in ((0, -1.0), (1, gamma)):
            part = tried[which]
            for path, actions in zip(part.paths, part.actions, strict=True):
                share = sign / len(part.paths)
                before += path
                after += [*path[1:], path[-1]]  # closed: it stays in its last state
                action += [*actions, actions[-1]]
                length = len(actions)
                weight += [share * gamma**h for h in range(length)]
                weight.append(share * gamma**length / (1 - gamma))
                owner += [i] * len(path)
    paid = transition_rewards(reward, table, np.array(before), np.stack(action), np.array(after))
    value = np.bincount(owner, np.array(weight) * paid, minlength=len(sample.before))
    return value + transition_rewards(reward, table, sample.before, sample.action, sample.after)


def sampled_distances(
    rewards: Mapping[str, Reward], sample: Sample, options: SampleOptions
) -> dict[str, Any]:
    """Distances between all pairs of rewards.

    Args:
        rewards: by name.
        sample: see :func:`draw`.
        options: those that it was drawn with.

    Returns:
        ``names``; ``epic``, and with trials ``dard`` and ``starc``, ``[R, R]`` in [0, 1] each;
        ``left_out``: name to why it has no distance; ``transitions``, how many.
    """
    kinds = {"epic": epic_canonical}
    if sample.tried:
        kinds |= {"dard": dard_canonical, "starc": starc_canonical}
    units: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    names, left_out = [], {}
    for name, reward in rewards.items():
        try:
            scale = _scale(reward, sample)
            found = {
                kind: _unit(canonical(reward, sample, options), scale, kind != "starc")
                for kind, canonical in kinds.items()
            }
        except (RoboError, ValueError) as error:
            left_out[name] = str(error)
            continue
        names.append(name)
        for kind, unit in found.items():
            units[kind].append(unit)
    result: dict[str, Any] = {
        "names": names,
        "left_out": left_out,
        "transitions": len(sample.before),
        "epic": None,
        "dard": None,
        "starc": None,
    }
    for kind, parts in units.items():
        result[kind] = [[float(np.linalg.norm(a - b) / 2) for b in parts] for a in parts]
    return result


def _scale(reward: Reward, sample: Sample) -> float:
    """Norm of the reward itself over the transitions; a reward of 0 has none."""
    paid = transition_rewards(reward, sample.states, sample.before, sample.action, sample.after)
    return float(np.linalg.norm(paid))


def _unit(canonical: np.ndarray, scale: float, centre: bool) -> np.ndarray:
    """Centred where asked for, and of norm 1; the zero vector where only rounding is left.

    Raises:
        RoboError: a reward that is not finite.
    """
    if not np.isfinite(canonical).all():
        raise RoboError("it pays something that is not finite for some transition")
    if centre:
        canonical = canonical - canonical.mean()
    norm = float(np.linalg.norm(canonical))
    if norm <= _ZERO * max(scale, 1e-12):
        return np.zeros_like(canonical)
    return canonical / norm
