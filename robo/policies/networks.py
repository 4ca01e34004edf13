"""Multi-layer perceptrons, and their parameters as one flat vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


NUMPY_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "elu": _elu,
}


def mlp(
    sizes: Sequence[int], activation: str, output_gain: float, generator: torch.Generator
) -> nn.Sequential:
    """Linear layers of ``sizes`` with ``activation`` between them.

    Weights are orthogonal, with gain sqrt(2) in hidden layers and ``output_gain`` in the last;
    biases are 0 (as in Stable-Baselines3 and Andrychowicz et al. 2021, "What Matters In
    On-Policy Reinforcement Learning?").
    """
    layers: list[nn.Module] = []
    pairs = list(pairwise(sizes))
    for index, (inputs, outputs) in enumerate(pairs):
        last = index == len(pairs) - 1
        linear = nn.Linear(inputs, outputs)
        gain = output_gain if last else math.sqrt(2.0)
        nn.init.orthogonal_(linear.weight, gain, generator=generator)
        nn.init.zeros_(linear.bias)
        layers.append(linear)
        if not last:
            layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


def linear_layers(network: nn.Sequential) -> list[nn.Linear]:
    """The linear layers of an MLP, in order."""
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def numpy_layers(network: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weight transposed ``[in, out]``, bias ``[out]``) of each layer.

    On a CPU these are views: they follow every in-place change of the parameters.
    """
    return [
        (layer.weight.detach().cpu().numpy().T, layer.bias.detach().cpu().numpy())
        for layer in linear_layers(network)
    ]


def forward_numpy(
    layers: list[tuple[np.ndarray, np.ndarray]], activation: str, inputs: np.ndarray
) -> np.ndarray:
    """The MLP's output ``[B, out]`` for ``inputs [B, in]``, float32."""
    function = NUMPY_ACTIVATIONS[activation]
    hidden = inputs
    for weight, bias in layers[:-1]:
        hidden = hidden @ weight
        hidden += bias
        hidden = function(hidden)
    weight, bias = layers[-1]
    output = hidden @ weight
    output += bias
    return output


def flat_parameters(module: nn.Module, flat: Tensor | None = None) -> Tensor:
    """One contiguous vector of which every trained parameter of ``module`` is a view.

    Clipping, Adam and copies then cost one operation in place of one per parameter. ``flat`` is
    a vector from an earlier call: it is returned as it is while the parameters still are its
    views, and takes in their values where they no longer are (after ``module.to``). Views keep
    the memory layout of the parameter (channels_last, say).
    """
    parameters = [part for part in module.parameters() if part.requires_grad]
    first = parameters[0]
    if flat is None or flat.dtype != first.dtype or flat.device != first.device:
        count = sum(parameter.numel() for parameter in parameters)
        flat = torch.empty(count, dtype=first.dtype, device=first.device)
    start = 0
    for parameter in parameters:
        part = flat[start : start + parameter.numel()]
        view = part.as_strided(parameter.shape, parameter.stride())
        if parameter.data_ptr() != view.data_ptr():
            view.copy_(parameter.detach())
            parameter.data = view
        start += parameter.numel()
    return flat
