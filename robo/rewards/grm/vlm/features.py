"""Images to visual features: the token budget, and a cache so that no image is encoded twice."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.grm.vlm.positions import PatchPositions

ENCODED_AT_ONCE = 64
"""Images per pass of the visual encoder."""


@dataclass(frozen=True)
class ImageFeatures:
    """What the language model reads of one image of K merged patches."""

    grid: tuple[int, int, int]
    """(time, height, width) in patches, before merging."""
    embedding: Tensor
    """``[K, D]``."""
    deepstack: tuple[Tensor, ...]
    """Qwen3-VL: ``[K, D]`` for each of the first layers; empty for Qwen2.5-VL."""


def image_hash(image: Tensor) -> bytes:
    """Digest of a uint8 image's size and pixels."""
    content = image.contiguous().cpu().numpy()
    return hashlib.blake2b(
        content.tobytes(), digest_size=16, key=str(image.shape).encode()
    ).digest()


def image_hashes(images: list[Tensor]) -> list[bytes]:
    """Digests of images, by threads where there are many: hashlib lets others work meanwhile."""
    if len(images) < 16:
        return [image_hash(image) for image in images]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(image_hash, images))


class FeatureCache:
    """Visual features of images, the newest used ones kept."""

    def __init__(
        self, model: Any, processor: Any, min_pixels: int, max_pixels: int, size: int
    ) -> None:
        """Encode by ``model`` after ``processor.image_processor``; keep ``size`` images."""
        self.model, self.images = model, processor.image_processor
        self.pixels = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
        self.places = PatchPositions(model.model.visual)
        self.size = size
        self.hits = self.misses = 0
        self._kept: OrderedDict[bytes, ImageFeatures] = OrderedDict()

    def clear(self) -> None:
        """Forget all features, as after a change of the weights."""
        self._kept.clear()

    def __call__(self, images: list[Tensor]) -> list[ImageFeatures]:
        """Features of uint8 images ``[H, W, 3]``, in order.

        Equal images are encoded once; with a size of 0 each of them is encoded anew.
        """
        if self.size == 0:
            self.misses += len(images)
            return self._encode(images)
        keys = image_hashes(images)
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._kept}
        self.misses += len(new)
        self.hits += len(images) - len(new)
        found = {key: self._kept[key] for key in set(keys) - new.keys()}
        found |= zip(new, self._encode(list(new.values())), strict=True)
        for key in keys:
            self._kept[key] = found[key]
            self._kept.move_to_end(key)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)
        return [found[key] for key in keys]

    def prepare(self, images: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Patches and grids ``[M, 3]`` of images, within the pixel budget.

        Raises:
            RoboError: an image that the budget does not fit, as one of 1 x 2000 pixels.
        """
        device = self.model.device
        if device.type != "cpu" and len({image.shape for image in images}) == 1:
            # One transfer in place of many.
            images = list(torch.stack(images).to(device))
        channels_first = [image.to(device).permute(2, 0, 1) for image in images]
        try:
            ready = self.images(
                images=channels_first, size=self.pixels, return_tensors="pt", device=device
            )
        except ValueError as error:
            raise RoboError(f"an image cannot be shown to the model: {error}") from error
        grid = ready["image_grid_thw"]
        patch = self.images.patch_size**2
        most = int(grid.prod(dim=1).max()) * patch
        # An image of extreme shape keeps one patch across whatever the budget says.
        if most > 2 * self.pixels["longest_edge"]:
            raise RoboError(
                f"an image took {most} pixels of a budget of {self.pixels['longest_edge']}; give "
                "images of a usual shape"
            )
        return ready["pixel_values"], grid

    def _encode(self, images: list[Tensor]) -> list[ImageFeatures]:
        """Features by the visual encoder, some images at a time."""
        found: list[ImageFeatures] = []
        for first in range(0, len(images), ENCODED_AT_ONCE):
            pixels, grid = self.prepare(images[first : first + ENCODED_AT_ONCE])
            places = self.places(grid, self.model.device)
            output = self.model.get_image_features(pixels, grid, return_dict=True, **places)
            deep = getattr(output, "deepstack_features", None) or []
            found.extend(
                ImageFeatures(
                    (int(size[0]), int(size[1]), int(size[2])),
                    embedding,
                    tuple(layer[i] for layer in deep),
                )
                for i, (size, embedding) in enumerate(
                    zip(grid.tolist(), output.pooler_output, strict=True)
                )
            )
        return found
