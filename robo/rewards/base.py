"""The ``Reward`` protocol: a function of a whole rollout, computed before the advantage."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from robo.rollout import CameraSchedule, RewardTerms, Rollout


@runtime_checkable
class Reward(Protocol):
    """Anything that turns a rollout into one reward per step.

    Rewards keep what they need of episodes that stay open across rollouts, and give it out with
    :meth:`state_dict`, so that a resumed run is exact.
    """

    camera: CameraSchedule | None
    """Frames that it reads; None where it reads none."""
    signals: tuple[str, ...]
    """Names of the rollout's signals that it reads."""
    critic_feature_dim: int
    """Size C of the critic features that it returns; 0 for none."""
    gamma: float | None
    """Discount that it assumes; None for any. A learner refuses another one."""
    timeout: str | None
    """"bootstrap", "keep", or None for either. A learner refuses another one."""

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards ``[T, N]`` of every step, with all named terms."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What open episodes need: tensors, numbers, strings.

        So that a run may go on with another number of processes: beside ``episode``, int64
        ``[N]`` (ids of the environments' episodes), every tensor, and every one in ``values``,
        has the N environments on its first axis. Under ``open``, ``episode`` int64 ``[K]`` says
        whose each of K rows is. Whatever else is there belongs to no single environment.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        ...
