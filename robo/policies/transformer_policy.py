"""The multi-view transformer policy: images and state in, chunks of actions out."""

from __future__ import annotations

from typing import Any

from robo.errors import RoboError
from robo.policies.image_actor_critic import ImageActorCritic
from robo.policies.transformer_network import TransformerNetwork


class TransformerPolicy(ImageActorCritic):
    """Plans ``config.chunk`` actions from one look; continuous, or binned with a temperature.

    Reads every ``views/<camera>`` of the observation (none is fine too) and ``state``.
    """

    needs_images = False

    def _make_network(self, seed: int) -> Any:
        config = self.config
        for name, (_, height, width) in self.images.items():
            if height % config.patch or width % config.patch:
                raise RoboError(
                    f"observation[{name!r}] is {height}x{width} pixels, which tokens of "
                    f"{config.patch}x{config.patch} do not divide: set --network.patch"
                )
        return TransformerNetwork(
            self.images,
            self.state_dim,
            self.critic_state_dim + self.critic_feature_dim,
            self.distribution.size,
            chunk=config.chunk,
            size=config.size,
            depth=config.depth,
            patch=config.patch,
            seed=seed,
        )
