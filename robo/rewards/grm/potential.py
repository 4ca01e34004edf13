"""The GRM as a potential: all frame rows of a rollout in one batch, progress held in between."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.grm.anchors import NEEDS, Hops, anchored_progress, check_mode
from robo.rewards.grm.backbone import counts
from robo.rewards.grm.compact import CompactGRM
from robo.rewards.grm.references import usable_mode
from robo.rewards.potential import PotentialCarry, PotentialTrack, hold
from robo.rollout import CameraSchedule, Frames, Rollout


class FrameScorer(Protocol):
    """What a potential asks of a model: rows for frames, and hops between rows."""

    mode: str
    """Which hops :meth:`hops` gives."""
    views: tuple[str, ...]
    """Camera roles that it reads."""
    size: tuple[int, int]
    """(height, width) of their images."""

    def encode(self, views: Mapping[str, Any]) -> Tensor:
        """Rows ``[M, E]`` of frames ``[M, H, W, 3]``: what is kept of them."""
        ...

    def hops(self, embedding: Tensor, previous: Tensor, start: Tensor) -> Hops:
        """Hops to M frames from their previous and first ones, and from GOAL; on the CPU."""
        ...

    def empty(self) -> Tensor:
        """Rows ``[0, E]``."""
        ...


def make_scorer(grm: AnyGRM, mode: str, device: str | torch.device, max_batch: int) -> FrameScorer:
    """The scorer of a compact model, or the one that a model of another kind makes itself.

    Raises:
        RoboError: if the mode is unknown, ``max_batch`` is below 1 or references are missing.
    """
    if isinstance(grm, CompactGRM):
        return Scorer(grm, mode, device, max_batch)
    return grm.scorer(mode, device, max_batch)


class ScorerMaker(Protocol):
    """A model of another kind than the compact one."""

    def scorer(self, mode: str, device: str | torch.device, max_batch: int) -> FrameScorer:
        """See :func:`make_scorer`."""
        ...


AnyGRM = CompactGRM | ScorerMaker


def for_task(model: AnyGRM, task: str) -> AnyGRM:
    """``model`` with the references of ``task``, where it, or a member of it, serves several tasks.

    Raises:
        RoboError: a model of several tasks, none of them ``task``.
    """
    choose_task = getattr(model, "for_task", None)
    return model if choose_task is None else choose_task(task)


def tasks_of(model: AnyGRM) -> tuple[str, ...]:
    """Tasks whose references a model, or each member of it, has; empty where it does not say."""
    return tuple(getattr(model, "tasks", ()))


class Scorer:
    """A compact GRM with its references encoded: embeddings and hops in bounded batches."""

    def __init__(
        self, grm: CompactGRM, mode: str, device: str | torch.device, max_batch: int
    ) -> None:
        """Move ``grm`` to ``device`` and encode its references there.

        Raises:
            RoboError: if the mode is unknown, ``max_batch`` is below 1 or references are missing.
        """
        check_mode(mode)
        if max_batch < 1:
            raise RoboError(f"GRM max_batch is {max_batch}, expected at least 1 frame")
        self.grm = grm.to(device).eval()
        self.mode = usable_mode(mode, grm.reference)
        self.views, self.size = grm.config.views, grm.size
        self.device = torch.device(device)
        # Small batches stay in a CPU's cache: 64 frames at once run up to twice as fast as 1,024.
        self.max_batch = min(max_batch, 64) if self.device.type == "cpu" else max_batch
        with self._half():
            start, goal = (part.float() for part in grm.reference_embeddings())
        with torch.inference_mode():
            self._goal_before = grm.roles(goal)[0]
            self._reference = grm.roles(start)[2] + grm.roles(goal)[3]

    @contextlib.contextmanager
    def _half(self) -> Any:
        """No gradients, and half precision on a GPU (for the encoder, not for the small head)."""
        accelerated = self.device.type == "cuda"
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=accelerated):
            yield

    def encode(self, views: Mapping[str, Any]) -> Tensor:
        """float32 ``[M, E]`` of frames ``[M, H, W, 3]``, at most ``max_batch`` at a time."""
        rows = len(next(iter(views.values())))
        with self._half():
            parts = [
                self.grm.encode(
                    {name: image[first : first + self.max_batch] for name, image in views.items()}
                ).float()
                for first in range(0, rows, self.max_batch)
            ]
            if not parts:
                return torch.zeros((0, self.grm.config.embedding), device=self.device)
            joined = torch.cat(parts)
        return joined.clone()  # a plain tensor, which later code may change

    def empty(self) -> Tensor:
        """Embeddings of no frame, ``[0, E]``."""
        return torch.zeros((0, self.grm.config.embedding))

    def hops(self, embedding: Tensor, previous: Tensor, start: Tensor) -> Hops:
        """Hops to M frames, on the CPU, where the recursion over frames is cheapest.

        Args:
            embedding: ``[M, E]`` of the frames.
            previous: ``[M, E]`` of each one's previous frame.
            start: ``[M, E]`` of its episode's first frame.
        """
        wanted = NEEDS[self.mode]
        anchors = {"incremental": previous, "forward": start}
        found: dict[str, Tensor] = {}
        with torch.inference_mode():
            after = self.grm.roles(embedding)[1]
            for name in wanted:
                before = (
                    self._goal_before
                    if name == "backward"
                    else self.grm.roles(anchors[name].to(self.device))[0]
                )
                zero = after.new_zeros(1)
                hop = self.grm.hops_from_roles(before, after, self._reference, zero)
                found[name] = hop.float().cpu()
        return Hops(**{name: hop.clone() for name, hop in found.items()})


class GRMPotential:
    """Potential of every state from camera frames alone (implements ``Potential``).

    ``backward`` looks at each frame by itself; the other modes depend on the path, and keep the
    start, the previous frame and the progress of each open episode across rollouts. Where a
    rollout is cut changes nothing: the frame at step T comes again at step 0 of the next rollout
    and is not counted twice.
    """

    signals: tuple[str, ...] = ()

    def __init__(
        self,
        grm: AnyGRM,
        mode: str = "backward",
        stride: int = 5,
        device: str | torch.device = "cpu",
        max_batch: int = 1024,
    ) -> None:
        """Score with ``grm``.

        Args:
            grm: a model with references, of any kind.
            mode: a :data:`robo.rewards.grm.anchors.AnchorMode`.
            stride: steps between two frames.
            device: where to run the network.
            max_batch: frames encoded at once at most.

        Raises:
            RoboError: if an argument is out of range or references are missing.
        """
        if stride < 1:
            raise RoboError(f"GRM stride is {stride}, expected at least 1 step")
        self.grm = grm
        self.scorer = make_scorer(grm, mode, device, max_batch)
        self.mode = self.scorer.mode
        self.stride = stride
        self.camera: CameraSchedule | None = CameraSchedule(
            self.scorer.views, *self.scorer.size, stride
        )
        self._asked = (mode, device, max_batch)
        self.follows_task = False
        """Whether references are those of the rollouts' task, of a model of several tasks."""
        self.invalid = 0
        self.rows = 0
        self._carry: PotentialCarry | None = None
        self._open = self._nothing_open()

    @classmethod
    def load(
        cls,
        folder: str | Path,
        mode: str = "backward",
        stride: int = 5,
        device: str | torch.device = "cpu",
        max_batch: int = 1024,
        task: str | None = None,
    ) -> GRMPotential:
        """Read a GRM's folder, of any kind; arguments as for the class.

        ``task`` says whose references a GRM of several tasks compares with; None: those of the
        task that the rollouts are of.

        Raises:
            CheckpointError: if the folder is missing, damaged or of another shape.
            RoboError: a GRM of several tasks, none of them ``task``.
        """
        from robo.rewards.grm.folder import load_model

        model = load_model(Path(folder), str(device))
        if task is not None:
            model = for_task(model, task)
        potential = cls(model, mode, stride, device, max_batch)
        potential.follows_task = task is None and len(tasks_of(model)) > 1
        return potential

    def _compare_with_task_of(self, rollout: Rollout) -> None:
        """Take the references of the rollout's task.

        Raises:
            RoboError: a rollout of several tasks, or of one that the model does not know.
        """
        shown = torch.unique(rollout.episode).tolist()
        found = sorted({rollout.episodes[i].task for i in shown if i in rollout.episodes})
        if len(found) > 1:
            raise RoboError(
                f"the episodes are of tasks {found}, and a GRM compares with START and GOAL of "
                "one; score them task by task"
            )
        if found and found[0] != getattr(self.grm, "task", None):
            self.grm = for_task(self.grm, found[0])
            self.scorer = make_scorer(self.grm, *self._asked)
            self.mode = self.scorer.mode

    def _nothing_open(self) -> dict[str, Tensor]:
        """Tables of the open episodes, without a row."""
        return {
            "episode": torch.zeros(0, dtype=torch.int64),
            "start": self.scorer.empty(),
            "previous": self.scorer.empty(),
            "progress": torch.zeros(0),
            "at_end": torch.zeros(0, dtype=torch.bool),
        }

    def __call__(self, rollout: Rollout) -> PotentialTrack:
        """Potentials in [0, 1] of one rollout; call it once per rollout, in order.

        Raises:
            PotentialError: if the rollout has no frames.
            RoboError: if a view is missing or of another size, or the model serves several tasks,
                and the rollout is of none of them.
        """
        if self.follows_task:
            self._compare_with_task_of(rollout)
        frames = rollout.frames
        value = self._score(rollout, frames) if frames is not None else torch.zeros(0)
        track, self._carry = hold(rollout, value, self._carry)
        return track

    def _score(self, rollout: Rollout, frames: Frames) -> Tensor:
        """Progress ``[M]`` of the frame rows, continuing and then replacing the open episodes."""
        if len(frames) == 0:
            return torch.zeros(0)
        embedding = self.scorer.encode(frames.views)
        step, episode = frames.step.cpu(), frames.episode.cpu()
        ids, slot = torch.unique(episode, return_inverse=True)
        state = self._resume(ids, embedding.device)
        order = torch.argsort(slot, stable=True)  # rows come by step: now by episode, then step
        count = torch.bincount(slot, minlength=len(ids))
        first = order[count.cumsum(0) - count]
        rank = torch.empty_like(slot)
        rank[order] = torch.arange(len(slot)) - (count.cumsum(0) - count)[slot[order]]
        fresh = state["fresh"]
        # The frame at a cut is known from the last rollout: it keeps its embedding and progress.
        seam = (rank == 0) & (step == 0) & ~fresh[slot] & state["at_end"][slot]
        embedding = choose(seam, state["previous"][slot], embedding)
        state["start"][fresh] = embedding[first[fresh]]
        before = torch.zeros_like(slot)
        before[order[1:]] = order[:-1]
        opening = choose(fresh[slot], embedding, state["previous"][slot])
        previous = choose(rank == 0, opening, embedding[before])
        hops = self.scorer.hops(embedding, previous, state["start"][slot])
        self._zero_first(hops, (rank == 0) & fresh[slot])
        value = torch.zeros(len(slot))
        progress = state["progress"]
        for turn in range(int(count.max())):
            row = torch.nonzero(rank == turn).squeeze(1)
            known, at = progress[slot[row]], seam[row]
            following, invalid = anchored_progress(self.mode, known, hops.rows(row))
            value[row] = torch.where(at, known, following)
            progress[slot[row]] = value[row]
            self.invalid += int((invalid & ~at).sum())
        self.rows += len(slot) - int(seam.sum())
        last = order[count.cumsum(0) - 1]
        state["previous"], state["at_end"] = embedding[last], step[last] == rollout.shape[0]
        self._keep(rollout, ids, state)
        return value

    @staticmethod
    def _zero_first(hops: Hops, first: Tensor) -> None:
        """The first frame is no hop away from itself, whatever the network says."""
        for part in (hops.incremental, hops.forward):
            if part is not None:
                part[first & part.isfinite()] = 0.0

    def _resume(self, ids: Tensor, device: torch.device) -> dict[str, Tensor]:
        """Per episode of ``ids``: start, previous, progress, at_end, and whether it is fresh."""
        known = self._open["episode"]
        match = ids[:, None] == known[None, :]
        fresh = ~match.any(dim=1) if len(known) else torch.ones(len(ids), dtype=torch.bool)
        at = match.long().argmax(dim=1) if len(known) else torch.zeros(len(ids), dtype=torch.int64)
        state: dict[str, Tensor] = {"fresh": fresh}
        for name, part in self._open.items():
            if name == "episode":
                continue
            rows = part.new_zeros((len(ids), *part.shape[1:]))
            if len(known):
                rows[~fresh] = part[at[~fresh]]
            state[name] = rows
        for name in ("start", "previous"):
            state[name] = state[name].to(device)
        return state

    def _keep(self, rollout: Rollout, ids: Tensor, state: dict[str, Tensor]) -> None:
        """Remember the episodes that go on after this rollout."""
        ongoing = rollout.episode[-1][~rollout.done[-1]].cpu()
        frames = rollout.frames
        assert frames is not None
        reset = frames.episode[(frames.step == rollout.shape[0]) & ~frames.final].cpu()
        alive = torch.unique(torch.cat([ongoing, reset]))
        kept = torch.isin(ids, alive)
        old = self._open["episode"]
        # An episode may go on without a frame in this rollout, where the stride is long.
        silent = torch.isin(old, alive) & ~torch.isin(old, ids)
        self._open["at_end"][:] = False
        seen = {"episode": ids, **state}
        self._open = {
            name: torch.cat([part[silent], seen[name].cpu()[kept].to(part.dtype)])
            for name, part in self._open.items()
        }

    @property
    def counts(self) -> dict[str, int]:
        """``rows`` scored, ``invalid`` ones among them, and the backbone's own counts."""
        own = {"rows": self.rows, "invalid": self.invalid}
        asked = counts(getattr(self.scorer, "backbone", None))
        return own | {f"backbone_{name}": number for name, number in asked.items()}

    def state_dict(self) -> dict[str, Any]:
        """Open episodes, held potentials and counters: tensors and numbers."""
        held = {} if self._carry is None else self._carry.state_dict()
        return {
            "open": {name: part.clone() for name, part in self._open.items()},
            "carry": held,
            "invalid": self.invalid,
            "rows": self.rows,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; the next rollout gives the same numbers."""
        self._open = {name: part.clone() for name, part in state["open"].items()}
        held = state["carry"]
        self._carry = PotentialCarry.from_state_dict(held) if held else None
        self.invalid, self.rows = int(state["invalid"]), int(state["rows"])


def choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """``[M, E]`` rows of ``yes`` where ``mask [M]`` holds, of ``no`` elsewhere."""
    return torch.where(mask.to(yes.device)[:, None], yes, no)
