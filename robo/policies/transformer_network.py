"""A transformer over camera views and state, with a query for each action of a chunk.

Patches of every view and the state are tokens; K queries come out as K actions (Zhao et al.,
"Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware", 2023, plan in such chunks),
one more as the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from robo.perception.compact_video import transformer


class TransformerNetwork(nn.Module):
    """The parts that :class:`~robo.policies.image_actor_critic.ImageActorCritic` asks for."""

    def __init__(
        self,
        images: Mapping[str, tuple[int, int, int]],
        state_dim: int,
        critic_dim: int,
        outputs: int,
        *,
        chunk: int,
        size: int,
        depth: int,
        patch: int,
        seed: int,
    ) -> None:
        """Draw the initial weights from ``seed``.

        Args:
            images: name to (C, H, W); may be empty.
            state_dim: width of the state; 0 leaves its token out.
            critic_dim: what only the critic reads.
            outputs: width of the actor's output, a multiple of ``chunk``.
            chunk: actions per plan, K.
            size: width of the tokens, a multiple of 32.
            depth: layers.
            patch: height and width of an image token, pixels.
            seed: of the weights.
        """
        super().__init__()
        self.chunk, self.size = chunk, size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.ModuleList(
                nn.Conv2d(channels, size, patch, patch) for channels, _, _ in images.values()
            )
            self.place = nn.ParameterList(
                nn.Parameter(0.02 * torch.randn((height // patch) * (width // patch), size))
                for _, height, width in images.values()
            )
            self.state = None
            if state_dim:
                layers = (nn.Linear(state_dim, size), nn.GELU(), nn.Linear(size, size))
                self.state = nn.Sequential(*layers)
            self.queries = nn.Parameter(0.5 * torch.randn(chunk + 1, size))
            self.layers = transformer(size, depth, max(size // 32, 1))
            self.actor_head = nn.Sequential(
                nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, outputs // chunk)
            )
            self.critic_head = nn.Sequential(
                nn.Linear(size + critic_dim, size), nn.GELU(), nn.Linear(size, 1)
            )
        last = self.actor_head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():  # near the middle of the range before any learning
            last.weight.mul_(0.05)
            last.bias.zero_()

    def features(self, images: Sequence[Tensor], state: Tensor) -> Tensor:
        """Outputs of the queries, ``[B, (K+1) * size]``."""
        tokens = [] if self.state is None else [self.state(state)[:, None]]
        for image, embed, place in zip(images, self.embed, self.place, strict=True):
            tokens.append(embed(image).flatten(2).transpose(1, 2) + place)
        queries = self.queries.expand(len(state), -1, -1)
        out = self.layers(torch.cat([queries, *tokens], 1))
        return out[:, : self.chunk + 1].flatten(1)

    def actor(self, features: Tensor) -> Tensor:
        """What describes the distribution of the chunk, ``[B, outputs]``."""
        queries = features.unflatten(1, (self.chunk + 1, self.size))[:, : self.chunk]
        return self.actor_head(queries).flatten(1)

    def critic(self, features: Tensor, extra: Tensor | None) -> Tensor:
        """V ``[B]``."""
        read = features[:, -self.size :]
        if extra is not None:
            read = torch.cat([read, extra.to(read.dtype)], 1)
        return self.critic_head(read).squeeze(1)
