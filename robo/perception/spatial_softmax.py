"""Spatial softmax: where each feature map is active, and how strongly."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpatialSoftmax(nn.Module):
    """Expected image position of each feature map, with its maximum (Finn et al. 2016).

    Positions survive any image size, which lets one network read 32 x 32 or 128 x 128 images;
    the maximum tells whether the keypoint is in view at all. There is no temperature: the scale of
    the convolution before it is one.
    """

    def forward(self, features: Tensor) -> Tensor:
        """``[M, K, H, W]`` to ``[M, 3K]``: x in [-1, 1], y in [-1, 1], maximum."""
        rows, channels, height, width = features.shape
        x = torch.linspace(-1.0, 1.0, width, device=features.device, dtype=features.dtype)
        y = torch.linspace(-1.0, 1.0, height, device=features.device, dtype=features.dtype)
        grid = torch.stack(
            [x.expand(height, width).reshape(-1), y[:, None].expand(height, width).reshape(-1)], 1
        )
        flat = features.reshape(rows, channels, height * width)
        weight = flat.softmax(dim=-1)
        position = weight @ grid  # [M, K, 2]
        return torch.cat([position.flatten(1), flat.amax(dim=-1)], dim=1)
