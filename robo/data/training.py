"""Training input: windows of steps and pairs of frames from any number of stores.

:class:`~robo.data.training_loader.TrainingLoader` reads them in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.data.schema import EpisodeHeader
from robo.data.store import EpisodeStore
from robo.errors import StoreError


@dataclass(frozen=True)
class Skipped:
    """An episode that takes no part."""

    store: str
    """Where it lies."""
    episode: int
    """Its index there."""
    reason: str
    """Why."""


class _Episodes:
    """Episodes of several stores that have what is asked for."""

    def __init__(
        self,
        stores: Sequence[EpisodeStore],
        views: Sequence[str],
        where: Callable[[EpisodeHeader], bool] | None,
        count: Callable[[EpisodeHeader], int],
        too_few: str,
    ) -> None:
        if not stores:
            raise StoreError("training input needs at least one episode store, got none")
        self.stores = list(stores)
        self.skipped: list[Skipped] = []
        self.entries: list[tuple[int, int]] = []
        counts: list[int] = []
        size: dict[str, tuple[int, int]] | None = None
        for number, store in enumerate(self.stores):
            for index in range(len(store)):
                header = store.info(index)
                if where is not None and not where(header):
                    continue
                found = {view: header.image_sizes.get(view) for view in views}
                missing = [view for view, pixels in found.items() if pixels is None]
                samples = count(header) if not missing else 0
                if missing:
                    reason = f"it has no camera views {missing}"
                elif size is not None and found != size:
                    reason = f"its views are {found} pixels, those of the first are {size}"
                elif samples < 1:
                    reason = too_few
                else:
                    size = found  # type: ignore[assignment]
                    self.entries.append((number, index))
                    counts.append(samples)
                    continue
                self.skipped.append(Skipped(str(store.path), index, reason))
        if not counts:
            reasons = "; ".join(sorted({one.reason for one in self.skipped})[:3])
            raise StoreError(
                f"no episode of {[str(store.path) for store in stores]} can be trained on"
                f"{': ' + reasons if reasons else '; they are empty'}"
            )
        self.ends = np.cumsum(counts)

    def locate(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entry of each sample, and its number within that entry's episode."""
        entry = np.searchsorted(self.ends, numbers, side="right")
        before = np.concatenate([[0], self.ends])[entry]
        return entry, numbers - before


class Windows:
    """Windows of ``length`` states, ``stride`` apart, of every episode that has them.

    A sample holds ``observation/<key>`` ``[W, ...]`` and ``frames/<view>`` ``[W, H, W, 3]`` of the
    states, ``action`` ``[W, ...]``, ``reward`` ``[W]`` and ``signals`` ``[W, S]`` of the steps that
    follow them, ``valid`` ``[W]`` (False where a state is the last, and no step follows: zeros
    there), ``episode`` (an index into :attr:`episodes`) and ``start``, the first state.
    """

    def __init__(
        self,
        stores: Sequence[EpisodeStore],
        length: int,
        stride: int = 1,
        views: Sequence[str] = (),
        keys: Sequence[str] | None = None,
        where: Callable[[EpisodeHeader], bool] | None = None,
    ) -> None:
        """List the windows; no episode is opened.

        Args:
            stores: read in order; a damaged episode is met when it is read.
            length: states of a window.
            stride: from one state of a window to the next.
            views: camera roles. Episodes without one of them, of other sizes than the first, or
                without a frame of every state, are left out (:attr:`skipped`).
            keys: arrays besides frames, such as ``action`` and ``observation/state``; None takes
                action, reward, and all observations and signals that the first episode has.
            where: which episodes, by their headers.

        Raises:
            StoreError: where no episode has such a window, or ``length`` or ``stride`` is below 1.
        """
        if length < 1 or stride < 1:
            raise StoreError(f"windows of length {length}, stride {stride}: expected at least 1")
        self.length, self.stride, self.views = length, stride, tuple(views)
        span = (length - 1) * stride + 1

        def count(header: EpisodeHeader) -> int:
            whole = not views or header.frame_count == header.length + 1
            return header.length + 2 - span if whole else 0

        lack = f"it has fewer than {span} states" + (", or not a frame of each" if views else "")
        self._episodes = _Episodes(stores, views, where, count, lack)
        store, index = self._episodes.entries[0]
        names = [spec.name for spec in stores[store].info(index).arrays]
        usual = [name for name in names if not name.startswith("frame")]
        self.keys = tuple(usual if keys is None else keys)
        unknown = sorted(set(self.keys) - set(names))
        if unknown:
            raise StoreError(f"no arrays {unknown} in {stores[store].path}; it has {names}")

    def __len__(self) -> int:
        """Number of windows."""
        return int(self._episodes.ends[-1])

    @property
    def episodes(self) -> list[tuple[int, int]]:
        """(number of the store, index in it) of every episode that takes part."""
        return self._episodes.entries

    @property
    def skipped(self) -> list[Skipped]:
        """Episodes that take no part, and why."""
        return self._episodes.skipped

    def header(self, episode: int) -> EpisodeHeader:
        """Header of an episode of a batch."""
        store, index = self.episodes[episode]
        return self._episodes.stores[store].info(index)

    def read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The windows ``numbers``, stacked; see the class.

        Raises:
            StoreError: naming an episode whose chunks are damaged.
        """
        entries, starts = self._episodes.locate(np.asarray(numbers))
        out: dict[str, np.ndarray] = {"episode": entries, "start": starts}
        valid = np.zeros((len(entries), self.length), bool)
        for row, (entry, start) in enumerate(zip(entries.tolist(), starts.tolist(), strict=True)):
            store, index = self.episodes[entry]
            source = self._episodes.stores[store]
            steps = source.info(index).length
            for name in (*self.keys, *(f"frames/{view}" for view in self.views)):
                if name not in out:
                    spec = source.array(index, name)
                    shape = (len(entries), self.length, *spec.shape[1:])
                    out[name] = np.zeros(shape, spec.dtype)
                self._read_into(out[name][row], source, index, name, start)
            valid[row] = start + np.arange(self.length) * self.stride < steps
        out["valid"] = valid
        return out

    def _read_into(
        self, out: np.ndarray, store: EpisodeStore, index: int, name: str, start: int
    ) -> None:
        """Fill ``out`` ``[W, ...]`` as far as the array ``name`` goes."""
        spec = store.array(index, name)
        stop = min(start + (self.length - 1) * self.stride + 1, spec.shape[0])
        if self.stride > 1:
            part = store.take(index, name, np.arange(start, stop, self.stride))
            out[: len(part)] = part
        elif out.dtype == spec.dtype and out.shape[1:] == spec.shape[1:]:
            # Decoded where it is wanted: a window of pictures is not copied once more.
            store.rows(index, name, start, stop, out[: stop - start])
        else:
            out[: stop - start] = store.rows(index, name, start, stop)


class Pairs:
    """Pairs of different frames of one episode: what hop models are trained on.

    Every ordered pair of frame rows of every episode is a sample: ``before/<view>`` and
    ``after/<view>`` ``[H, W, 3]``, ``before_step`` and ``after_step`` (states shown),
    ``episode`` (an index into :attr:`episodes`), and, where labels are given, ``before_label`` and
    ``after_label``.
    """

    def __init__(
        self,
        stores: Sequence[EpisodeStore],
        views: Sequence[str],
        label: Callable[[EpisodeHeader, np.ndarray], np.ndarray] | None = None,
        where: Callable[[EpisodeHeader], bool] | None = None,
    ) -> None:
        """List the pairs; no episode is opened.

        Args:
            stores: read in order.
            views: camera roles; episodes that lack one are left out (:attr:`skipped`).
            label: from an episode's header and states ``[F]`` to progress ``[F]`` in [0, 1].
            where: which episodes, by their headers.

        Raises:
            StoreError: where no episode has two frames, or no view is named.
        """
        if not views:
            raise StoreError("pairs of frames need at least one camera view")
        self.views, self._label = tuple(views), label
        self._episodes = _Episodes(
            stores,
            views,
            where,
            lambda header: header.frame_count * (header.frame_count - 1),
            "it has fewer than two frames",
        )

    def __len__(self) -> int:
        """Number of ordered pairs."""
        return int(self._episodes.ends[-1])

    @property
    def episodes(self) -> list[tuple[int, int]]:
        """(number of the store, index in it) of every episode that takes part."""
        return self._episodes.entries

    @property
    def skipped(self) -> list[Skipped]:
        """Episodes that take no part, and why."""
        return self._episodes.skipped

    def read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The pairs ``numbers``, stacked; see the class.

        Raises:
            StoreError: naming an episode whose chunks are damaged.
        """
        entries, within = self._episodes.locate(np.asarray(numbers))
        rows: list[dict[str, Any]] = []
        for entry, number in zip(entries.tolist(), within.tolist(), strict=True):
            store, index = self.episodes[entry]
            source = self._episodes.stores[store]
            header = source.info(index)
            before, after = divmod(number, header.frame_count - 1)
            after += after >= before
            steps = source.take(index, "frame_step", [before, after])
            row: dict[str, Any] = {"before_step": steps[0], "after_step": steps[1]}
            for view in self.views:
                both = source.take(index, f"frames/{view}", [before, after])
                row[f"before/{view}"], row[f"after/{view}"] = both
            if self._label is not None:
                label = np.asarray(self._label(header, steps), np.float32)
                row["before_label"], row["after_label"] = label
            rows.append(row)
        out = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return {"episode": entries, **out}
