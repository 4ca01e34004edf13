"""Which ids have a native backend, and making it."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any, NamedTuple

from robo.errors import RoboError
from robo.sim.gym_adapter import PREFIX, GymEnvironment, make
from robo.sim.in_process import InProcessVectorEnvironment, available_cores
from robo.sim.native_gym.environment import NativeGymEnvironment
from robo.sim.native_gym.physics import batch_available


class Native(NamedTuple):
    """Dynamics of one id."""

    entry_point: str
    """Gymnasium's class, ``module:name`` inside ``gymnasium.envs``."""
    dynamics: str
    """Ours, ``module:name`` inside this package."""
    options: frozenset[str]
    """Options of gymnasium that it takes over from the prototype; others mean the generic loop."""


_RUNNER = frozenset(
    {
        "forward_reward_weight",
        "ctrl_cost_weight",
        "reset_noise_scale",
        "exclude_current_positions_from_observation",
        "frame_skip",
    }
)
_WALKER = _RUNNER | {
    "healthy_reward",
    "terminate_when_unhealthy",
    "healthy_z_range",
    "healthy_angle_range",
}
_BALANCE = frozenset({"reset_noise_scale", "frame_skip"})
_ARM = frozenset({"reward_dist_weight", "reward_control_weight", "frame_skip"})
_COMMON = frozenset({"max_episode_steps"})

NATIVE = {
    "HalfCheetah-v5": Native("mujoco.half_cheetah_v5:HalfCheetahEnv", "locomotion:Runner", _RUNNER),
    "Hopper-v5": Native(
        "mujoco.hopper_v5:HopperEnv", "locomotion:Hopper", _WALKER | {"healthy_state_range"}
    ),
    "Walker2d-v5": Native("mujoco.walker2d_v5:Walker2dEnv", "locomotion:Walker", _WALKER),
    "Swimmer-v5": Native("mujoco.swimmer_v5:SwimmerEnv", "locomotion:Swimmer", _RUNNER),
    "InvertedPendulum-v5": Native(
        "mujoco.inverted_pendulum_v5:InvertedPendulumEnv", "balance:InvertedPendulum", _BALANCE
    ),
    "InvertedDoublePendulum-v5": Native(
        "mujoco.inverted_double_pendulum_v5:InvertedDoublePendulumEnv",
        "balance:InvertedDoublePendulum",
        _BALANCE | {"healthy_reward"},
    ),
    "Reacher-v5": Native("mujoco.reacher_v5:ReacherEnv", "reaching:Reacher", _ARM),
    "Pusher-v5": Native(
        "mujoco.pusher_v5:PusherEnv", "reaching:Pusher", _ARM | {"reward_near_weight"}
    ),
    "Pendulum-v1": Native(
        "classic_control.pendulum:PendulumEnv", "classic_control:Pendulum", frozenset({"g"})
    ),
    "CartPole-v1": Native(
        "classic_control.cartpole:CartPoleEnv",
        "classic_control:CartPole",
        frozenset({"sutton_barto_reward"}),
    ),
}
"""Ids whose equality with gymnasium is tested bit for bit. Ant and Humanoid observe contact
forces, which ``mujoco.batch`` does not compute."""

ENVIRONMENTS_PER_THREAD = 8
"""Fewer than these on a thread of their own are not stepped sooner (measured on 2 cores)."""


def make_native(
    name: str, num_envs: int, threads: int = 0, **options: Any
) -> NativeGymEnvironment | None:
    """``num_envs`` environments of gymnasium's id ``name``; None where the generic loop must.

    Args:
        name: such as ``HalfCheetah-v5``.
        num_envs: N.
        threads: of the physics; 0 takes one per 8 environments, at most one per core. Results
            do not depend on it.
        options: go to ``gymnasium.make``; any that is not known here means the generic loop.

    Raises:
        RoboError: options that the environment refuses; less than 0 threads.
    """
    native = NATIVE.get(name)
    if native is None or not options.keys() <= native.options | _COMMON:
        return None
    if native.entry_point.startswith("mujoco.") and not batch_available():
        return None
    if threads < 0:
        raise RoboError(f"threads is {threads}, expected at least 0 (0 chooses)")
    prototype = GymEnvironment(name, **options)
    core: Any = prototype.core
    entry = f"{type(core).__module__}:{type(core).__qualname__}"
    if entry != f"gymnasium.envs.{native.entry_point}":  # registered anew, or wrapped
        prototype.close()
        return None
    module, _, kind = native.dynamics.partition(":")
    dynamics = getattr(importlib.import_module(f"robo.sim.native_gym.{module}"), kind)
    # Waking a thread takes as long as stepping a few environments does.
    threads = threads or min(available_cores(), num_envs // ENVIRONMENTS_PER_THREAD)
    factories = [partial(make, PREFIX + name, **options)] * num_envs
    return NativeGymEnvironment(
        prototype,
        dynamics(core, num_envs, min(num_envs, max(1, threads))),
        num_envs,
        partial(InProcessVectorEnvironment, factories),
    )
