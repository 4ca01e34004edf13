"""``robo explore``: a page on which the episodes of a store are looked through."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from robo.errors import RoboError


def default_folder(store: Path) -> Path:
    """Where bookmarks and clips of a store go: each store to a folder of its own name."""
    place = store.resolve()
    return Path("runs/explore") / (place.parent if place.name == "episodes" else place).name


@dataclass(frozen=True)
class Explore:
    """Look through the episodes of a store, and what rewards say of them, in a browser."""

    store: Annotated[Path, tyro.conf.Positional]
    """Episode store, or the run folder of robo collect."""
    rewards: tuple[str, ...] = ("environment", "success")
    """Rewards to draw: success, grm:FOLDER, naive:progress ... (see docs/media.md)."""
    stride: int | None = None
    """Score only frames of steps that this divides, and the last; None scores all frames."""
    gamma: float = 0.99
    """Discount of the policy that is paid, in [0, 1]."""
    host: str = "127.0.0.1"
    """Address to serve on; other than this machine's own, the page asks for a token."""
    port: int = 0
    """Port; 0 takes any free one."""
    fps: float = 10.0
    """Steps shown per second."""
    open: bool = False
    """Open the page in the default browser."""
    seconds: float | None = None
    """Stop after this time; None serves until interrupted."""
    out: Path | None = None
    """Run folder, of this store alone: bookmarks.json and clips/; None for runs/explore/ and the
    store's name."""
    json: bool = False
    """Print the result as the last line."""

    def __post_init__(self) -> None:
        """Refuse values out of range; name the run folder."""
        if self.out is None:
            object.__setattr__(self, "out", default_folder(self.store))
        if not 0 <= self.gamma <= 1:
            raise RoboError(f"gamma is {self.gamma}, expected a discount between 0 and 1")
        if not 0 < self.fps <= 240:
            raise RoboError(f"fps is {self.fps}, expected above 0 and at most 240")
        if not 0 <= self.port <= 65535:
            raise RoboError(f"port is {self.port}, expected 0 ... 65535")

    def run(self) -> dict[str, Any]:
        """Serve until interrupted.

        Returns:
            ``url``, ``episodes``, ``rewards``, ``bookmarks`` (number of them).

        Raises:
            RoboError: no such store or reward, or a port that is taken.
        """
        from rich.console import Console

        from robo.data import open_store
        from robo.media.stored import stored_stride
        from robo.rewards.spec import reward_from_spec
        from robo.web.explorer import Explorer

        assert self.out is not None  # named when this was made
        store = open_store(self.store)
        if not len(store):
            raise RoboError(f"the episode store {self.store} is empty: record some episodes first")
        stride = self.stride or stored_stride(store.read(0, ()))
        rewards = {s: reward_from_spec(s, self.gamma, stride=stride) for s in self.rewards}
        explorer = Explorer(store, rewards, self.out, self.host, self.port, self.fps)
        Console(stderr=True).print(
            f"{len(store)} episodes of {self.store} at {explorer.url} (interrupt to stop)",
            highlight=False,
            soft_wrap=True,
        )
        try:
            if self.open:
                import webbrowser

                webbrowser.open(explorer.url)
            threading.Event().wait(self.seconds)
        except KeyboardInterrupt:
            pass
        finally:
            explorer.close()
        return {
            "url": explorer.url.partition("?")[0],
            "episodes": len(store),
            "rewards": list(rewards),
            "bookmarks": len(explorer.bookmarks),
        }
