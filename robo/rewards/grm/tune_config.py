"""What may be chosen about fine-tuning a vision-language reward model, apart from torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from robo.errors import RoboError
from robo.rewards.grm.fit_config import LabelConfig, PairSetConfig


@dataclass(frozen=True)
class TuneConfig:
    """How a vision-language model is fine-tuned on labelled pairs."""

    steps: int = 0
    """Training steps; 0 leaves the weights as they are."""
    batch: int = 8
    """Pairs per step."""
    method: Literal["lora", "full"] = "lora"
    """lora: low-rank adapters (peft); full: all weights, the visual encoder's included."""
    rank: int = 16
    """Rank of the adapters."""
    alpha: int = 32
    """Their scale, times 1/rank."""
    dropout: float = 0.0
    """Of the adapters' input."""
    vision: bool = False
    """With lora: adapters on the visual encoder too; its features can then not be cached."""
    objective: Literal["tokens", "hop", "both"] = "tokens"
    """tokens: cross-entropy of the answer; hop: smooth L1 of the expected hop; both: their sum."""
    decimals: int = 0
    """Of the percentage in the answers that are learned."""
    learning_rate: float = 1e-4
    """Peak of AdamW's; the released recipe takes 1e-5 for all weights."""
    weight_decay: float = 0.01
    """AdamW's."""
    gradient_checkpointing: bool = False
    """Less memory for more time; with objective tokens."""
    checkpoint_every: int | None = 100
    """Steps between two checkpoints; None writes none."""
    seed: int = 0
    """Of adapters, batches and dropout."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """Progress labels."""
    pairs: PairSetConfig = field(default_factory=PairSetConfig)
    """Pair sampling."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.steps < 0 or min(self.batch, self.rank) < 1 or not 0 <= self.dropout < 1:
            raise RoboError(
                f"steps {self.steps} must be at least 0, batch {self.batch} and rank {self.rank} "
                f"at least 1, dropout {self.dropout} in [0, 1)"
            )
        if self.gradient_checkpointing and self.objective != "tokens":
            raise RoboError(
                f"gradient_checkpointing needs objective tokens, it is {self.objective}: the "
                "expected hop is read over a cache"
            )
