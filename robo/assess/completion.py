"""Whether an attempt succeeded, partly succeeded or failed, read off its progress alone.

Source: Robo-Dopamine, arXiv 2512.23703, equation 58.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Completion = Literal["success", "partial", "failure"]


def completion(progress: Any) -> Completion:
    """The paper's rule.

    Args:
        progress: ``[F]`` in [0, 1], of frames evenly spaced over the attempt.

    Returns:
        ``success`` where the last is above 0.8 and the mean of the last third above 0.6;
        otherwise ``partial`` where the mean over all is at least 0.4; otherwise ``failure``.

    Raises:
        ValueError: no frame, or a value that is not finite.
    """
    values = np.asarray(progress, dtype=np.float64).ravel()
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"progress of {values.size} frames must be finite and not empty")
    last_third = values[-max(1, round(values.size / 3)) :]
    if values[-1] > 0.8 and last_third.mean() > 0.6:
        return "success"
    return "partial" if values.mean() >= 0.4 else "failure"
