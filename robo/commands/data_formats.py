"""``robo data import|export``: data sets of others into an episode store, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from robo.commands.data_stores import progress_bar
from robo.data.coding import Coding
from robo.errors import RoboError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from robo.rollout import Episode

Format = Literal["hdf5", "lerobot", "videos"]


@dataclass(frozen=True)
class DataImport:
    """Append a data set of another format to an episode store.

    robomimic's or LIBERO's HDF5, LeRobot v3.0, or a folder of videos with JSON labels.
    """

    source: tyro.conf.Positional[Path]
    """The HDF5 file, or the folder of the data set."""
    to: str
    """The episode store; made where it is missing."""
    format: Format | None = None
    """What the source is; by default it is looked at."""
    flip: bool = False
    """HDF5: turn images upside up (robosuite's, and so LIBERO's, are stored upside down)."""
    stride: int = 1
    """Videos: every so many frames are taken."""
    size: tuple[int, int] | None = None
    """Videos: height and width to scale frames to."""
    task: str = ""
    """Videos: task id of episodes whose labels name none."""
    views: tuple[str, ...] = ()
    """Camera roles of the source's views, ROLE=VIEW (front=observation.images.top): rewards ask for
    roles. Other views keep their names."""
    limit: int | None = None
    """The first so many episodes; all by default."""
    images: Coding = "lz4hc"
    """How camera frames are stored."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""

    def run(self) -> dict[str, Any]:
        """Import; ``notes`` lists what an episode cannot hold.

        Raises:
            RoboError: where ``views`` names no camera role or no view.
            StoreError: where the source is of no known format, damaged, or does not fit the store.
        """
        from itertools import chain, islice

        from robo.data import EpisodeStore
        from robo.data.formats.common import with_roles

        views = _roles(self.views)
        source = self._opened()
        count = min(len(source), self.limit or len(source))
        episodes = (with_roles(found, views, source.notes) for found in islice(source, count))
        # A source that cannot be read leaves no empty store behind.
        first = list(islice(episodes, 1))
        store = EpisodeStore(self.to, images=self.images)
        appended = 0
        with progress_bar("import", self.json) as progress:
            for episode in chain(first, episodes):
                store.append(episode)
                appended += 1
                progress(appended, count)
        notes = source.notes.list()
        if not self.json:
            print(f"{self.to}: {appended} episodes appended, {len(store)} in all")
            _print_notes("not taken over as it was", notes)
        return {
            "store": self.to,
            "appended": appended,
            "episodes": len(store),
            "notes": [vars(note) for note in notes],
        }

    def _opened(self) -> Any:
        kind = self.format or _recognised(self.source)
        if kind == "hdf5":
            from robo.data.formats.hdf5 import Hdf5Import

            return Hdf5Import(self.source, self.flip)
        if kind == "lerobot":
            from robo.data.formats.lerobot_import import LeRobotImport

            return LeRobotImport(self.source)
        from robo.data.formats.videos import VideoFolderImport

        return VideoFolderImport(self.source, self.stride, self.size, self.task)


@dataclass(frozen=True)
class DataExport:
    """Write an episode store in another format; nothing is dropped without being named."""

    path: tyro.conf.Positional[str]
    """The episode store."""
    to: Path
    """The new HDF5 file, or the new folder."""
    format: Format
    """hdf5 (robomimic's layout), lerobot (v3.0), videos (with JSON labels)."""
    images: Literal["image", "video", "video-lossless"] | None = None
    """LeRobot: PNG inside the tables, H.264, or lossless H.264; videos: the latter two. By default
    video."""
    fps: int = 20
    """LeRobot: steps per second."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""

    def run(self) -> dict[str, Any]:
        """Export; ``notes`` lists what other readers of the format will not see.

        Raises:
            StoreError: where the target exists, or the episodes do not fit the format.
        """
        from robo.data import EpisodeStore

        store = EpisodeStore(self.path, mode="r")
        with progress_bar("export", self.json) as progress:
            notes = self._write(_counted(store, len(store), progress))
        if not self.json:
            print(f"{self.to}: {len(store)} episodes")
            _print_notes("other readers do not see", notes)
        return {
            "path": self.path,
            "to": self.to,
            "format": self.format,
            "episodes": len(store),
            "notes": [vars(note) for note in notes],
        }

    def _write(self, episodes: Iterable[Episode]) -> list[Any]:
        if self.format == "hdf5":
            from robo.data.formats.hdf5_export import export_hdf5

            return export_hdf5(episodes, self.to)
        if self.format == "lerobot":
            from robo.data.formats.lerobot_export import export_lerobot

            return export_lerobot(episodes, self.to, self.images or "video", self.fps)
        from robo.data.formats.videos import export_videos

        if self.images == "image":
            raise RoboError("--images image is for --format lerobot; videos are video")
        return export_videos(episodes, self.to, self.images or "video")


def _roles(given: tuple[str, ...]) -> dict[str, str]:
    """Camera role to the name of a view of the source.

    Raises:
        RoboError: where one is not ROLE=VIEW with a camera role.
    """
    from robo.rollout import CAMERA_ROLES

    roles: dict[str, str] = {}
    for one in given:
        role, _, view = one.partition("=")
        if role not in CAMERA_ROLES or not view or role in roles:
            raise RoboError(
                f"--views {one}: expected ROLE=VIEW, each role once, of {', '.join(CAMERA_ROLES)}"
            )
        roles[role] = view
    return roles


def _recognised(source: Path) -> Format:
    """What a data set is, by its files.

    Raises:
        RoboError: where nothing tells.
    """
    if source.is_file():
        return "hdf5"
    if (source / "meta" / "info.json").exists():
        return "lerobot"
    if source.is_dir() and any(source.glob("*.json")):
        return "videos"
    raise RoboError(
        f"{source} is neither an HDF5 file, nor a LeRobot data set (meta/info.json), nor a folder "
        "of JSON labels; check the path, or name it with --format"
    )


def _counted(
    episodes: Iterable[Episode], total: int, progress: Callable[[int, int], None]
) -> Iterator[Episode]:
    for done, episode in enumerate(episodes):
        yield episode
        progress(done + 1, total)


def _print_notes(title: str, notes: list[Any]) -> None:
    if notes:
        print(f"{title}:")
    for note in notes:
        print(f"  {note.what}: {note.why}")
