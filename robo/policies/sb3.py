"""Stable-Baselines3: its learners on robo's environments and rewards, and its policies as ours.

Needs the extra ``sb3``. Three lines train SB3's PPO with any reward of robo::

    env = sb3_vec_env(robo.make_vec("mujoco/Reach", num_envs=8))
    model = stable_baselines3.PPO("MultiInputPolicy", env)
    model.learn(100_000, callback=RelabelCallback(SuccessReward()))

This module only gathers the parts: ``sb3_environment``, ``sb3_relabel`` (with
``sb3_checks``) and ``sb3_policies``.
"""

from __future__ import annotations

from robo.errors import MissingExtraError

try:
    import stable_baselines3 as _installed
except ImportError as error:
    raise MissingExtraError(
        "the bridge to Stable-Baselines3 needs the package stable-baselines3, which is not "
        "installed: install robo-rewards[sb3]"
    ) from error

from robo.policies.sb3_environment import SB3Environment, sb3_vec_env
from robo.policies.sb3_policies import StateExtractor, from_sb3, policy_keywords, to_sb3
from robo.policies.sb3_relabel import RelabelCallback, newest_slots

__all__ = [
    "RelabelCallback",
    "SB3Environment",
    "StateExtractor",
    "from_sb3",
    "newest_slots",
    "policy_keywords",
    "sb3_vec_env",
    "to_sb3",
]

SB3_VERSION: str = _installed.__version__
"""The installed version."""
