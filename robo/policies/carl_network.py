"""CaRL's network (arXiv 2504.17838, "roach_ln2"): images and measurements in, heads out.

Convolutions, each with LayerNorm over (C, H, W) and ReLU; a small network for the measurements;
a shared trunk; a policy head and a value head. The critic's own inputs join at the value head, so
the actor never sees them. With one 10x256x256 image, 8 measurements, 10 critic measurements and
a Beta distribution over two actions it has 1,983,541 parameters, of which none is left out here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class CarlShape:
    """Widths of one version of the network."""

    convolutions: tuple[tuple[int, int, int], ...]
    """(channels, kernel, stride) of each layer; kernels are capped to the map that they read."""
    state: int
    """Width of the two layers that read the measurements."""
    trunk: tuple[int, ...]
    """Widths of the layers that join images and measurements."""
    head: int
    """Width of the two hidden layers of each head."""


CARL = CarlShape(
    ((8, 5, 2), (16, 5, 2), (24, 5, 2), (32, 5, 2), (64, 3, 2), (128, 3, 1), (256, 3, 1)),
    state=256,
    trunk=(512, 256),
    head=256,
)
"""The published network, for 256x256 pixels."""

CARL_SMALL = CarlShape(
    ((16, 5, 2), (24, 3, 2), (32, 3, 2), (64, 3, 2)),
    state=128,
    trunk=(384, 256),
    head=256,
)
"""The same style for 64x64 pixels and CPUs, about 0.6 M parameters."""

CARL_GRID = CarlShape(
    ((16, 5, 2), (24, 3, 2), (32, 3, 2)),
    state=128,
    trunk=(256, 256),
    head=192,
)
"""As small, but its last map keeps 6x6 places of the 64x64 pixels, so that the trunk knows where a
stop line or a car is: with 2x2 places, as the other two end, lights were learned late or never."""

SHAPES: dict[str, CarlShape] = {"carl": CARL, "carl_small": CARL_SMALL, "carl_grid": CARL_GRID}
"""``NetworkConfig.kind`` to shape."""


class ImageLayerNorm(nn.Module):
    """LayerNorm over all of ``[C, H, W]``, with a weight and a bias per element.

    The weights are stored as ``[H, W, C]``: a channels_last map is then normalised where it lies,
    while ``nn.LayerNorm((C, H, W))`` would copy it to the other layout and back.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        """For maps ``[B, channels, height, width]``."""
        super().__init__()
        self.shape = (height, width, channels)
        self.weight = nn.Parameter(torch.ones(self.shape))
        self.bias = nn.Parameter(torch.zeros(self.shape))

    def forward(self, maps: Tensor) -> Tensor:
        """Normalised ``[B, C, H, W]``."""
        rows = maps.permute(0, 2, 3, 1)
        rows = nn.functional.layer_norm(rows, self.shape, self.weight, self.bias)
        return rows.permute(0, 3, 1, 2)


def convolutions(
    channels: int, height: int, width: int, shape: CarlShape, generator: torch.Generator
) -> tuple[nn.Sequential, int]:
    """The convolutions for ``[B, channels, height, width]``, and the number of features out.

    Weights are Xavier uniform with ReLU's gain, biases 0.1, as in CaRL.
    """
    layers: list[nn.Module] = []
    for outputs, largest, stride in shape.convolutions:
        kernel = (min(largest, height), min(largest, width))
        convolution = nn.Conv2d(channels, outputs, kernel, stride)
        gain = nn.init.calculate_gain("relu")
        nn.init.xavier_uniform_(convolution.weight, gain, generator=generator)
        nn.init.constant_(convolution.bias, 0.1)  # type: ignore[arg-type]
        height = (height - kernel[0]) // stride + 1
        width = (width - kernel[1]) // stride + 1
        layers += [convolution, ImageLayerNorm(outputs, height, width), nn.ReLU()]
        channels = outputs
    network = nn.Sequential(*layers, nn.Flatten()).to(memory_format=torch.channels_last)
    return network, channels * height * width


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A layer with torch's default initial weights, drawn from ``generator``."""
    layer = nn.Linear(inputs, outputs)
    bound = 1.0 / math.sqrt(inputs)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def perceptron(inputs: int, widths: Sequence[int], generator: torch.Generator) -> list[nn.Module]:
    """Linear, LayerNorm and ReLU for each of ``widths``."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [linear(inputs, width, generator), nn.LayerNorm(width), nn.ReLU()]
        inputs = width
    return layers


class CarlNetwork(nn.Module):
    """Encoders of the images (one each), trunk and heads."""

    def __init__(
        self,
        images: Mapping[str, tuple[int, int, int]],
        state_dim: int,
        critic_dim: int,
        outputs: int,
        shape: CarlShape,
        generator: torch.Generator,
    ) -> None:
        """Draw the initial weights from ``generator``.

        Args:
            images: name to (C, H, W); an encoder each.
            state_dim: number of measurements D; 0 leaves their layers out.
            critic_dim: what the critic reads beside the trunk, E numbers.
            outputs: width of the actor's last layer.
            shape: widths of all layers.
            generator: of the initial weights.
        """
        super().__init__()
        encoders = [convolutions(*size, shape, generator) for size in images.values()]
        self.encoders = nn.ModuleList(encoder for encoder, _ in encoders)
        joined = sum(features for _, features in encoders)
        self.state = None
        if state_dim:
            self.state = nn.Sequential(*perceptron(state_dim, (shape.state,) * 2, generator))
            joined += shape.state
        self.trunk = nn.Sequential(*perceptron(joined, shape.trunk, generator))
        width, hidden = shape.trunk[-1], (shape.head,) * 2
        self.actor_head = nn.Sequential(
            *perceptron(width, hidden, generator), linear(shape.head, outputs, generator)
        )
        self.critic_head = nn.Sequential(
            *perceptron(width + critic_dim, hidden, generator), linear(shape.head, 1, generator)
        )

    def features(self, images: Sequence[Tensor], state: Tensor) -> Tensor:
        """The trunk's output ``[B, W]`` for maps ``[B, C, H, W]`` in 0 ... 1 and ``[B, D]``."""
        parts = [encode(image) for encode, image in zip(self.encoders, images, strict=True)]
        if self.state is not None:
            parts.append(self.state(state))
        return self.trunk(torch.cat(parts, 1))

    def actor(self, features: Tensor) -> Tensor:
        """What describes the action distribution, ``[B, outputs]``."""
        return self.actor_head(features)

    def critic(self, features: Tensor, extra: Tensor | None) -> Tensor:
        """V ``[B]``; ``extra [B, E]`` is what only the critic knows."""
        if extra is not None:
            features = torch.cat([features, extra.to(features.dtype)], 1)
        return self.critic_head(features).squeeze(1)
