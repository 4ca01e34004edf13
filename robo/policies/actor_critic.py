"""The actor-critic over states: two MLPs.

Acting runs in numpy on views of the parameters: for small networks torch's dispatch costs more
than the arithmetic. Learning runs through :meth:`ActorCritic.evaluate` (autograd) or, for tanh
networks on a CPU, through ``robo.policies.fast_mlp``.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.policies import networks
from robo.policies.learner_config import NetworkConfig
from robo.policies.policy import Policy


class ActorCritic(Policy):
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
                or a Discrete, ``state`` is empty, or ``config`` is of a network that reads images.
        """
        super().__init__(observation_space, action_space, config, critic_feature_dim)
        if self.config.kind != "mlp":
            raise RoboError(
                f"network kind {self.config.kind!r} reads images, ActorCritic is the mlp: build "
                "it by robo.policies.policy_files.make_policy"
            )
        if not self.state_dim:
            raise RoboError(
                "network kind 'mlp' reads the vector 'state', but the observation's is empty "
                f"beside {sorted(set(observation_space.spaces) - {'state'})}: choose "
                "--network.kind carl_small, which reads images"
            )
        draw = torch.Generator().manual_seed(seed)
        hidden, activation = self.config.hidden, self.config.activation
        inputs = self.state_dim
        self.actor = networks.mlp((inputs, *hidden, self.distribution.size), activation, 0.01, draw)
        self.critic = networks.mlp((inputs + critic_feature_dim, *hidden, 1), activation, 1.0, draw)
        # Kept because walking the modules for them takes longer than a small forward pass.
        self._actor_parameters = list(self.actor.parameters())
        self._acting_key: tuple[int, ...] | None = None
        self._acting_layers: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the observation entries that the policy reads."""
        return ("state",)

    # ------------------------------------------------------------------ acting (numpy)

    def actor_output(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """What describes the action distribution, ``[N, distribution.size]``."""
        state = observation["state"]
        if state.ndim != 2 or state.shape[1] != self.state_dim:
            raise RoboError(self._wrong_size(state.shape))
        inputs = self.normaliser.numpy(state)
        return networks.forward_numpy(self._layers(), self.config.activation, inputs)

    def _layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        parameters = self._actor_parameters
        if parameters[0].device.type == "cpu":
            # They move together: all are views of one vector.
            key: tuple[int, ...] = (parameters[0].data_ptr(), parameters[-1].data_ptr())
        else:
            # Copies, not views: fetched again after every in-place change.
            key = tuple(parameter._version for parameter in parameters)
        if key != self._acting_key:
            self._acting_layers = networks.numpy_layers(self.actor)
            self._acting_key = key
        return self._acting_layers

    # ------------------------------------------------------------------ learning (torch)

    def critic_inputs(self, state: Tensor, critic_features: Tensor | None) -> Tensor:
        """Normalised state ``[..., D]`` and features ``[..., C]`` joined, ``[..., D + C]``.

        Raises:
            RoboError: where the features' width is not ``critic_feature_dim``.
        """
        self.check_features(critic_features)
        if state.shape[-1] != self.state_dim:
            raise RoboError(self._wrong_size(tuple(state.shape)))
        inputs = self.normaliser(state, self._actor_parameters[0].dtype)
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

    @classmethod
    def load(cls, folder: str | Path) -> ActorCritic:
        """Read what :meth:`save` wrote, of whatever kind the saved network is.

        Raises:
            CheckpointError: where a file is missing, damaged or of another shape.
        """
        from robo.policies.policy_files import load_policy

        return load_policy(Path(folder))  # type: ignore[return-value]
