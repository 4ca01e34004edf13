"""Does an environment keep the contract? For every simulator's tests, and for your own."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from robo.errors import RoboError
from robo.rollout import CAMERA_ROLES, CameraSchedule
from robo.sim.contract import Environment, FrameRows, VectorEnvironment


class ContractError(RoboError):
    """An environment that breaks the contract; the sentence says which rule."""


def check_contract(
    environment: Environment | VectorEnvironment, steps: int = 64, render: bool = True
) -> None:
    """Run gymnasium's ``check_env`` (single environments) and our own rules.

    Single: Dict observations with a float32 ``state`` vector, info keys, frames of the asked
    roles and size at every due step and no other, from the reset after the camera schedule was
    set until it is None, success terminates, ``terminated`` and
    ``truncated`` exclude each other, seeds reproduce. Vector: the same per row, and final
    observations that are not the reset's. The environment is left open, in some later episode.

    Args:
        environment: single or vector.
        steps: random steps per check; the more, the likelier an episode ends inside.
        render: also check camera frames, where there are cameras.

    Raises:
        ContractError: on the first rule that is broken.
    """
    space = getattr(environment, "single_observation_space", environment.observation_space)
    _check_spaces(environment, space)
    if isinstance(environment, VectorEnvironment):
        _check_vector(environment, steps)
    else:
        try:
            check_env(environment, skip_render_check=True, skip_close_check=True)
        except Exception as error:
            raise ContractError(
                f"{environment.task} fails gymnasium's check_env: {error}"
            ) from error
        _check_single(environment, steps)
    if render and environment.cameras:
        schedule = CameraSchedule(environment.cameras[:2], height=24, width=32, stride=3)
        environment.set_camera_schedule(schedule)
        _check_no_frames(
            environment, schedule.stride, "a camera schedule takes effect before the next reset"
        )
        if isinstance(environment, VectorEnvironment):
            _check_vector_frames(environment, schedule)
        else:
            _check_frames(environment, schedule)
        environment.set_camera_schedule(None)
        _check_no_frames(
            environment, schedule.stride, "a camera schedule of None does not stop frames at once"
        )
        environment.reset()


def _require(condition: Any, environment: Any, sentence: str) -> None:
    if not condition:
        raise ContractError(f"{environment.task or type(environment).__name__}: {sentence}")


def _check_spaces(environment: Any, space: gymnasium.Space) -> None:
    _require(environment.task, environment, "task (the registry id) is empty")
    _require(
        isinstance(space, spaces.Dict) and "state" in space.spaces,
        environment,
        f"the observation space is {space}, expected a Dict with 'state'",
    )
    assert isinstance(space, spaces.Dict)
    state = space["state"]
    _require(
        isinstance(state, spaces.Box) and state.dtype == np.float32 and len(state.shape) == 1,
        environment,
        f"observation 'state' is {state}, expected a float32 vector",
    )
    unknown = [role for role in environment.cameras if role not in CAMERA_ROLES]
    _require(not unknown, environment, f"cameras {unknown} are not among {CAMERA_ROLES}")


def _check_single(environment: Environment, steps: int) -> None:
    _, info = environment.reset(seed=7)
    for key in ("instruction", "initial_state"):
        _require(key in info, environment, f"info of reset has no {key!r}")
    _require(
        environment.episode_info().task == environment.task,
        environment,
        "episode_info().task differs from task",
    )
    environment.action_space.seed(7)
    for _ in range(steps):
        observation, _, terminated, truncated, info = environment.step(
            environment.action_space.sample()
        )
        _require(observation["state"].dtype == np.float32, environment, "'state' is not float32")
        _require("success" in info, environment, "info of step has no 'success'")
        _require(
            set(info.get("signals", {"": 0})) == set(environment.signal_names),
            environment,
            f"info['signals'] does not hold exactly {environment.signal_names}",
        )
        _require("frames" not in info, environment, "frames come without a camera schedule")
        _require(not (terminated and truncated), environment, "terminated and truncated at once")
        _require(terminated or not info["success"], environment, "success does not terminate")
        if terminated or truncated:
            environment.reset()


def _check_frames(environment: Environment, schedule: CameraSchedule) -> None:
    _, info = environment.reset(seed=7)
    shape = (schedule.height, schedule.width, 3)
    elapsed = 0
    for _ in range(2 * schedule.stride + 2):
        frames = info.get("frames")
        due = elapsed % schedule.stride == 0
        _require((frames is not None) == due, environment, f"frames at step {elapsed}: due {due}")
        for role in schedule.views if frames is not None else ():
            image = (frames or {}).get(role)
            _require(
                image is not None and image.shape == shape and image.dtype == np.uint8,
                environment,
                f"frames[{role!r}] is not uint8 {shape}",
            )
        _, _, terminated, truncated, info = environment.step(environment.action_space.sample())
        elapsed += 1
        if terminated or truncated:
            _require("frames" in info, environment, "the state that ends an episode has no frame")
            _, info = environment.reset()
            elapsed = 0


def _check_no_frames(
    environment: Environment | VectorEnvironment, stride: int, sentence: str
) -> None:
    """Step as long as a frame would have become due; single environments until they end."""
    for _ in range(stride):
        _, _, terminated, truncated, infos = environment.step(environment.action_space.sample())
        _require("frames" not in infos, environment, sentence)
        if not isinstance(environment, VectorEnvironment) and (terminated or truncated):
            return


def _check_vector(environment: VectorEnvironment, steps: int) -> None:
    num_envs = environment.num_envs
    first = _trajectory(environment, steps)
    second = _trajectory(environment, steps)
    for step, (one, two) in enumerate(zip(first, second, strict=True)):
        same = all(np.array_equal(one[0][key], two[0][key]) for key in one[0])
        same = same and all(np.array_equal(one[i], two[i]) for i in (1, 2, 3))
        _require(same, environment, f"two runs from one seed differ at step {step}")
    for observation, reward, terminated, truncated, infos in first:
        for name, array, dtype in (
            ("reward", reward, np.float32),
            ("terminated", terminated, np.bool_),
            ("truncated", truncated, np.bool_),
            ("infos['success']", infos.get("success"), np.bool_),
        ):
            _require(
                isinstance(array, np.ndarray)
                and array.shape == (num_envs,)
                and array.dtype == dtype,
                environment,
                f"{name} is not {np.dtype(dtype)} ({num_envs},)",
            )
        _require(
            set(infos.get("signals", {"": 0})) == set(environment.signal_names),
            environment,
            f"infos['signals'] does not hold exactly {environment.signal_names}",
        )
        _require(not (terminated & truncated).any(), environment, "terminated and truncated")
        _require(
            not (infos["success"] & ~terminated).any(), environment, "success does not terminate"
        )
        _check_final(environment, observation, terminated | truncated, infos)


def _check_final(
    environment: VectorEnvironment,
    observation: dict[str, np.ndarray],
    ended: np.ndarray,
    infos: dict[str, Any],
) -> None:
    """Final observations are there exactly where episodes ended, and not the reset's."""
    mask = infos.get("_final_obs", np.zeros_like(ended))
    _require(np.array_equal(mask, ended), environment, "_final_obs does not mark the ended rows")
    if ended.any():
        _require("final_info" in infos, environment, "final_info is missing where episodes ended")
    for row in np.flatnonzero(ended):
        final = infos["final_obs"][row]
        _require(
            any(not np.array_equal(final[key], observation[key][row]) for key in observation),
            environment,
            f"final_obs of environment {row} is the reset observation",
        )


def _trajectory(environment: VectorEnvironment, steps: int) -> list[tuple]:
    environment.reset(seed=7)
    environment.action_space.seed(7)
    return [environment.step(environment.action_space.sample()) for _ in range(steps)]


def _check_vector_frames(environment: VectorEnvironment, schedule: CameraSchedule) -> None:
    num_envs = environment.num_envs
    _, infos = environment.reset(seed=7)
    elapsed = np.zeros(num_envs, dtype=np.int64)
    ended = np.zeros(num_envs, dtype=bool)
    for _ in range(2 * schedule.stride + 2):
        due = np.flatnonzero(elapsed % schedule.stride == 0)
        rows = infos.get("frames")
        expected = [*np.flatnonzero(ended), *due]
        if rows is None:
            _require(not expected, environment, f"no frames, but due for rows {expected}")
        else:
            _require(isinstance(rows, FrameRows), environment, "infos['frames'] is no FrameRows")
            _require(
                list(rows.env) == expected and list(rows.final) == sorted(rows.final)[::-1],
                environment,
                f"frame rows are of {list(rows.env)}, expected final then current {expected}",
            )
            shape = (len(expected), schedule.height, schedule.width, 3)
            for role in schedule.views:
                _require(
                    rows.views[role].shape == shape and rows.views[role].dtype == np.uint8,
                    environment,
                    f"frame rows of {role} are not uint8 {shape}",
                )
        _, _, terminated, truncated, infos = environment.step(environment.action_space.sample())
        ended = terminated | truncated
        elapsed = np.where(ended, 0, elapsed + 1)
