"""What CaRL's network is measured against: a plain PyTorch PPO loop, and its convolutions alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = ((8, 5, 2), (16, 5, 2), (24, 5, 2), (32, 5, 2), (64, 3, 2), (128, 3, 1), (256, 3, 1))
"""(channels, kernel, stride), from CaRL's paper (arXiv 2504.17838) and released network."""
STATE, CRITIC_STATE, ACTIONS = 8, 10, 2
Shape = tuple[int, int, int, int, int]
"""(channels in, channels out, kernel, stride, size of the square map that it reads)."""


def layers(channels: int, size: int) -> list[Shape]:
    """The convolutions for ``[channels, size, size]``."""
    found = []
    for outputs, kernel, stride in CONVOLUTIONS:
        found.append((channels, outputs, kernel, stride, size))
        channels, size = outputs, (size - kernel) // stride + 1
    return found


class PlainNetwork(nn.Module):
    """CaRL's network as one writes it down: LayerNorm([C, H, W]), float32, NCHW."""

    def __init__(self, channels: int, size: int) -> None:
        """For one image ``[channels, size, size]``."""
        super().__init__()
        parts: list[nn.Module] = []
        for inputs, outputs, kernel, stride, width in layers(channels, size):
            out = (width - kernel) // stride + 1
            parts += [nn.Conv2d(inputs, outputs, kernel, stride), nn.LayerNorm([outputs, out, out])]
            parts.append(nn.ReLU())
            flat = outputs * out * out
        self.encoder = nn.Sequential(*parts, nn.Flatten())
        self.state = _perceptron(STATE, 256, 256)
        self.trunk = _perceptron(flat + 256, 512, 256)
        self.actor = nn.Sequential(_perceptron(256, 256, 256), nn.Linear(256, 2 * ACTIONS))
        self.critic = nn.Sequential(_perceptron(256 + CRITIC_STATE, 256, 256), nn.Linear(256, 1))

    def forward(self, image: Tensor, state: Tensor, extra: Tensor) -> tuple[Any, Tensor]:
        """Beta distribution over the actions, and V ``[B]``."""
        features = self.encoder(image.float() / 255.0)
        trunk = self.trunk(torch.cat([features, self.state(state)], 1))
        alpha, beta = (nn.functional.softplus(self.actor(trunk)) + 1.0).chunk(2, 1)
        value = self.critic(torch.cat([trunk, extra], 1)).squeeze(1)
        return torch.distributions.Beta(alpha, beta), value


def _perceptron(*widths: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        parts += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU()]
    return nn.Sequential(*parts)


class PlainLoop:
    """One PPO update as CleanRL or CaRL's Python code does it: no grad values, GAE, minibatches."""

    def __init__(self, channels: int, size: int, device: str) -> None:
        """A fresh network and Adam."""
        torch.manual_seed(0)
        self.network = PlainNetwork(channels, size).to(device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), 2.5e-4, eps=1e-5)
        self.device = device

    def update(self, data: dict[str, Tensor], minibatch: int, epochs: int) -> None:
        """Learn from ``data``, each ``[B, ...]`` but ``reward`` and ``done``, ``[T, N]``."""
        reward, done = data["reward"], data["done"].float()
        count = reward.numel()
        with torch.no_grad():
            parts = [self._values(data, rows) for rows in torch.arange(count).split(minibatch)]
            value = torch.cat(parts).reshape(reward.shape)
            advantage, last = torch.zeros_like(reward), torch.zeros_like(reward[0])
            following = value[-1]
            for t in reversed(range(len(reward))):
                delta = reward[t] + 0.99 * following * (1 - done[t]) - value[t]
                last = delta + 0.99 * 0.95 * (1 - done[t]) * last
                advantage[t], following = last, value[t]
        flat = {"advantage": advantage.flatten(), "value": value.flatten()}
        flat["target"] = flat["advantage"] + flat["value"]
        for _ in range(epochs):
            for rows in torch.randperm(count).split(minibatch):
                self._step(data, flat, rows)

    def _values(self, data: dict[str, Tensor], rows: Tensor) -> Tensor:
        return self.network(*self._inputs(data, rows))[1]

    def _inputs(self, data: dict[str, Tensor], rows: Tensor) -> list[Tensor]:
        names = ("birdseye", "state", "critic_state")
        return [data[name][rows].to(self.device) for name in names]

    def _step(self, data: dict[str, Tensor], flat: dict[str, Tensor], rows: Tensor) -> None:
        distribution, value = self.network(*self._inputs(data, rows))
        action = ((data["action"][rows].to(self.device) + 1) / 2).clamp(1e-7, 1 - 1e-7)
        ratio = (distribution.log_prob(action).sum(1) - data["log_prob"][rows]).exp()
        advantage = flat["advantage"][rows]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        surrogate = torch.min(advantage * ratio, advantage * ratio.clamp(0.9, 1.1))
        old, target = flat["value"][rows], flat["target"][rows]
        clipped = old + (value - old).clamp(-0.1, 0.1)
        error = torch.max((value - target).square(), (clipped - target).square()).mean()
        loss = -surrogate.mean() + 0.5 * error - 0.01 * distribution.entropy().sum(1).mean()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 0.5)
        self.optimiser.step()


def convolution_limit(
    channels: int, size: int, batch: int, repeats: int = 3, device: str = "cpu"
) -> dict[str, Any]:
    """Seconds per frame of the convolutions alone, each in its best precision and layout.

    Args:
        channels: of the image.
        size: its height and width.
        batch: frames at a time.
        repeats: the fastest of so many counts.
        device: where they run.

    Returns:
        ``forward`` and ``both`` (forward and backward) in seconds per frame, and per layer what
        was best. The first layer's gradient by its input is not needed and not computed.
    """
    total = {"forward": 0.0, "both": 0.0}
    best: list[dict[str, Any]] = []
    for index, shape in enumerate(layers(channels, size)):
        for kind in total:
            tried = {
                (precision, layout): _time_layer(
                    shape, batch, precision, layout, kind == "both", index > 0, repeats, device
                )
                for precision in ("float32", "bfloat16")
                for layout in ("channels_first", "channels_last")
            }
            choice = min(tried, key=lambda key: tried[key])
            total[kind] += tried[choice] / batch
            best.append({"layer": index, "pass": kind, "best": choice, "seconds": tried[choice]})
    return {**total, "layers": best}


def _time_layer(
    shape: Shape,
    batch: int,
    precision: str,
    layout: str,
    backward: bool,
    input_gradient: bool,
    repeats: int,
    device: str,
) -> float:
    """Fastest of ``repeats`` runs of one convolution."""
    inputs, outputs, kernel, stride, size = shape
    dtype = getattr(torch, precision)
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    layer = nn.Conv2d(inputs, outputs, kernel, stride).to(device, dtype).to(memory_format=order)
    maps = torch.rand(batch, inputs, size, size, device=device).to(dtype)
    maps = maps.contiguous(memory_format=order).requires_grad_(backward and input_gradient)

    def run() -> None:
        with torch.set_grad_enabled(backward):
            out = layer(maps)
        if backward:
            out.backward(torch.ones_like(out))

    return min(timed([run] * (repeats + 1), device)[1:])


def timed(calls: Sequence[Callable[[], Any]], device: str) -> list[float]:
    """Wall seconds of each call."""
    seconds = []
    for call in calls:
        began = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds
