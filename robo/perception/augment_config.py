"""What may be chosen about image augmentation, apart from torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly training images are varied."""

    shift: int = 2
    """Largest shift in pixels, each way and axis (edges are repeated)."""
    brightness: float = 0.15
    """Half the range of a common offset, as a share of the full pixel range."""
    contrast: float = 0.15
    """Half the range of a common factor around 1."""
    colour: float = 0.05
    """Half the range of a factor per colour channel around 1."""
    view_dropout: float = 0.1
    """Chance that a view of a frame is blanked; one view of each frame always stays."""
