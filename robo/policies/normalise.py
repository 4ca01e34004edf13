"""Running normalisation of observations: mean and variance of all seen so far, in float64.

The batch update is that of Chan, Golub and LeVeque, "Algorithms for Computing the Sample
Variance", 1983.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from robo.policies.distributed import merged_moments


class RunningNormaliser(nn.Module):
    """(x - mean)/sqrt(var + 1e-8), clipped to ±``clip``; the identity until it has seen data.

    Statistics are buffers, so they travel in ``state_dict``.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int, clip: float = 10.0) -> None:
        """``size`` is the width D of the vectors, ``clip`` the largest output."""
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self._seen: tuple[int, int] | None = None
        self._identity = True
        self._shift = np.zeros(size, np.float32)
        self._scale = np.ones(size, np.float32)

    def update(self, batch: Tensor | np.ndarray, distributed: bool = False) -> None:
        """Take in vectors ``[..., D]``; an empty batch, or D of 0, changes nothing.

        ``distributed`` takes in the batches of all ranks, which must all call this.
        """
        if not self.mean.shape[0]:  # the rows cannot be told, and have nothing to normalise
            return
        rows = torch.as_tensor(batch).detach().cpu().to(torch.float64).numpy()
        rows = rows.reshape(-1, self.mean.shape[0])
        if distributed:
            added, batch_mean, batch_square = merged_moments(rows)
        else:
            added = float(len(rows))
            batch_mean = rows.mean(0) if added else np.zeros(rows.shape[1])
            batch_square = np.square(rows - batch_mean).sum(0)
        if added == 0:
            return
        count = float(self.count)
        total = count + added
        difference = torch.from_numpy(batch_mean).to(self.mean) - self.mean
        square = self.variance * count + torch.from_numpy(batch_square).to(self.mean)
        square += difference.square() * (count * added / total)
        self.mean += difference * (added / total)
        self.variance.copy_(square / total)
        self.count.fill_(total)

    @property
    def active(self) -> bool:
        """Whether it has seen data; False is the identity."""
        return float(self.count) > 0

    def forward(self, vector: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalise ``[..., D]``; ``dtype`` out."""
        shift = self.mean.to(dtype)
        scale = (self.variance + 1e-8).rsqrt().to(dtype)
        vector = vector.to(dtype)
        normalised = ((vector - shift) * scale).clamp(-self.clip, self.clip)
        # Chosen by the device, so that a compiled graph does not break here.
        return torch.where(self.count > 0, normalised, vector)

    def numpy(self, vector: np.ndarray, dtype: type[np.floating] = np.float32) -> np.ndarray:
        """The same for a numpy array, without torch's dispatch; ``dtype [..., D]``."""
        if dtype != np.float32:
            return self.forward(torch.as_tensor(vector), torch.float64).numpy()
        vector = np.asarray(vector, np.float32)
        self._refresh()
        if self._identity:
            return vector
        return np.clip((vector - self._shift) * self._scale, -self.clip, self.clip)

    def _refresh(self) -> None:
        """Recompute the float32 shift and scale after the statistics changed."""
        # Every in-place change moves a tensor's version, so looking costs no arithmetic.
        count = self._buffers["count"]  # past nn.Module's slow look-up of attributes
        assert count is not None
        key = (count._version, count.data_ptr())
        if key == self._seen:
            return
        self._seen = key
        self._identity = not self.active
        self._shift = self.mean.float().cpu().numpy()
        self._scale = (self.variance + 1e-8).rsqrt().float().cpu().numpy()
