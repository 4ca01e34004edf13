"""Where maps come from: built-in towns, OpenDRIVE files, and text sent by clients."""

from __future__ import annotations

from pathlib import Path

from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.towns import TOWNS, town

PREFIX = "Carla/Maps/"
"""Stands before every name that the server reports, as on a real one."""
SENT_MAP = "OpenDriveMap"
"""Name under which a client loads the OpenDRIVE text that it sent."""


class Maps:
    """Maps by name."""

    def __init__(self) -> None:
        """Built-in towns only."""
        self._files: dict[str, Path] = {}
        self._sent: str | None = None

    @staticmethod
    def short(name: str) -> str:
        """Name without folders and suffix: ``/Game/Carla/Maps/Grid`` is ``Grid``."""
        return name.rsplit("/", 1)[-1].removesuffix(".xodr")

    def add(self, source: str | Path) -> str:
        """Make a map known and return its name; a file's siblings become known with it.

        Raises:
            StandinError: neither a built-in town nor a readable file.
        """
        path = Path(source)
        if path.suffix != ".xodr":
            name = self.short(str(source))
            if name not in TOWNS:
                raise StandinError(
                    f"{str(source)!r} is no town; expected one of {', '.join(TOWNS)}, "
                    "or the path of an .xodr file"
                )
            return name
        if not path.is_file():
            raise StandinError(f"there is no file {str(source)!r}; expected an OpenDRIVE map")
        for sibling in sorted(path.resolve().parent.glob("*.xodr")):
            self._files[sibling.stem] = sibling
        return path.stem

    def send(self, opendrive: str) -> None:
        """Keep OpenDRIVE text that a client sent."""
        self._sent = opendrive

    def names(self) -> list[str]:
        """Every map that can be loaded, with its prefix."""
        return [PREFIX + name for name in sorted({*TOWNS, *self._files})]

    def opendrive(self, name: str) -> str:
        """OpenDRIVE text of a map.

        Raises:
            StandinError: no such map, or its file cannot be read.
        """
        if name == SENT_MAP and self._sent is not None:
            return self._sent
        if name in self._files:
            try:
                return self._files[name].read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise StandinError(f"cannot read {self._files[name]}: {error}") from error
        if name in TOWNS:
            return town(name)
        raise StandinError(f"map not found: {name!r}; known are {', '.join(self.names())}")
