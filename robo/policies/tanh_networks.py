"""Forward and backward pass of two tanh MLPs side by side, in numpy, without autograd.

An actor and a critic with equal hidden layers are one array operation per step instead of two:
at 64 rows a call of numpy costs as much as its arithmetic. Activations lie as
``[2, B, width]``: matrix products with the few rows of a weight are a fifth faster in this layout
than in the transposed one (OpenBLAS 0.3.31, AVX-512).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from robo.policies import networks


class TanhPair:
    """Two tanh MLPs over views of their flat parameters, with buffers made once.

    Attributes:
        hidden: activations of the hidden layers, ``[2, B, H]`` each.
    """

    def __init__(
        self, pair: tuple[nn.Sequential, nn.Sequential], flat: Tensor, gradient: Tensor, room: int
    ) -> None:
        """Hidden layers (one at least) are of equal widths; inputs and outputs may differ.

        Args:
            pair: networks whose parameters are views of ``flat``.
            flat: float32 on a CPU.
            gradient: of ``flat``'s shape: :meth:`backward` writes here.
            room: largest B.
        """
        layers = list(zip(*(networks.linear_layers(one) for one in pair), strict=True))
        first, last = [layer.weight for layer in layers[0]], layers[-1]
        self._shared = first[0].shape == first[1].shape
        """Whether both may read one input: their first layers are then one operation too."""
        if self._shared:
            self._first = [_both(flat, *first)]
            self._first_gradient = [_both(gradient, *first)]
        else:
            self._first = [_like(flat, weight) for weight in first]
            self._first_gradient = [_like(gradient, weight) for weight in first]
        self._middle = [_both(flat, one.weight, two.weight) for one, two in layers[1:-1]]
        self._middle_gradient = [
            _both(gradient, one.weight, two.weight) for one, two in layers[1:-1]
        ]
        self._bias = [_both(flat, one.bias, two.bias)[:, None] for one, two in layers[:-1]]
        self._bias_gradient = [_both(gradient, one.bias, two.bias) for one, two in layers[:-1]]
        self._last = [_like(flat, layer.weight) for layer in last]
        self._last_bias = [_like(flat, layer.bias)[:, None] for layer in last]
        self._last_gradient = [_like(gradient, layer.weight) for layer in last]
        self._last_bias_gradient = [_like(gradient, layer.bias) for layer in last]
        self._widths = [bias.shape[-1] for bias in self._bias]
        self._buffers = [np.empty((2, 2 * width * room), np.float32) for width in self._widths]
        self._inputs: Sequence[np.ndarray] = ()
        self._resize(room)

    def _resize(self, count: int) -> None:
        """Contiguous activations and deltas for B = ``count``."""
        shapes = [(2, 2, count, width) for width in self._widths]
        views = [
            buffer[:, : 2 * width * count].reshape(shape)
            for buffer, width, shape in zip(self._buffers, self._widths, shapes, strict=True)
        ]
        self.hidden = [view[0] for view in views]
        self._delta = [view[1] for view in views]
        self._ones = np.ones(count, np.float32)

    def _by_input(self, array: np.ndarray) -> Sequence[np.ndarray]:
        """``[2, B, H]`` of the first hidden layer, as one part per input."""
        return (array,) if self._shared else (array[0], array[1])

    def forward(self, inputs: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
        """Outputs ``[out, B]`` of both for ``inputs [in, B]`` of each, B >= 1.

        Inputs of equal width must be the same.
        """
        if inputs[0].shape[1] != len(self._ones):
            self._resize(inputs[0].shape[1])
        self._inputs = inputs[:1] if self._shared else inputs
        for index, (hidden, bias) in enumerate(zip(self.hidden, self._bias, strict=True)):
            if index == 0:
                parts = zip(self._first, self._inputs, self._by_input(hidden), strict=True)
                for weight, rows, out in parts:
                    np.matmul(rows.T, _transposed(weight), out=out)
            else:
                np.matmul(self.hidden[index - 1], _transposed(self._middle[index - 1]), out=hidden)
            hidden += bias
            np.tanh(hidden, out=hidden)
        outputs = []
        for weight, bias, hidden in zip(self._last, self._last_bias, self.hidden[-1], strict=True):
            output = np.matmul(weight, hidden.T)
            output += bias
            outputs.append(output)
        return outputs

    def backward(self, deltas: tuple[np.ndarray, np.ndarray]) -> None:
        """Write the gradient for the loss's gradients ``[out, B]`` at the outputs.

        Activations of the last :meth:`forward` are used up.
        """
        self._backward_outputs(deltas)
        for index in range(len(self.hidden) - 1, -1, -1):
            hidden, delta = self.hidden[index], self._delta[index]
            # tanh' = 1 - tanh^2; the activation is not needed again, so it makes room.
            np.multiply(hidden, hidden, out=hidden)
            np.subtract(1.0, hidden, out=hidden)
            delta *= hidden
            np.matmul(self._ones, delta, out=self._bias_gradient[index])
            if index == 0:
                parts = zip(self._by_input(delta), self._inputs, self._first_gradient, strict=True)
                for one, rows, out in parts:
                    np.matmul(_transposed(one), rows.T, out=out)
            else:
                below = self.hidden[index - 1]
                np.matmul(_transposed(delta), below, out=self._middle_gradient[index - 1])
                np.matmul(delta, self._middle[index - 1], out=self._delta[index - 1])

    def _backward_outputs(self, deltas: tuple[np.ndarray, np.ndarray]) -> None:
        """Gradients of the last layers; deltas of the highest activations."""
        for index, delta in enumerate(deltas):
            np.matmul(delta, self.hidden[-1][index], out=self._last_gradient[index])
            np.matmul(delta, self._ones, out=self._last_bias_gradient[index])
            weight, below = self._last[index], self._delta[-1][index]
            if len(delta) == 1:  # an outer product, five times faster than as a matrix product
                np.multiply(delta.T, weight, out=below)
            else:
                np.matmul(delta.T, weight, out=below)


def _transposed(array: np.ndarray) -> np.ndarray:
    """``array`` with its last two axes exchanged."""
    return array.swapaxes(-1, -2)


def _both(vector: Tensor, first: Tensor, second: Tensor) -> np.ndarray:
    """Two equal parts of ``vector`` as one array ``[2, ...]``: those at two parameters' places."""
    start = first.storage_offset()
    strides = (second.storage_offset() - start, *first.stride())
    return vector.as_strided((2, *first.shape), strides, start).numpy()


def _like(vector: Tensor, parameter: Tensor) -> np.ndarray:
    """The part of ``vector`` at a parameter's place."""
    start = parameter.storage_offset()
    return vector.as_strided(parameter.shape, parameter.stride(), start).numpy()
