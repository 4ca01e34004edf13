"""What collectors, learners, evaluations and files need of a policy, whatever it reads."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from robo.errors import RoboError
from robo.policies import networks
from robo.policies.distributions import Categorical, DiagonalGaussian, Distribution
from robo.policies.learner_config import NetworkConfig
from robo.policies.normalise import RunningNormaliser


class Policy(nn.Module):
    """An actor and a critic over one Dict observation, with ``state [D]`` in it.

    The critic may read more than the actor: entry ``critic_state`` of the observation, where the
    kind of network reads it, and ``critic_feature_dim`` numbers that the reward gives out.
    """

    log_std: nn.Parameter | None
    """Logarithm of the standard deviation ``[A]``; None where the distribution has none."""
    chunk: int = 1
    """Actions that one call of :meth:`act` plans, for as many steps; they come joined."""

    def __init__(
        self,
        observation_space: gymnasium.spaces.Dict,
        action_space: gymnasium.Space,
        config: NetworkConfig | None = None,
        critic_feature_dim: int = 0,
    ) -> None:
        """For spaces of a single environment.

        Raises:
            RoboError: where the spaces are not a Dict with a 1-D ``state`` Box, and a 1-D Box
                or a Discrete.
        """
        super().__init__()
        self.config = config or NetworkConfig()
        self.observation_space = observation_space
        self.action_space = action_space
        self.critic_feature_dim = critic_feature_dim
        self.state_dim = state_dim(observation_space)
        self.chunk = self.config.chunk
        self.distribution: Distribution = make_distribution(action_space, self.config)
        self.normaliser = RunningNormaliser(self.state_dim)
        self.log_std = None
        if isinstance(self.distribution, DiagonalGaussian):
            start = torch.full((self.distribution.size,), math.log(self.config.initial_std))
            self.log_std = nn.Parameter(start)
        self._flat: Tensor | None = None
        self._seen_log_std: tuple[int, np.ndarray] | None = None

    @property
    def flat(self) -> Tensor:
        """All trained parameters as one vector of which they are views."""
        self._flat = networks.flat_parameters(self, self._flat)
        return self._flat

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that a learner changes, in the order of :attr:`flat`."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """Names of the observation entries that actor or critic read."""

    # ------------------------------------------------------------------ acting

    @abstractmethod
    def actor_output(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """What describes the action distribution, ``[N, distribution.size]``.

        Raises:
            RoboError: where the observation has another size.
        """

    def act(
        self,
        observation: dict[str, np.ndarray],
        generator: np.random.Generator,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose an action per environment.

        What is returned is what the policy drew, and what a learner must store: continuous
        actions are *not* clipped here, so that their log probability is exact. Environments get
        :meth:`environment_action` of it.

        Args:
            observation: key to array ``[N, ...]``.
            generator: draws the noise.
            deterministic: take the mean, or the likeliest choice.

        Returns:
            Action, float32 ``[N, A]`` or int64 ``[N]``, and its log probability, float32 ``[N]``.

        Raises:
            RoboError: where the observation has another size, or an action is NaN or infinite.
        """
        output = self.actor_output(observation)
        log_std = self._log_std_now()
        if deterministic:
            action, log_prob = self.distribution.mode(output, log_std)
        else:
            action, log_prob = self.distribution.sample(output, log_std, generator)
        # A diverged mean shows in the action, diverged logits in the log probability. Sums of
        # squares are the quicker look; one that overflows calls for the exact one.
        if not math.isfinite(np.vdot(action, action) + np.vdot(log_prob, log_prob)):
            self._check_finite(observation["state"], action, log_prob)
        return action, log_prob

    def _log_std_now(self) -> np.ndarray | None:
        """``log_std [A]``; on a CPU a view kept from the last call."""
        # Fetching it takes longer than a layer of a small network, and looking up self.log_std,
        # an attribute of a module, is slow too.
        parameter = self._parameters.get("log_std")
        if parameter is None:
            return None
        if parameter.device.type != "cpu":
            return parameter.detach().cpu().numpy()
        where = parameter.data_ptr()
        if self._seen_log_std is None or self._seen_log_std[0] != where:
            self._seen_log_std = where, parameter.detach().numpy()
        return self._seen_log_std[1]

    def environment_action(self, action: np.ndarray) -> np.ndarray:
        """What the environment gets for ``action [N, ...]`` of :meth:`act`.

        Continuous actions are clipped to the space; discrete ones are counted from its start. A
        chunk stays joined, ``[N, chunk * A]``: its parts follow each other.
        """
        space = self.action_space
        if isinstance(space, gymnasium.spaces.Discrete):
            return action + int(space.start)
        assert isinstance(space, gymnasium.spaces.Box)
        if self.chunk > 1:
            low, high = (np.tile(bound, self.chunk) for bound in (space.low, space.high))
            return np.clip(action, low, high).astype(space.dtype, copy=False)
        return np.minimum(np.maximum(action, space.low), space.high).astype(space.dtype, copy=False)

    def _wrong_size(self, shape: tuple[int, ...]) -> str:
        return (
            f"this policy reads observation['state'] of shape [N, {self.state_dim}], but got "
            f"{list(shape)}: it was made for another task or another version of it"
        )

    def _check_finite(self, state: np.ndarray, action: np.ndarray, log_prob: np.ndarray) -> None:
        finite = np.isfinite(action).reshape(len(action), -1).all(1) & np.isfinite(log_prob)
        if not finite.all():
            raise RoboError(self._not_finite(state, finite))

    @staticmethod
    def _not_finite(state: np.ndarray, finite: np.ndarray) -> str:
        env = int(np.flatnonzero(~finite)[0])
        if not np.isfinite(state[env]).all():
            return (
                f"observation['state'] of environment {env} holds NaN or infinity, so the policy "
                "has no action for it: look at the simulator or sensor that made it"
            )
        return (
            f"the policy's action for environment {env} is NaN or infinite: its parameters have "
            "diverged; go back to an earlier checkpoint and lower the learning rate"
        )

    # ------------------------------------------------------------------ learning

    @abstractmethod
    def value(
        self, observation: dict[str, Tensor], critic_features: Tensor | None = None
    ) -> Tensor:
        """V of observations ``[..., entry]`` with critic features ``[..., C]``, ``[...]``."""

    @abstractmethod
    def evaluate(
        self,
        observation: dict[str, Tensor],
        action: Tensor,
        critic_features: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log probability of ``action``, entropy and value, ``[...]`` each, with gradients."""

    def observe(self, observation: dict[str, Tensor], valid: Tensor | None) -> None:
        """Take observations ``[T, N, ...]`` into the running statistics, those of all ranks.

        ``valid`` bool ``[T, N]`` says which count; None is all.
        """
        state = observation["state"]
        self.normaliser.update(state if valid is None else state[valid], distributed=True)

    def check_features(self, critic_features: Tensor | None) -> None:
        """Refuse critic features ``[..., C]`` of another width than ``critic_feature_dim``.

        Raises:
            RoboError: naming both widths.
        """
        width = 0 if critic_features is None else int(critic_features.shape[-1])
        if width != self.critic_feature_dim:
            raise RoboError(
                f"this critic reads {self.critic_feature_dim} features from the reward, but got "
                f"{width}: build the policy with critic_feature_dim of the reward it trains on"
            )

    # ------------------------------------------------------------------ files

    def save(self, folder: str | Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json`` to ``folder``, atomically."""
        from robo.policies.policy_files import save_policy

        save_policy(self, Path(folder))


def state_dim(space: Any) -> int:
    """Width D of ``state`` in a Dict observation space.

    Raises:
        RoboError: where there is none, or it is not a vector.
    """
    state = space.spaces.get("state") if isinstance(space, gymnasium.spaces.Dict) else None
    if not isinstance(state, gymnasium.spaces.Box) or len(state.shape) != 1:
        raise RoboError(
            f"policies read a Dict observation space whose 'state' is a vector, not {space}"
        )
    return state.shape[0]


def make_distribution(space: gymnasium.Space, config: NetworkConfig) -> Distribution:
    """The action distribution that ``config`` asks for.

    Raises:
        RoboError: where the space is no 1-D Box or Discrete, or Beta is asked for unbounded
            actions.
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return Categorical(int(space.n))
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise RoboError(f"policies act in a 1-D Box or a Discrete space, not {space}: wrap it")
    if config.bins:
        from robo.policies.binned import Binned

        low, high = (np.tile(bound, config.chunk) for bound in (space.low, space.high))
        return Binned(low, high, config.bins, config.temperature)
    bounded = bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())
    choice = config.distribution
    if choice == "auto":
        choice = "beta" if config.kind.startswith("carl") and bounded else "gaussian"
    if choice == "gaussian":
        return DiagonalGaussian(space.shape[0] * config.chunk)
    from robo.policies.beta import Beta

    return Beta(space.low, space.high)
