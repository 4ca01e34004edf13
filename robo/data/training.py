"""Training input: windows of steps and pairs of frames from any number of stores.

:class:`~robo.data.training_loader.TrainingLoader` reads them in batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from robo.data.schema import EpisodeHeader
from robo.data.store import EpisodeStore
from robo.errors import StoreError

Kind = tuple[str, tuple[int, ...]]
"""Of an array's rows: dtype and shape."""


@dataclass(frozen=True)
class Skipped:
    """An episode that takes no part."""

    store: str
    """Where it lies."""
    episode: int
    """Its index there."""
    reason: str
    """Why."""


class Samples(ABC):
    """Samples by number, as ``torch.utils.data.DataLoader`` asks for them.

    ``__getitems__`` reads those of a batch together; DataLoader's default collation stacks them.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The samples ``numbers``, stacked, by name."""

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        """One sample by name, without the axis of :meth:`read`; negative numbers count back.

        Raises:
            IndexError: there is no such sample.
            StoreError: its episode is damaged.
        """
        count = len(self)
        if not -count <= number < count:
            raise IndexError(f"sample {number} does not exist; there are {count}")
        found = self.__getitems__([number % count])
        if not found:  # skip_damaged: a single sample has nothing to give instead
            raise StoreError(f"sample {number} lies in a damaged episode, listed in `skipped`")
        return found[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[dict[str, np.ndarray]]:
        """The listed samples, read together; damaged ones left out where that was asked for."""
        arrays = self.read(np.asarray(numbers, np.int64))
        count = len(arrays["episode"])
        return [{name: rows[row] for name, rows in arrays.items()} for row in range(count)]


class _Episodes:
    """Episodes of several stores that have what is asked for."""

    def __init__(
        self,
        stores: Sequence[EpisodeStore],
        views: Sequence[str],
        where: Callable[[EpisodeHeader], bool] | None,
        count: Callable[[EpisodeHeader], int],
        too_few: str,
        misfit: Callable[[EpisodeHeader], str] = lambda header: "",
        skip_damaged: bool = False,
    ) -> None:
        if not stores:
            raise StoreError("training input needs at least one episode store, got none")
        self.stores = list(stores)
        self.skipped: list[Skipped] = []
        self.entries: list[tuple[int, int]] = []
        self._skip_damaged = skip_damaged
        self.damaged: dict[int, Skipped] = {}  # by entry, as they are met
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
                elif unlike := misfit(header):
                    reason = unlike
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

    def undamaged(self, entry: int, read: Callable[[], Any]) -> bool:
        """Whether ``read`` went well; a damaged episode is listed once where they are skipped.

        Raises:
            StoreError: naming the damaged episode, where they are not.
        """
        try:
            read()
        except StoreError as error:
            if not self._skip_damaged:
                raise
            store, index = self.entries[entry]
            lost = Skipped(str(self.stores[store].path), index, f"damaged: {error}")
            self.damaged.setdefault(entry, lost)
            return False
        return True

    def locate(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entry of each sample, and its number within that entry's episode."""
        entry = np.searchsorted(self.ends, numbers, side="right")
        before = np.concatenate([[0], self.ends])[entry]
        return entry, numbers - before


class Windows(Samples):
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
        skip_damaged: bool = False,
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
                Episodes that lack one, or have it in another shape or dtype than the first, are
                left out.
            where: which episodes, by their headers.
            skip_damaged: leave windows of damaged episodes out of what is read (a batch is then
                smaller) and list the episodes in :attr:`skipped`, rather than raise.

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
        kinds: dict[str, Kind] = {}

        def misfit(header: EpisodeHeader) -> str:
            """What keeps an episode out; the first that fits decides which arrays there are."""
            found = {spec.name: (spec.dtype, tuple(spec.shape[1:])) for spec in header.arrays}
            if not kinds:
                usual = [name for name in found if not name.startswith("frame")]
                unknown = sorted(set(keys or ()) - set(found))
                if unknown:
                    raise StoreError(
                        f"no arrays {unknown} in the first episode that fits; it has {list(found)}"
                    )
                kinds.update({name: found[name] for name in (usual if keys is None else keys)})
            return _unlike(kinds, found)

        self._episodes = _Episodes(stores, views, where, count, lack, misfit, skip_damaged)
        self.keys = tuple(kinds)

    def __len__(self) -> int:
        """Number of windows."""
        return int(self._episodes.ends[-1])

    @property
    def episodes(self) -> list[tuple[int, int]]:
        """(number of the store, index in it) of every episode that takes part."""
        return self._episodes.entries

    @property
    def skipped(self) -> list[Skipped]:
        """Episodes that take no part, and why; damaged ones from when this process meets them."""
        return [*self._episodes.skipped, *self._episodes.damaged.values()]

    def header(self, episode: int) -> EpisodeHeader:
        """Header of an episode of a batch."""
        store, index = self.episodes[episode]
        return self._episodes.stores[store].info(index)

    def read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The windows ``numbers``, stacked; see the class.

        Raises:
            StoreError: naming an episode whose chunks are damaged, unless those are skipped.
        """
        entries, starts = self._episodes.locate(np.asarray(numbers))
        out: dict[str, np.ndarray] = {"episode": entries, "start": starts}
        valid = np.zeros((len(entries), self.length), bool)
        whole = np.ones(len(entries), bool)
        for row, (entry, start) in enumerate(zip(entries.tolist(), starts.tolist(), strict=True)):
            read = partial(self._read_row, out, row, entry, start, len(entries))
            whole[row] = self._episodes.undamaged(entry, read)
            steps = self.header(entry).length
            valid[row] = start + np.arange(self.length) * self.stride < steps
        out["valid"] = valid
        return out if whole.all() else {name: rows[whole] for name, rows in out.items()}

    def _read_row(
        self, out: dict[str, np.ndarray], row: int, entry: int, start: int, rows: int
    ) -> None:
        """Fill one of the ``rows`` rows of ``out``, whose arrays the first row makes."""
        store, index = self.episodes[entry]
        source = self._episodes.stores[store]
        names = (*self.keys, *(f"frames/{view}" for view in self.views))
        for name in names:
            if name not in out:
                spec = source.array(index, name)
                out[name] = np.zeros((rows, self.length, *spec.shape[1:]), spec.dtype)
        for name in names:
            self._read_into(out[name][row], source, index, name, start)

    def _read_into(
        self, out: np.ndarray, store: EpisodeStore, index: int, name: str, start: int
    ) -> None:
        """Fill ``out`` ``[W, ...]`` as far as the array ``name`` goes."""
        spec = store.array(index, name)
        stop = min(start + (self.length - 1) * self.stride + 1, spec.shape[0])
        if self.stride > 1:
            part = store.take(index, name, np.arange(start, stop, self.stride))
            out[: len(part)] = part
        else:
            # Decoded where it is wanted: a window of pictures is not copied once more.
            store.rows(index, name, start, stop, out[: stop - start])


class Pairs(Samples):
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
        skip_damaged: bool = False,
    ) -> None:
        """List the pairs; no episode is opened.

        Args:
            stores: read in order.
            views: camera roles; episodes that lack one are left out (:attr:`skipped`).
            label: from an episode's header and states ``[F]`` to progress ``[F]`` in [0, 1].
            where: which episodes, by their headers.
            skip_damaged: as for :class:`Windows`.

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
            skip_damaged=skip_damaged,
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
        """Episodes that take no part, and why; damaged ones from when this process meets them."""
        return [*self._episodes.skipped, *self._episodes.damaged.values()]

    def read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The pairs ``numbers``, stacked; see the class.

        Raises:
            StoreError: naming an episode whose chunks are damaged, unless those are skipped.
        """
        entries, within = self._episodes.locate(np.asarray(numbers))
        rows: list[dict[str, Any]] = []
        for entry, number in zip(entries.tolist(), within.tolist(), strict=True):
            row: dict[str, Any] = {"episode": entry}
            if self._episodes.undamaged(entry, partial(self._read_row, row, entry, number)):
                rows.append(row)
        if not rows:
            return {"episode": np.zeros(0, np.int64)}
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _read_row(self, row: dict[str, Any], entry: int, number: int) -> None:
        """Put the pair ``number`` of one episode into ``row``."""
        store, index = self.episodes[entry]
        source = self._episodes.stores[store]
        header = source.info(index)
        before, after = divmod(number, header.frame_count - 1)
        after += after >= before
        steps = source.take(index, "frame_step", [before, after])
        row["before_step"], row["after_step"] = steps
        for view in self.views:
            both = source.take(index, f"frames/{view}", [before, after])
            row[f"before/{view}"], row[f"after/{view}"] = both
        if self._label is not None:
            label = np.asarray(self._label(header, steps), np.float32)
            row["before_label"], row["after_label"] = label


def _unlike(wanted: dict[str, Kind], found: dict[str, Kind]) -> str:
    """How an episode's arrays differ from those of the first; nothing where they do not."""
    lacking = sorted(set(wanted) - set(found))
    if lacking:
        return f"it has no arrays {lacking}"
    for name, (dtype, shape) in wanted.items():
        own_dtype, own_shape = found[name]
        if (own_dtype, own_shape) != (dtype, shape):
            return (
                f"its {name} is {own_dtype} of {list(own_shape)} a row, that of the first {dtype} "
                f"of {list(shape)}"
            )
    return ""
