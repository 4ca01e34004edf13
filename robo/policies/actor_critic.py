"""The actor-critic: a policy and a value function over one Dict observation.

Acting runs in numpy on views of the parameters: for small networks torch's dispatch costs more
than the arithmetic. Learning runs through :meth:`ActorCritic.evaluate` (autograd) or, for tanh
networks on a CPU, through ``robo.policies.fast_mlp``.
"""

from __future__ import annotations

import math
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


class ActorCritic(nn.Module):
    """Separate actor and critic MLPs that read ``observation["state"]``.

    The critic may also read ``critic_feature_dim`` numbers that the reward gives out (a held
    potential, say); the actor never sees them.
    """

    def __init__(
        self,
        observation_space: gymnasium.spaces.Dict,
        action_space: gymnasium.Space,
        config: NetworkConfig | None = None,
        critic_feature_dim: int = 0,
        seed: int = 0,
    ) -> None:
        """Build for spaces of a single environment; ``seed`` draws the initial weights.

        Raises:
            RoboError: where the spaces are not a Dict with a 1-D ``state`` Box, and a 1-D Box
                or a Discrete.
        """
        super().__init__()
        self.config = config or NetworkConfig()
        self.observation_space = observation_space
        self.action_space = action_space
        self.critic_feature_dim = critic_feature_dim
        self.state_dim = _state_dim(observation_space)
        self.distribution: Distribution = _distribution(action_space)
        self.normaliser = RunningNormaliser(self.state_dim)
        draw = torch.Generator().manual_seed(seed)
        hidden, activation = self.config.hidden, self.config.activation
        inputs = self.state_dim
        self.actor = networks.mlp((inputs, *hidden, self.distribution.size), activation, 0.01, draw)
        self.critic = networks.mlp((inputs + critic_feature_dim, *hidden, 1), activation, 1.0, draw)
        self.log_std: nn.Parameter | None = None
        if isinstance(self.distribution, DiagonalGaussian):
            start = torch.full((self.distribution.size,), math.log(self.config.initial_std))
            self.log_std = nn.Parameter(start)
        self._flat: Tensor | None = None
        # Kept because walking the modules for them takes longer than a small forward pass.
        self._actor_parameters = list(self.actor.parameters())
        self._acting_key: tuple[int, ...] | None = None
        self._acting_layers: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def flat(self) -> Tensor:
        """All parameters as one vector of which they are views."""
        self._flat = networks.flat_parameters(self, self._flat)
        return self._flat

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the observation entries that the policy reads."""
        return ("state",)

    # ------------------------------------------------------------------ acting (numpy)

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
            deterministic: take the mode (the mean, or the likeliest choice).

        Returns:
            Action, float32 ``[N, A]`` or int64 ``[N]``, and its log probability, float32 ``[N]``.

        Raises:
            RoboError: where the observation has another size, or an action is NaN or infinite.
        """
        state = observation["state"]
        if state.ndim != 2 or state.shape[1] != self.state_dim:
            raise RoboError(self._wrong_size(state.shape))
        inputs = self.normaliser.numpy(state)
        output = networks.forward_numpy(self._layers(), self.config.activation, inputs)
        log_std = None if self.log_std is None else self.log_std.detach().cpu().numpy()
        if deterministic:
            action, log_prob = self.distribution.mode(output, log_std)
        else:
            action, log_prob = self.distribution.sample(output, log_std, generator)
        # A diverged mean shows in the action, diverged logits in the log probability.
        if not (np.isfinite(log_prob).all() and np.isfinite(action).all()):
            raise RoboError(self._not_finite(state, action, log_prob))
        return action, log_prob

    def environment_action(self, action: np.ndarray) -> np.ndarray:
        """What the environment gets for ``action [N, ...]`` of :meth:`act`.

        Continuous actions are clipped to the space; discrete ones are counted from its start.
        """
        space = self.action_space
        if isinstance(space, gymnasium.spaces.Discrete):
            return action + int(space.start)
        assert isinstance(space, gymnasium.spaces.Box)
        return np.minimum(np.maximum(action, space.low), space.high).astype(space.dtype, copy=False)

    def _layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        parameters = self._actor_parameters
        if parameters[0].device.type == "cpu":
            key = tuple(parameter.data_ptr() for parameter in parameters)
        else:
            # Copies, not views: fetched again after every in-place change.
            key = tuple(parameter._version for parameter in parameters)
        if key != self._acting_key:
            self._acting_layers = networks.numpy_layers(self.actor)
            self._acting_key = key
        return self._acting_layers

    def _wrong_size(self, shape: tuple[int, ...]) -> str:
        return (
            f"this policy reads observation['state'] of shape [N, {self.state_dim}], but got "
            f"{list(shape)}: it was made for another task or another version of it"
        )

    def _not_finite(self, state: np.ndarray, action: np.ndarray, log_prob: np.ndarray) -> str:
        finite = np.isfinite(action).reshape(len(action), -1).all(1) & np.isfinite(log_prob)
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

    # ------------------------------------------------------------------ learning (torch)

    def critic_inputs(self, state: Tensor, critic_features: Tensor | None) -> Tensor:
        """Normalised state ``[..., D]`` and features ``[..., C]`` joined, ``[..., D + C]``.

        Raises:
            RoboError: where the features' width is not ``critic_feature_dim``.
        """
        width = 0 if critic_features is None else int(critic_features.shape[-1])
        if width != self.critic_feature_dim:
            raise RoboError(
                f"this critic reads {self.critic_feature_dim} features from the reward, but got "
                f"{width}: build the policy with critic_feature_dim of the reward it trains on"
            )
        if state.shape[-1] != self.state_dim:
            raise RoboError(self._wrong_size(tuple(state.shape)))
        inputs = self.normaliser(state)
        if critic_features is None:
            return inputs
        return torch.cat([inputs, critic_features.to(inputs)], -1)

    def value(
        self, observation: dict[str, Tensor], critic_features: Tensor | None = None
    ) -> Tensor:
        """V of states ``[..., D]`` with critic features ``[..., C]``, ``[...]``."""
        return self.critic(self.critic_inputs(observation["state"], critic_features)).squeeze(-1)

    def evaluate(
        self,
        observation: dict[str, Tensor],
        action: Tensor,
        critic_features: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log probability of ``action``, entropy and value, ``[...]`` each, with gradients."""
        inputs = self.critic_inputs(observation["state"], critic_features)
        return self.evaluate_inputs(inputs, action)

    def evaluate_inputs(self, inputs: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same from :meth:`critic_inputs`, of which the actor reads the first part."""
        output = self.actor(inputs[..., : self.state_dim])
        log_prob = self.distribution.log_prob(output, self.log_std, action)
        entropy = self.distribution.entropy(output, self.log_std)
        return log_prob, entropy, self.critic(inputs).squeeze(-1)

    # ------------------------------------------------------------------ files

    def save(self, folder: str | Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json`` to ``folder``, atomically."""
        from robo.policies.policy_files import save_policy

        save_policy(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> ActorCritic:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: where a file is missing, damaged or of another shape.
        """
        from robo.policies.policy_files import load_policy

        return load_policy(Path(folder))


def _state_dim(space: Any) -> int:
    state = space.spaces.get("state") if isinstance(space, gymnasium.spaces.Dict) else None
    if not isinstance(state, gymnasium.spaces.Box) or len(state.shape) != 1:
        raise RoboError(
            f"policies read a Dict observation space whose 'state' is a vector, not {space}"
        )
    return state.shape[0]


def _distribution(space: gymnasium.Space) -> Distribution:
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        return DiagonalGaussian(space.shape[0])
    if isinstance(space, gymnasium.spaces.Discrete):
        return Categorical(int(space.n))
    raise RoboError(f"policies act in a 1-D Box or a Discrete space, not {space}: wrap it")
