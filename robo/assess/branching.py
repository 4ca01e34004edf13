"""Counterfactuals from the simulator: what other actions would have led to from a stored state.

A stored episode is played again from its seed, its states are saved on the way, and random
actions are tried from each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.assess.transitions import States
from robo.errors import RoboError
from robo.rollout import CameraSchedule, Episode
from robo.sim.contract import Environment, StateNotSupportedError


@dataclass(frozen=True)
class BranchOptions:
    """Which trials are made."""

    branches: int = 4
    """Trials K from each state."""
    horizon: int = 5
    """Actions of each trial."""
    hold: int = 1
    """Environment steps that each action is held for."""
    seed: int = 0
    """Of the actions."""


@dataclass
class Branches:
    """Trials from one state: K paths of states, and the actions between them."""

    paths: list[list[int]]
    """Indices into the table; the first is the state itself. A path that ended is shorter."""
    actions: list[np.ndarray]
    """``[len(path) - 1, A]`` each."""


def branch(
    env: Environment,
    episode: Episode,
    number: int,
    steps: Sequence[int],
    places: Sequence[int],
    states: States,
    camera: CameraSchedule | None,
    options: BranchOptions,
) -> dict[int, Branches]:
    """Try random actions from states of one episode.

    Args:
        env: of the episode's task, made with the options that it was recorded with.
        episode: stored, with the seed that it began from.
        number: its index in ``states.info``.
        steps: state indices t to branch from, each below the episode's length.
        places: index in ``states`` of each state of the episode; those of ``steps`` are known.
        states: table to which the new states are added.
        camera: frames that rewards read; None renders nothing.
        options: which trials.

    Returns:
        t to its trials.

    Raises:
        RoboError: the episode has no seed, or neither the observation ``state`` nor a signal to
            compare with; the environment cannot save its state, or does not repeat the episode.
    """
    if episode.info.seed is None:
        raise RoboError(f"an episode of {episode.info.task} holds no seed to play it again from")
    _comparable(env, episode)
    env.set_camera_schedule(None)
    observation, _ = env.reset(seed=episode.info.seed)
    saved: dict[int, dict[str, Any]] = {}
    for t in range(max(steps) + 1):
        if t in steps:
            _check(observation, episode, t)
            try:
                saved[t] = env.state_dict()
            except StateNotSupportedError as error:
                raise RoboError(f"{error}: without resets there is no DARD and no STARC") from error
        observation, _, terminated, truncated, info = env.step(np.asarray(episode.action[t]))
        _check_signals(info.get("signals") or {}, episode, t)
        if (terminated or truncated) and t < max(steps):
            raise RoboError(_differs(episode, t))
    generator = np.random.default_rng((options.seed, number))
    env.set_camera_schedule(_every_step(camera))
    return {
        t: _trials(env, saved[t], number, places[t], states, generator, options, camera)
        for t in steps
    }


def staying(place: int, episode: Episode, branches: int) -> Branches:
    """Trials from the last state of an episode, where nothing can be tried: it stays there."""
    action = np.asarray(episode.action[-1])[None]
    return Branches([[place, place]] * branches, [action] * branches)


def _every_step(camera: CameraSchedule | None) -> CameraSchedule | None:
    if camera is None:
        return None
    return CameraSchedule(camera.views, camera.height, camera.width, 1)


def _trials(
    env: Environment,
    saved: dict[str, Any],
    number: int,
    place: int,
    states: States,
    generator: np.random.Generator,
    options: BranchOptions,
    camera: CameraSchedule | None,
) -> Branches:
    """K random paths from a saved state."""
    found = Branches([], [])
    for _ in range(options.branches):
        env.load_state_dict(saved)
        path, actions = [place], []
        for _ in range(options.horizon):
            action = _random_action(env.action_space, generator)
            ended = False
            info: dict[str, Any] = {}
            for _ in range(options.hold):
                _, _, terminated, truncated, info = env.step(action)
                if ended := bool(terminated or truncated):
                    break
            frames = dict(info.get("frames") or {})
            if camera is not None and not frames:
                raise RoboError(f"{env.task} rendered no frame after a restored state")
            signals = {name: float(value) for name, value in info["signals"].items()}
            path.append(
                states.add(number, bool(info["success"]), signals, frames, states.start[place])
            )
            actions.append(action)
            if ended:
                break
        found.paths.append(path)
        found.actions.append(np.stack(actions))
    return found


def _random_action(space: Any, generator: np.random.Generator) -> np.ndarray:
    """Uniform within the action space's bounds."""
    if hasattr(space, "n"):
        return np.asarray(space.start + generator.integers(space.n))
    low, high = np.maximum(space.low, -1e3), np.minimum(space.high, 1e3)
    return generator.uniform(low, high).astype(space.dtype)


def _comparable(env: Environment, episode: Episode) -> None:
    """Refuse an episode that nothing stored tells from another one."""
    if "state" in episode.observation or set(env.signal_names) & set(episode.signals):
        return
    raise RoboError(
        f"an episode of {episode.info.task} holds neither the observation 'state' nor a signal of "
        "the simulator, so that playing it again cannot be checked: collect it with either, or "
        "leave the distances that need resets out (branches 0)"
    )


def _check_signals(signals: dict[str, Any], episode: Episode, t: int) -> None:
    """Refuse a step that signals otherwise than the stored one, also without observations."""
    for name in set(signals) & set(episode.signals):
        there, stored = float(signals[name]), float(episode.signals[name][t])
        if not np.isclose(there, stored, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise RoboError(_differs(episode, t + 1))


def _check(observation: Any, episode: Episode, t: int) -> None:
    """Refuse to branch from another state than the stored one."""
    if "state" not in episode.observation:
        return
    there, stored = np.asarray(observation["state"]), np.asarray(episode.observation["state"][t])
    if there.shape != stored.shape or not np.allclose(there, stored, atol=1e-4):
        raise RoboError(_differs(episode, t))


def _differs(episode: Episode, t: int) -> str:
    return (
        f"playing an episode of {episode.info.task} again from seed {episode.info.seed} leads to "
        f"another state at step {t} than was stored: use the simulator version and options that "
        "it was recorded with, or leave the distances that need resets out (branches 0)"
    )
