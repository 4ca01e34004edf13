"""What may be chosen about fitting a compact GRM, apart from torch.

Command lines read these without importing torch, so that ``--help`` comes at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from robo.errors import RoboError, StoreError
from robo.perception.augment_config import AugmentConfig
from robo.rollout import CAMERA_ROLES


@dataclass(frozen=True)
class LabelConfig:
    """How episodes are labelled."""

    first_subtask: Literal["time_to_go", "linear"] = "time_to_go"
    """time_to_go: 1/N * (1 - states to go / horizon); linear: 0 at every start."""
    horizon: float | None = None
    """States to go at which progress is 0; None takes the median first keyframe of the demos."""


@dataclass(frozen=True)
class PairConfig:
    """How pairs are drawn from the frames of one training step."""

    pairs: int = 4096
    """Pairs per step."""
    score_bins: int = 25
    """Bins of the hop over [-1, 1]; every bin that has candidates gets the same share."""
    gap_bins: int = 4
    """Bins of the distance in time within a score bin."""
    zero_hop: float = 0.05
    """Share of pairs of neighbouring frames labelled 0: nothing changed worth the name."""
    same_episode: float = 0.5
    """Share of the other pairs whose two frames come from one episode."""
    anchored: float = 0.2
    """Share of all pairs whose BEFORE is a GOAL reference, as backward-anchored scoring asks."""
    reference_swap: float = 0.75
    """Chance that START and GOAL come from other demonstrations than the pair's own."""

    def __post_init__(self) -> None:
        """Refuse shares that are no shares."""
        for name in ("zero_hop", "same_episode", "anchored", "reference_swap"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise StoreError(f"pair share {name} is {getattr(self, name)}, expected 0 to 1")
        if self.zero_hop + self.anchored > 1.0:
            raise StoreError(
                f"pair shares zero_hop {self.zero_hop} and anchored {self.anchored} sum to more "
                "than 1; lower one of them"
            )


@dataclass(frozen=True)
class PairSetConfig:
    """A fixed set of pairs, as a vision-language model is trained on."""

    samples: int = 1000
    """Pairs per episode, where it has so many different ones."""
    chunk: int = 5
    """States between two sampled ones, on the average over a demonstration (20 in the paper)."""
    score_bins: int = 25
    """Bins of the hop over [-1, 1]."""
    gap_bins: int = 4
    """Bins of the distance in time within a score bin."""
    zero_hop: float = 0.05
    """Share of pairs of nearby frames labelled 0."""
    reference_swap: float = 0.75
    """Chance that START and GOAL come from a random demonstration of the task."""
    view_dropout: float = 0.05
    """Chance that the side views of BEFORE, or of AFTER, are not shown."""
    context_dropout: float = 0.05
    """Chance that START or GOAL is not shown."""
    oversample: int = 100
    """Candidates looked at per wanted pair."""
    most_candidates: int = 100_000
    """Candidates of an episode looked at at most."""
    seed: int = 0
    """Of every choice."""

    def __post_init__(self) -> None:
        """Refuse shares that are no shares."""
        for name in ("zero_hop", "reference_swap", "view_dropout", "context_dropout"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise StoreError(f"pair share {name} is {getattr(self, name)}, expected 0 to 1")
        for name in ("samples", "chunk", "score_bins", "gap_bins", "oversample"):
            if getattr(self, name) < 1:
                raise StoreError(f"pair {name} is {getattr(self, name)}, expected at least 1")


@dataclass(frozen=True)
class FitConfig:
    """How the GRM is fitted."""

    iterations: int = 400
    """Training steps."""
    minutes: float | None = None
    """Wall-clock limit; the learning rate then falls with time, so runs differ a little."""
    seed: int = 0
    """Seed of weights, batches, augmentation and the choice of reference demonstrations."""
    views: tuple[str, ...] = ("front", "side", "wrist")
    """Camera roles that the GRM reads."""
    height: int | None = None
    """Image height in pixels; None takes that of the store."""
    width: int | None = None
    """Image width in pixels; None takes that of the store."""
    reference_views: tuple[str, ...] = ()
    """Views shown of START and GOAL references; empty for all."""
    episodes_per_step: int = 14
    """Episodes in a training step."""
    rows_per_episode: int = 12
    """Frames of each, spread over its length."""
    demo_share: float = 0.6
    """Share of demonstrations among a step's episodes, where there are failures too."""
    references: int = 4
    """Demonstrations whose frames are averaged into the START and GOAL references."""
    learning_rate: float = 3e-3
    """Peak of AdamW's learning rate; warm-up over 5 %, then cosine to 0."""
    weight_decay: float = 1e-3
    """AdamW's weight decay."""
    beta: float = 0.1
    """Where the smooth L1 loss turns from square to linear."""
    tasks_per_step: int = 2
    """With stores of several tasks: how many of them share a training step."""
    checkpoint_every: int | None = None
    """Steps between two checkpoints of the training, for --resume; None writes none."""
    device: str = "cpu"
    """Where to train."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """Progress labels."""
    pairs: PairConfig = field(default_factory=PairConfig)
    """Pair sampling."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Image augmentation."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        for name in ("iterations", "episodes_per_step", "references", "tasks_per_step"):
            if getattr(self, name) < 1:
                raise RoboError(f"fit {name} is {getattr(self, name)}, expected at least 1")
        unknown = [view for view in self.views if view not in CAMERA_ROLES]
        if not self.views or unknown:
            raise RoboError(
                f"fit views {list(self.views)} must be one or more of {list(CAMERA_ROLES)}: no "
                "reward could ask for others; `robo data import --views ROLE=VIEW` gives an "
                "imported view such a role"
            )
        if self.rows_per_episode < 2:
            raise RoboError(f"fit rows_per_episode is {self.rows_per_episode}, expected 2 or more")
