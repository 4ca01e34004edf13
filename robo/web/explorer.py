"""The reward explorer: a store's episodes, views and curves in step, bookmarks and clips."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from robo.errors import RoboError
from robo.local_server import LocalServer, Request, Response, json_response
from robo.media.traces import RewardTrace
from robo.storage import plain, read_json, write_json
from robo.web.scores import StoreScores
from robo.web.sheets import SheetPlan, encode_sheet

if TYPE_CHECKING:
    from robo.data import EpisodeStore
    from robo.rewards.base import Reward
    from robo.rollout import Episode

ASSETS = {
    "/": ("explorer.html", "text/html; charset=utf-8"),
    "/explorer.css": ("explorer.css", "text/css; charset=utf-8"),
    "/explorer.js": ("explorer.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/views.js": ("views.js", "text/javascript; charset=utf-8"),
}
KEPT_EPISODES, KEPT_BYTES = 6, 1_000_000_000
"""Episodes whose frames stay in memory, at most; and their size, but for the one last asked for."""
MOST_BOOKMARKS = 10_000
LONGEST_NOTE = 2_000


class ExplorerError(RoboError):
    """What a page asked for and cannot get."""


class Explorer:
    """One store behind a local server; see docs/media.md for the page."""

    def __init__(
        self,
        store: EpisodeStore,
        rewards: Mapping[str, Reward],
        out: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        fps: float = 10.0,
    ) -> None:
        """Start serving, and score the store in the background.

        Args:
            store: open for reading; episodes appended later are not seen.
            rewards: name to reward, drawn in this order.
            out: folder of ``bookmarks.json`` and ``clips/``.
            host: address to bind; other than loopback, the page needs its token.
            port: 0 for any free one.
            fps: steps a second at which the page plays and clips run.

        Raises:
            ServerError: where the address or port cannot be used.
            RoboError: ``bookmarks.json`` was not written by an explorer, or for another store.
        """
        self.store, self.out, self.fps = store, Path(out), fps
        self.scores = StoreScores(store, rewards)
        self.bookmarks = self._load_bookmarks()
        self._episodes: OrderedDict[int, Episode] = OrderedDict()
        self._lock = threading.Lock()
        self._filming = threading.Lock()
        self.server = LocalServer(self.get, self.post, host, port)
        self.scores.start()

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        return self.server.url

    def close(self) -> None:
        """Stop serving and scoring."""
        self.server.close()
        self.scores.close()

    # ------------------------------------------------------------------ requests

    def get(self, request: Request) -> Response | None:
        """Pages, lists, episodes, frames and finished clips."""
        if request.path in ASSETS:
            return self._asset(*ASSETS[request.path])
        if request.path == "/favicon.ico":
            return Response(b"", "image/x-icon", 204)
        if request.path == "/api/store":
            return json_response(self.listing())
        if request.path == "/api/scores":
            return json_response(plain(self.scores.table()))
        if request.path == "/api/bookmarks":
            return json_response(self.bookmarks)
        if found := re.fullmatch(r"/api/episode/(\d+)", request.path):
            return json_response(plain(self.described(self._index(found[1]))))
        # A view's name comes quoted: imported ones hold dots, and may hold anything else.
        if found := re.fullmatch(r"/sheet/(\d+)/([^/]+)/(\d+)", request.path):
            return self._sheet(self._index(found[1]), unquote(found[2]), int(found[3]))
        if found := re.fullmatch(r"/clips/([\w-]+\.mp4)", request.path):
            return self._clip_file(found[1])
        return None

    def post(self, request: Request) -> Response | None:
        """Bookmarks and clips."""
        if request.path == "/api/bookmarks":
            return json_response(self.bookmark(**request.json()))
        if request.path == "/api/clip":
            return json_response({"clip": f"/clips/{self.clip(**request.json()).name}"})
        return None

    def _asset(self, name: str, kind: str) -> Response:
        text = (resources.files("robo.web") / "assets" / name).read_text("utf-8")
        return Response(text.replace("{{token}}", self.server.token).encode(), kind)

    def _index(self, text: str) -> int:
        index = int(text)
        if not 0 <= index < len(self.store):
            raise ExplorerError(f"episode {index} does not exist; there are {len(self.store)}")
        return index

    # ------------------------------------------------------------------ content

    def listing(self) -> dict[str, Any]:
        """What is known of every episode without opening its file."""
        headers = [self.store.info(index) for index in range(len(self.store))]
        return {
            "store": str(self.store.path),
            "rewards": list(self.scores.rewards),
            "fps": self.fps,
            "episodes": [
                {
                    "index": index,
                    "task": header.info.task,
                    "instruction": header.info.instruction,
                    "success": bool(header.success),
                    "terminated": bool(header.terminated),
                    "steps": header.length,
                    "seed": header.info.seed,
                    "kind": str(header.metadata.get("kind", header.metadata.get("script", ""))),
                }
                for index, header in enumerate(headers)
            ],
        }

    def described(self, index: int) -> dict[str, Any]:
        """Curves, events and the layout of the frame sheets of one episode."""
        episode = self.episode(index)
        traces = self.scores.traces(index, episode)
        step = [] if episode.frame_step is None else np.asarray(episode.frame_step).tolist()
        plans = {role: SheetPlan.of(*frames.shape[:3]) for role, frames in episode.frames.items()}
        return {
            "index": index,
            "steps": len(episode),
            "frame_step": step,
            "views": {role: {**plain(plan), "sheets": plan.sheets} for role, plan in plans.items()},
            "events": [plain(event) for event in self._events(episode, traces)],
            "rewards": {name: _described(trace) for name, trace in traces.items()},
            "failures": self.scores.why_not(index),
        }

    @staticmethod
    def _events(episode: Episode, traces: Mapping[str, RewardTrace]) -> list[Any]:
        from robo.media.events import episode_events

        return next((trace.events for trace in traces.values()), episode_events(episode))

    def episode(self, index: int) -> Episode:
        """An episode with all its frames; the latest few stay in memory.

        Raises:
            StoreError: it cannot be read.
        """
        with self._lock:
            if index in self._episodes:
                self._episodes.move_to_end(index)
                return self._episodes[index]
        episode = self.store[index]
        with self._lock:
            self._episodes[index] = episode
            while len(self._episodes) > 1 and (
                len(self._episodes) > KEPT_EPISODES
                or sum(map(_frame_bytes, self._episodes.values())) > KEPT_BYTES
            ):
                self._episodes.popitem(last=False)
        return episode

    def _sheet(self, index: int, role: str, number: int) -> Response:
        frames = self.episode(index).frames.get(role)
        if frames is None or number >= (plan := SheetPlan.of(*frames.shape[:3])).sheets:
            raise ExplorerError(f"episode {index} has no sheet {number} of view {role!r}")
        content, kind = encode_sheet(frames, plan, number)
        return Response(content, kind, immutable=True)

    # ------------------------------------------------------------------ bookmarks

    def _load_bookmarks(self) -> list[dict[str, Any]]:
        path = self.out / "bookmarks.json"
        if not path.exists():
            return []
        found = read_json(path)
        if not isinstance(found, dict) or not isinstance(found.get("bookmarks"), list):
            raise ExplorerError(f"{path} holds no bookmarks: name another folder with --out")
        store, theirs = _place(self.store.path), _place(found.get("store"))
        if theirs != store:
            raise ExplorerError(
                f"{path} holds the bookmarks of the store {theirs}, but this is {store}: name "
                "another folder with --out; where the store has moved, write its new place after "
                '"store" in that file'
            )
        return found["bookmarks"]

    def _save_bookmarks(self, bookmarks: list[dict[str, Any]]) -> None:
        """Write them, and with them whose ``out`` is."""
        content = {"store": _place(self.store.path), "bookmarks": bookmarks}
        write_json(self.out / "bookmarks.json", content)
        self.bookmarks = bookmarks

    def bookmark(
        self, episode: int, step: int, note: str = "", remove: bool = False
    ) -> list[dict[str, Any]]:
        """Add, change or remove the bookmark at a step; all bookmarks then, written to disk."""
        index, step = self._index(str(int(episode))), int(step)
        if not 0 <= step <= self.store.info(index).length:
            raise ExplorerError(f"episode {index} has no step {step}")
        with self._lock:
            kept = [b for b in self.bookmarks if (b["episode"], b["step"]) != (index, step)]
            if not remove:
                kept.append({"episode": index, "step": step, "note": str(note)[:LONGEST_NOTE]})
            kept = sorted(kept, key=lambda b: (b["episode"], b["step"]))[:MOST_BOOKMARKS]
            self._save_bookmarks(kept)
        return kept

    # ------------------------------------------------------------------ clips

    def clip(self, episode: int, first: int, last: int, reward: str | None = None) -> Path:
        """Write the steps ``first`` ... ``last`` of an episode as a reward video.

        Args:
            episode: which.
            first: step at which the clip begins.
            last: step at which it ends.
            reward: whose terms are drawn; None draws a column per reward.

        Raises:
            ExplorerError: no such steps or reward, or no reward to draw.
            VideoError: the episode has no frames, or the file cannot be written.
        """
        from robo.media.side_by_side import SideBySide
        from robo.media.writing import write_scene

        index, first, last = self._index(str(int(episode))), int(first), int(last)
        shown = self.episode(index)
        if not 0 <= first < last <= len(shown):
            raise ExplorerError(
                f"clip of steps {first} to {last}: expected two steps, the first below the last, "
                f"of 0 ... {len(shown)}"
            )
        traces = self.scores.traces(index, shown)
        chosen = [t for name, t in traces.items() if reward in (None, name)]
        if not chosen:
            raise ExplorerError(f"no reward {reward or ''} of episode {index} to draw")
        size = (1280, 720) if len(chosen) == 1 else (1920, 1080)
        named = "" if reward is None else "_" + re.sub(r"[^\w-]+", "-", reward).strip("-")[:60]
        path = self.out / "clips" / f"episode_{index:05d}_{first}-{last}{named}.mp4"
        with self._lock:
            self._save_bookmarks(self.bookmarks)
        with self._filming:
            scene = SideBySide([(shown, trace) for trace in chosen], *size)
            steps = [float(step) for step in range(first, last + 1)]
            return write_scene(path, scene, self.fps, steps)

    def _clip_file(self, name: str) -> Response | None:
        path = self.out / "clips" / name
        if not path.is_file():
            return None
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(path.read_bytes(), "video/mp4", headers=disposition)


def _place(store: Any) -> str:
    """Where a store is, whatever folder the command is given in."""
    return str(store) if "://" in str(store) else str(Path(str(store)).resolve())


def _frame_bytes(episode: Episode) -> int:
    """Memory of an episode's camera frames."""
    return sum(np.asarray(frames).nbytes for frames in episode.frames.values())


def _described(trace: RewardTrace) -> dict[str, Any]:
    """A trace as JSON values."""
    curves = {} if trace.progress is None else {trace.progress_name: trace.progress}
    hops = trace.hops
    return {
        "total": _rounded(trace.total),
        "terms": {name: _rounded(value) for name, value in trace.terms.items()},
        "stacked": list(trace.stacked),
        "curves": {name: _rounded(value) for name, value in {**curves, **trace.curves}.items()},
        "hops": None
        if hops is None
        else {"name": hops.name, "step": hops.step.tolist(), "value": _rounded(hops.value)},
    }


def _rounded(values: Any) -> list[float | None]:
    """Numbers as JSON, six digits; NaN becomes None."""
    array = np.asarray(values, np.float64)
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in array.tolist()]
