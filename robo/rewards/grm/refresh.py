"""Co-evolution: the reward model learns from the policy's own frames while the policy learns.

A frozen model is exploited sooner or later: the policy finds frames that it takes for progress. So
the policy's episodes go into a buffer, with their outcome as label, and now and then a copy of the
model is trained on them beside the demonstrations. The copy replaces the model only if held-out
episodes say that it is no worse. Both must be strangers to these: a model that was fitted on the
demonstrations that judge looks better than any copy that was kept from them.

Labels of the policy's frames: a success is worth the time to go until its end, as demonstrations
are. A failure keeps a share of the progress that the model saw in it, and at most a ceiling (or
what a person has marked). Frames that look like a demonstration's are held up by the
demonstrations; frames that only fool the model sink, refresh by refresh.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from robo.errors import RoboError, StoreError
from robo.perception.augment import pad_edges
from robo.rewards.grm.bank import FrameBank
from robo.rewards.grm.compact import CompactGRM
from robo.rewards.grm.fit import CompactObjective
from robo.rewards.grm.fit_config import FitConfig, PairConfig
from robo.rewards.grm.policy_episodes import Outcome, PolicyEpisode, PolicyEpisodes
from robo.rewards.grm.potential import GRMPotential
from robo.rewards.grm.refresh_config import RefreshConfig
from robo.rewards.grm.refresh_verdict import Verdict, order_in_time
from robo.rewards.grm.training import LoopConfig, train
from robo.rewards.potential import PotentialTrack
from robo.rollout import CameraSchedule, Episode, Rollout

REFRESH_FIT = FitConfig(pairs=PairConfig(anchored=0.5))
"""Half of the pairs ask from GOAL, as the potential's anchor and the judgement do: the frames that
fool the model are few among all pairs, and a refresh is short."""


class RefreshedPotential:
    """A compact GRM's potential whose model is refreshed in training (implements ``Potential``)."""

    signals: tuple[str, ...] = ()

    def __init__(
        self,
        grm: CompactGRM,
        episodes: Iterable[Episode],
        mode: str = "backward",
        stride: int = 5,
        config: RefreshConfig | None = None,
        fit: FitConfig | None = None,
        device: str = "cpu",
        held_out: Iterable[Episode] | None = None,
    ) -> None:
        """Score with a copy of ``grm``, and refresh that copy.

        Args:
            grm: a fitted model; it is left as it is.
            episodes: labelled episodes of the task, demonstrations among them.
            mode: a :data:`robo.rewards.grm.anchors.AnchorMode`.
            stride: steps between two frames.
            config: when and how to refresh.
            fit: how a training step draws frames and pairs; views and sizes are the model's. None
                takes :data:`REFRESH_FIT`.
            device: where the model runs.
            held_out: demonstrations, and labelled failures, on which neither ``grm`` was fitted
                nor any copy will be: they judge. None keeps a share of the demonstrations among
                ``episodes`` from the copies. If ``grm`` was fitted on these, it has an advantage
                over every copy, and good copies are refused.

        Raises:
            StoreError: fewer than two demonstrations without ``held_out``: one judges, one
                trains; no demonstration among ``held_out``, or episodes of another task.
            RoboError: an argument is out of range, frames of another size.
        """
        self.config = config or RefreshConfig()
        self.fit = replace(fit or REFRESH_FIT, views=grm.config.views)
        self.given, self.grm = copy.deepcopy(grm), copy.deepcopy(grm)
        self.potential = GRMPotential(self.grm, mode, stride, device)
        self.camera: CameraSchedule | None = self.potential.camera
        self.stride, self.device = stride, device
        self.mode = self.potential.mode
        self.bank = FrameBank.of(
            episodes, grm.config.views, self.fit.labels, self.fit.augment.shift
        )
        self._check_task()
        self.buffer = PolicyEpisodes(grm.config.views, grm.size, self.config.capacity)
        self.rng = np.random.default_rng(self.config.seed)
        self.judge_bank, self.judges, self.teachers = self._judges(held_out)
        lengths = self.bank.count[self.bank.demos]
        self.pace = float(np.median(lengths)) - 1.0
        self.calls = self.accepted = self.refused = 0
        self.outcome: Outcome | None = None
        """Who says whether the policy's episodes succeeded; None: the simulator."""

    def _check_task(self) -> None:
        """Refuse episodes of another task than the one whose references are compared with."""
        known = self.grm.task
        if len(self.grm.tasks) > 1 and self.bank.task != known:
            raise StoreError(
                f"the episodes to refresh with are of {self.bank.task}, the GRM compares with "
                f"START and GOAL of {known}; give episodes of that task, or name theirs by "
                "--reward.grm-task"
            )

    def _judges(
        self, held_out: Iterable[Episode] | None
    ) -> tuple[FrameBank, np.ndarray, np.ndarray]:
        """A bank, which of its demonstrations judge, and which of ours train."""
        bank = self.bank
        if held_out is None:
            if len(bank.demos) < 2:
                raise StoreError(
                    "refreshing needs at least two demonstrations, of which one judges the new "
                    f"model; there are {len(bank.demos)}"
                )
            count = max(1, round(self.config.held_out_share * len(bank.demos)))
            judges = self.rng.permutation(bank.demos)[:count]
            return bank, judges, np.setdiff1d(bank.demos, judges)
        # Both are labelled by one horizon, so that equal states are worth the same.
        labels = replace(self.fit.labels, horizon=bank.labeller.horizon)
        other = FrameBank.of(held_out, bank.views, labels, 0)
        if other.task != bank.task or other.labeller.subtasks != bank.labeller.subtasks:
            raise StoreError(
                f"the held-out episodes are of {other.task} in {other.labeller.subtasks} subtasks, "
                f"those to learn from of {bank.task} in {bank.labeller.subtasks}; hold out "
                "episodes of the same task with the same keyframes"
            )
        if other.size != bank.size:
            raise RoboError(
                f"the held-out frames are {other.size[0]}x{other.size[1]} pixels (height x width), "
                f"those to learn from {bank.size[0]}x{bank.size[1]}; collect at one size"
            )
        return other, other.demos, bank.demos

    @property
    def counts(self) -> dict[str, int]:
        """Those of the potential, and how many refreshes were accepted and refused."""
        own = {"refreshes_accepted": self.accepted, "refreshes_refused": self.refused}
        return {**self.potential.counts, **own, "policy_episodes": len(self.buffer.ended)}

    def __call__(self, rollout: Rollout) -> PotentialTrack:
        """Potentials of one rollout by the model as it is; then, when due, a refresh.

        The refreshed model is used from the next rollout on, so that both potentials of a step
        come from one model, but for the step at a cut.
        """
        track = self.potential(rollout)
        self.buffer.add(rollout, self.outcome)
        self.calls += 1
        due = self.calls % self.config.every_iterations == 0
        if due and self.buffer.count(False) >= self.config.fewest_failures:
            self.refresh()
        return track

    def refresh(self) -> bool:
        """Train a copy on demonstrations and the policy's episodes; take it if it is no worse.

        Returns:
            Whether it was taken.
        """
        judge, learn = self._split()
        bank = self._joined(learn)
        candidate = copy.deepcopy(self.grm)
        # The fit reseeds nothing: every draw comes from this generator, which is saved.
        train(
            CompactObjective(candidate.train(), [bank], self.fit),
            LoopConfig(self.config.steps, self.config.learning_rate, self.fit.weight_decay),
            self.rng,
        )
        candidate.eval()
        now, given = self.verdict(self.grm, judge), self.verdict(self.given, judge)
        taken = now.allows(self.verdict(candidate, judge), given, self.config.tolerance)
        if taken:
            self.grm.load_state_dict(candidate.state_dict())
            self._renew_scorer()
            self.accepted += 1
        else:
            self.refused += 1
        return taken

    def _renew_scorer(self) -> None:
        """References and the open episodes' frames have other embeddings under new weights."""
        state = self.potential.state_dict()
        potential = GRMPotential(self.grm, self.mode, self.stride, self.device)
        ends = self.buffer.open_ends()
        for row, episode in enumerate(state["open"]["episode"].tolist()):
            if episode in ends:
                views = {view: ends[episode][:, i] for i, view in enumerate(potential.scorer.views)}
                first, newest = potential.scorer.encode(views).cpu()
                state["open"]["start"][row], state["open"]["previous"][row] = first, newest
        potential.load_state_dict(state)
        self.potential = potential

    def _split(self) -> tuple[list[PolicyEpisode], list[PolicyEpisode]]:
        """The policy's episodes that judge, and those that train: each the same role for good."""
        every = max(2, round(1.0 / self.config.held_out_share))
        judge, learn = [], []
        for number, episode in self.buffer.numbered():
            (learn if number % every else judge).append(episode)
        return judge, learn

    def progress(self, grm: CompactGRM, images: torch.Tensor) -> np.ndarray:
        """Backward-anchored progress ``[F]`` of frames: each by itself."""
        with torch.inference_mode():
            views = {view: images[:, i] for i, view in enumerate(grm.config.views)}
            start, goal = grm.reference_embeddings()
            hop = grm.hops(goal[None], grm.encode(views), start, goal)
            return (1.0 + hop).clamp(0.0, 1.0).cpu().numpy()

    def label(self, episode: PolicyEpisode) -> np.ndarray:
        """Progress labels ``[F]`` of one of the policy's episodes."""
        frames = len(episode.images)
        if episode.success and episode.ceiling is None:
            to_go = np.arange(frames)[::-1] * self._frames_per_row()
            return np.maximum(0.0, 1.0 - to_go / self.pace).astype(np.float32)
        most = self.config.failure_ceiling if episode.ceiling is None else episode.ceiling
        seen = self.progress(self.grm, episode.images)
        share = self.config.discount if episode.ceiling is None else 1.0
        return np.minimum(share * seen, most).astype(np.float32)

    def _frames_per_row(self) -> float:
        """States between two of the policy's frames, in the demonstrations' frames."""
        first = self.bank.demos[0]
        rows = self.bank.first[first] + np.arange(int(self.bank.count[first]))
        spacing = float(np.median(np.diff(self.bank.step[rows]))) or 1.0
        return self.stride / spacing

    def _joined(self, learn: list[PolicyEpisode]) -> FrameBank:
        """The bank without the judging demonstrations, and with the policy's episodes."""
        bank = self.bank
        if not learn:
            return replace(bank, demos=self.teachers)
        count = np.array([len(episode.images) for episode in learn])
        success = np.array([episode.success for episode in learn])
        known = len(bank.count)
        index = known + np.arange(len(learn))
        images = np.concatenate([pad_edges(e.images.numpy(), bank.margin) for e in learn])
        step = np.concatenate([np.arange(size) * self.stride for size in count])
        total = np.concatenate([bank.count, count])
        return replace(
            bank,
            padded=np.concatenate([bank.padded, images]),
            label=np.concatenate([bank.label, *(self.label(episode) for episode in learn)]),
            episode=np.concatenate([bank.episode, np.repeat(index, count)]),
            step=np.concatenate([bank.step, step]),
            first=np.cumsum(total) - total,
            count=total,
            demos=np.concatenate([self.teachers, index[success]]),
            failures=np.concatenate([bank.failures, index[~success]]),
        )

    def verdict(self, grm: CompactGRM, judge: list[PolicyEpisode]) -> Verdict:
        """What held-out demonstrations and the policy's held-out episodes say of ``grm``."""
        errors, order, ends = [], [], []
        for demo in self.judges:
            seen = self.progress(grm, self._held_out_frames(demo))
            errors.append(np.abs(seen - self._held_out_labels(demo)).mean())
            order.append(order_in_time(seen))
        for episode in judge:
            if episode.success:
                order.append(order_in_time(self.progress(grm, episode.images)))
            else:
                ends.append(self.progress(grm, episode.images[-1:])[0])
        # Failures among the episodes to learn from are trained on: they judge nothing.
        given = () if self.judge_bank is self.bank else self.judge_bank.failures
        ends += [self.progress(grm, self._held_out_frames(one)[-1:])[0] for one in given]
        end = float(np.mean(ends)) if ends else float("nan")
        return Verdict(float(np.mean(errors)), end, float(np.mean(order)))

    def _held_out_frames(self, episode: int) -> torch.Tensor:
        """uint8 ``[F, V, H, W, 3]`` of an episode of the judging bank."""
        bank = self.judge_bank
        height, width = bank.size
        edge = bank.margin
        rows = slice(bank.first[episode], bank.first[episode] + bank.count[episode])
        inner = bank.padded[rows, :, edge : edge + height, edge : edge + width]
        return torch.from_numpy(np.ascontiguousarray(inner))

    def _held_out_labels(self, episode: int) -> np.ndarray:
        """``[F]`` labels of an episode of the judging bank."""
        bank = self.judge_bank
        return bank.label[bank.first[episode] : bank.first[episode] + bank.count[episode]]

    def learned(self) -> dict[str, Any]:
        """Copies of the weights as they are now."""
        weights = {name: part.cpu().clone() for name, part in self.grm.state_dict().items()}
        return {"weights": weights}

    def take_learned(self, learned: dict[str, Any]) -> None:
        """Score with the weights of :meth:`learned` from now on.

        Raises:
            RoboError: weights of another network.
        """
        try:
            self.grm.load_state_dict(learned["weights"])
        except RuntimeError as error:
            raise RoboError(
                "the checkpoint's reward model is of another shape; resume with the same GRM"
            ) from error
        self._renew_scorer()

    def state_dict(self) -> dict[str, Any]:
        """Weights, buffer, generator, counters, and the potential's own state."""
        return {
            **self.learned(),
            "potential": self.potential.state_dict(),
            "buffer": self.buffer.state_dict(),
            "rng": self.rng.bit_generator.state,
            "counts": [self.calls, self.accepted, self.refused],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            RoboError: weights of another network.
        """
        self.take_learned(state)
        self.potential.load_state_dict(state["potential"])
        self.buffer.load_state_dict(state["buffer"])
        self.rng.bit_generator.state = state["rng"]
        self.calls, self.accepted, self.refused = (int(value) for value in state["counts"])
