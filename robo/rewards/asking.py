"""A person at the terminal says whether an episode succeeded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from robo.errors import RoboError
from robo.rollout import EpisodeInfo

ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


class Person:
    """Shows the last pictures of an episode in a file and asks (a ``Judge``)."""

    def __init__(self, picture: Path, ask: Callable[[str], str] = input) -> None:
        """Write pictures to ``picture`` (PNG, replaced each time); ``ask`` gives one line."""
        self.picture, self.ask = Path(picture), ask

    def __call__(self, pictures: dict[str, torch.Tensor], info: EpisodeInfo) -> bool:
        """Whether the person calls the end of the episode a success.

        Args:
            pictures: camera role to uint8 ``[H, W, 3]``, of equal height.
            info: of the episode.

        Raises:
            RoboError: nobody can answer, or the picture cannot be written.
        """
        self._show(pictures)
        words = info.instruction or info.task
        question = f"{words}: look at {self.picture}. Solved? [y/n] "
        while True:
            try:
                answer = self.ask(question).strip().lower()
            except EOFError as error:
                raise RoboError(
                    "gold 'person' asks on the terminal, and there is none to answer; start the "
                    "run in a terminal, in one process, or choose gold success or grm"
                ) from error
            if answer in ANSWERS:
                return ANSWERS[answer]

    def _show(self, pictures: dict[str, torch.Tensor]) -> None:
        import io

        from PIL import Image

        from robo.storage import write_bytes

        file = io.BytesIO()
        row = torch.cat([image.cpu() for image in pictures.values()], dim=1)
        Image.fromarray(row.numpy()).save(file, "PNG")
        write_bytes(self.picture, file.getvalue())
