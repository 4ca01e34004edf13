"""The actor-critic over images and state: CaRL's network in its two sizes.

Images stay uint8 wherever they are kept and become floats in 0 ... 1, channels last in memory,
chunk by chunk as the network reads them. Acting and learning run the same layers in the same
precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from robo.errors import RoboError
from robo.policies.beta import Beta
from robo.policies.carl_network import SHAPES, CarlNetwork
from robo.policies.image_layout import channels_first, image_shapes
from robo.policies.learner_config import NetworkConfig
from robo.policies.normalise import RunningNormaliser
from robo.policies.policy import Policy
from robo.precision import multiplies_bfloat16


class ImageActorCritic(Policy):
    """Reads every image of the observation, ``state``, and for the critic ``critic_state``.

    Images are uint8 entries of three axes: ``views/<camera>`` ``[H, W, 3]``, ``birdseye``
    ``[C, H, W]``, others as :mod:`robo.policies.image_layout` decides. The value head also reads
    ``critic_state [E]``, where the observation has it, and the critic features of the reward; the
    actor sees neither.
    """

    needs_images = True
    """Whether an observation without images is refused."""

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
            RoboError: where the spaces do not fit, or hold no image.
        """
        config = config or NetworkConfig(kind="carl_small")
        super().__init__(observation_space, action_space, config, critic_feature_dim)
        self.images = image_shapes(observation_space)
        if not self.images and self.needs_images:
            raise RoboError(
                f"network kind {config.kind!r} reads images, but the observation has only "
                f"{sorted(observation_space.spaces)}: choose --network.kind mlp or ask the "
                "environment for a birdseye or camera views"
            )
        extra = observation_space.spaces.get("critic_state")
        self.critic_state_dim = 0 if extra is None else int(np.prod(extra.shape or (1,)))
        self.critic_normaliser = RunningNormaliser(self.critic_state_dim)
        self.network = self._make_network(seed)
        if config.initial_action is not None:
            self._start_from(np.asarray(config.initial_action, np.float32))
        # Not bound to self: copies of the policy must act with their own parameters.
        self._act: Callable[..., Tensor] = ImageActorCritic._actor

    def _make_network(self, seed: int) -> Any:
        return CarlNetwork(
            self.images,
            self.state_dim,
            self.critic_state_dim + self.critic_feature_dim,
            self.distribution.size,
            SHAPES[self.config.kind],
            torch.Generator().manual_seed(seed),
        )

    def _start_from(self, mean: np.ndarray) -> None:
        """Let the policy begin with actions around ``mean [A]``.

        Raises:
            RoboError: a distribution without bounds, or a mean that it cannot have.
        """
        if not isinstance(self.distribution, Beta):
            raise RoboError(
                f"initial_action {mean.tolist()} is for the beta distribution; set "
                "--network.distribution beta or leave it out"
            )
        last = self.network.actor_head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.copy_(self.distribution.output_of_mean(mean))

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the observation entries that actor or critic read."""
        extra = ("critic_state",) if self.critic_state_dim else ()
        return (*self.images, "state", *extra)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def reduced(self) -> bool:
        """Whether the layers run in bfloat16: asked for, and multiplied by this device itself."""
        return self.config.precision == "bfloat16" and multiplies_bfloat16(self.device)

    def autocast(self) -> torch.autocast:
        """The context in which the layers run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.reduced)

    def compile_acting(self) -> None:
        """Run the actor through torch.compile from now on; by CUDA graphs on a GPU."""
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        self._act = torch.compile(ImageActorCritic._actor, mode=mode)

    # ------------------------------------------------------------------ acting

    def actor_output(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """What describes the action distribution, float ``[N, distribution.size]``."""
        state = np.asarray(observation["state"])
        if state.ndim != 2 or state.shape[1] != self.state_dim:
            raise RoboError(self._wrong_size(state.shape))
        device = self.device
        with torch.inference_mode():
            inputs = {key: _tensor(observation[key]).to(device) for key in (*self.images, "state")}
            self._check_images(inputs)
            output = self._act(self, inputs)
            return output.to(dtype=torch.promote_types(output.dtype, torch.float32)).cpu().numpy()

    def _actor(self, observation: dict[str, Tensor]) -> Tensor:
        """The actor's output ``[B, size]`` of tensors ``[B, ...]`` on the policy's device."""
        with self.autocast():
            return self.network.actor(self._features(observation))

    def _check_images(self, observation: dict[str, Tensor]) -> None:
        for name in self.images:
            wanted = self.observation_space.spaces[name].shape
            if tuple(observation[name].shape[1:]) != wanted:
                raise RoboError(
                    f"this policy reads observation[{name!r}] of shape [N, *{wanted}], but got "
                    f"{list(observation[name].shape)}: it was made for another task or size"
                )

    def _features(self, observation: dict[str, Tensor]) -> Tensor:
        dtype = next(self.parameters()).dtype
        maps = torch.bfloat16 if self.reduced else dtype
        images = []
        for name in self.images:
            image = channels_first(name, observation[name])
            # 0 ... 255 is exact in bfloat16 too.
            floats = image.to(maps, memory_format=torch.channels_last)
            images.append(floats.mul_(1.0 / 255.0))
        return self.network.features(images, self.normaliser(observation["state"], dtype))

    # ------------------------------------------------------------------ learning

    def outputs(
        self, observation: dict[str, Tensor], critic_features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The actor's output ``[B, size]`` and V ``[B]``, for observations ``[B, ...]``.

        Raises:
            RoboError: where the features' width is not ``critic_feature_dim``.
        """
        self.check_features(critic_features)
        dtype = next(self.parameters()).dtype
        extra = [] if critic_features is None else [critic_features.to(dtype)]
        if self.critic_state_dim:
            known = observation["critic_state"].flatten(1)
            extra.insert(0, self.critic_normaliser(known, dtype))
        with self.autocast():
            features = self._features(observation)
            output = self.network.actor(features)
            value = self.network.critic(features, torch.cat(extra, 1) if extra else None)
        return output.to(dtype), value.to(dtype)

    def value(
        self, observation: dict[str, Tensor], critic_features: Tensor | None = None
    ) -> Tensor:
        """V of observations ``[..., entry]`` with critic features ``[..., C]``, ``[...]``."""
        shape = observation["state"].shape[:-1]
        flat = self._flatten(observation, len(shape))
        features = None if critic_features is None else critic_features.flatten(0, len(shape) - 1)
        return self.outputs(flat, features)[1].reshape(shape)

    def evaluate(
        self,
        observation: dict[str, Tensor],
        action: Tensor,
        critic_features: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log probability of ``action``, entropy and value, ``[...]`` each, with gradients."""
        shape = observation["state"].shape[:-1]
        last = len(shape) - 1
        features = None if critic_features is None else critic_features.flatten(0, last)
        output, value = self.outputs(self._flatten(observation, len(shape)), features)
        log_prob = self.distribution.log_prob(output, self.log_std, action.flatten(0, last))
        entropy = self.distribution.entropy(output, self.log_std)
        return log_prob.reshape(shape), entropy.reshape(shape), value.reshape(shape)

    def _flatten(self, observation: dict[str, Tensor], leading: int) -> dict[str, Tensor]:
        return {key: observation[key].flatten(0, leading - 1) for key in self.keys}

    def observe(self, observation: dict[str, Tensor], valid: Tensor | None) -> None:
        """Take ``state`` and ``critic_state`` into the running statistics."""
        super().observe(observation, valid)
        if self.critic_state_dim:
            known = observation["critic_state"]
            known = known if valid is None else known[valid]
            self.critic_normaliser.update(
                known.reshape(-1, self.critic_state_dim), distributed=True
            )


def _tensor(array: Any) -> Tensor:
    array = np.asarray(array)
    # torch warns about memory that it may not write to.
    return torch.from_numpy(array if array.flags.writeable else array.copy())
