"""A replay buffer of Stable-Baselines3 that keeps images packed, once, and within a limit.

SB3's own ``DictReplayBuffer`` holds every image twice, as they are: 44 GB for 100,000 steps of
VLM-RL's 192 x 192 x 6 raster. Here an image is kept losslessly compressed, and that of the next
state is the one of the following slot, except at an episode's end.
"""

from __future__ import annotations

import zlib
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.preprocessing import get_obs_shape

from robo.errors import RoboError

LEVEL = 1
"""Of zlib: the fastest; rasters shrink more than fiftyfold by it."""
OVERHEAD = 41
"""Bytes that an image costs beside its own: object and reference."""


class PackedImages:
    """Images ``[rows, envs, ...]`` of uint8, each compressed; read and written like an array."""

    def __init__(self, rows: int, envs: int, shape: tuple[int, ...]) -> None:
        """Empty cells."""
        self.cells = np.arange(rows * envs).reshape(rows, envs)
        self.shape = shape
        self.nbytes = 0
        """Bytes in use."""
        self._packed: dict[int, bytes] = {}

    def put(self, cell: int, packed: bytes | None) -> None:
        """Set or, with None, free a cell."""
        old = self._packed.pop(cell, None)
        if old is not None:
            self.nbytes -= len(old) + OVERHEAD
        if packed is not None:
            self._packed[cell] = packed
            self.nbytes += len(packed) + OVERHEAD

    def packed(self, cell: int) -> bytes | None:
        """What a cell holds; None where it is free."""
        return self._packed.get(cell)

    def __setitem__(self, row: int, images: np.ndarray) -> None:
        """Write the images of one row, ``[envs, ...]``."""
        for cell, image in zip(self.cells[row].tolist(), images, strict=True):
            self.put(cell, pack(image))

    def __getitem__(self, index: Any) -> np.ndarray:
        """Images at ``[rows]`` or ``[rows, envs]`` (anything that indexes an array)."""
        rows = index[:2] if isinstance(index, tuple) else index
        return self.unpack(self.cells[rows])

    def unpack(self, cells: np.ndarray) -> np.ndarray:
        """uint8 ``[*cells.shape, ...]``; free cells are 0."""
        images = np.zeros((cells.size, *self.shape), np.uint8)
        for row, cell in enumerate(cells.ravel().tolist()):
            packed = self.packed(cell)
            if packed is not None:
                images[row] = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self.shape)
        return images.reshape(*cells.shape, *self.shape)


class FollowingImages(PackedImages):
    """Images of next states: those of the following row, but where they differ.

    Only what differs is kept: at episodes' ends, and of the newest row.
    """

    def __init__(self, now: PackedImages) -> None:
        """``now``: images of the states; a row of it is written before that of this."""
        super().__init__(*now.cells.shape, now.shape)
        self.now = now
        self._newest: int | None = None

    def __setitem__(self, row: int, images: np.ndarray) -> None:
        """Write the images that follow ``row``; what the row before it led to is known now."""
        if self._newest is not None and (self._newest + 1) % len(self.cells) == row:
            pairs = zip(self.cells[self._newest].tolist(), self.cells[row].tolist(), strict=True)
            for cell, following in pairs:
                if super().packed(cell) == self.now.packed(following):
                    self.put(cell, None)
        super().__setitem__(row, images)
        self._newest = row

    def packed(self, cell: int) -> bytes | None:
        """What follows a cell."""
        own = super().packed(cell)
        envs = self.cells.shape[1]
        return own if own is not None else self.now.packed((cell + envs) % self.cells.size)


def pack(image: np.ndarray) -> bytes:
    """An image as compressed bytes; equal images give equal bytes."""
    return zlib.compress(np.ascontiguousarray(image, np.uint8).tobytes(), LEVEL)


class CompactReplayBuffer(DictReplayBuffer):
    """``replay_buffer_class`` for SAC, TD3 and DQN on Dict observations with images.

    Gives the same numbers as ``DictReplayBuffer``. Beyond ``max_bytes`` of images the oldest
    steps are forgotten before ``buffer_size`` is reached, so that the limit holds whatever the
    images are.

    Args:
        buffer_size: steps, over all environments.
        observation_space: Dict; its uint8 entries of two or more axes are images.
        action_space: of one environment.
        device: of the batches.
        n_envs: number of environments.
        optimize_memory_usage: must be False: it is what this class does anyway.
        handle_timeout_termination: as in SB3.
        max_bytes: limit of the packed images, per buffer; 12 GB.

    Raises:
        RoboError: no Dict of observations, or no place for two steps.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: gymnasium.spaces.Dict,
        action_space: gymnasium.spaces.Space,
        device: Any = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        max_bytes: float = 12e9,
    ) -> None:
        """See the class."""
        if not isinstance(observation_space, gymnasium.spaces.Dict):
            raise RoboError(
                "CompactReplayBuffer needs a Dict of observations: make the environment with "
                "sb3_vec_env(env) and use MultiInputPolicy"
            )
        entries = observation_space.spaces
        images = [key for key, space in entries.items() if is_image(space)]
        others = {key: space for key, space in entries.items() if key not in images}
        super().__init__(
            buffer_size,
            gymnasium.spaces.Dict(others),
            action_space,
            device,
            n_envs,
            optimize_memory_usage,
            handle_timeout_termination,
        )
        self.observation_space = observation_space
        shapes: Any = get_obs_shape(observation_space)
        self.obs_shape = shapes
        self.max_bytes = max_bytes
        self.held = 0
        """Steps of each environment that can be drawn: the newest ones."""
        self._images: list[PackedImages] = []
        now: Any = self.observations
        following: Any = self.next_observations
        for key in images:
            now[key] = PackedImages(self.buffer_size, n_envs, shapes[key])
            following[key] = FollowingImages(now[key])
            self._images += [now[key], following[key]]

    @property
    def image_bytes(self) -> int:
        """Bytes of all packed images."""
        return sum(images.nbytes for images in self._images)

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Store one step of every environment; forget the oldest beyond the limit.

        Raises:
            RoboError: two steps alone are above ``max_bytes``.
        """
        super().add(*args, **kwargs)
        self.held = min(self.held + 1, self.buffer_size)
        while self.image_bytes > self.max_bytes:
            if self.held < 2:
                raise RoboError(
                    f"max_bytes is {self.max_bytes:g}, but one step has {self.image_bytes} bytes "
                    "of images: allow more"
                )
            oldest = (self.pos - self.held) % self.buffer_size
            for images in self._images:
                for cell in images.cells[oldest].tolist():
                    images.put(cell, None)
            self.held -= 1

    def size(self) -> int:
        """Steps of each environment that can be drawn."""
        return self.held

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.held = 0
        for images in self._images:
            for cell in images.cells.ravel().tolist():
                images.put(cell, None)

    def sample(self, batch_size: int, env: Any = None) -> Any:
        """``batch_size`` steps, drawn alike from those that are held."""
        back = np.random.randint(0, self.held, size=batch_size)
        return self._get_samples((self.pos - 1 - back) % self.buffer_size, env=env)


def is_image(space: gymnasium.Space) -> bool:
    """Whether an entry of an observation is kept packed: uint8 of two or more axes."""
    shape = space.shape
    return shape is not None and space.dtype == np.uint8 and len(shape) >= 2
