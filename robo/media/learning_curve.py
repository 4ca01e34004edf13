"""A run's learning curves as one picture, from its TensorBoard events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robo.media.video import VideoError


def read_scalars(metrics: Path, tag: str) -> tuple[list[int], list[float]]:
    """Steps and values of one logged number, in order; both empty where it was never logged."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(metrics), size_guidance={"scalars": 0})
    events.Reload()
    if tag not in events.Tags()["scalars"]:
        return [], []
    # A resumed run logs some steps again: what was logged last counts.
    found = {event.step: float(event.value) for event in events.Scalars(tag)}
    return sorted(found), [found[step] for step in sorted(found)]


def write_learning_curve(metrics: Path, panels: Mapping[str, str], path: Path) -> Path:
    """Draw one panel per logged number, environment steps to the right.

    Args:
        metrics: folder of TensorBoard events.
        panels: tag to the panel's title, with its unit.
        path: of the PNG file.

    Raises:
        VideoError: none of the tags was logged, or the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = {tag: read_scalars(metrics, tag) for tag in panels}
    curves = {tag: curve for tag, curve in curves.items() if curve[0]}
    if not curves:
        raise VideoError(f"{metrics} holds none of {list(panels)}; was the run evaluated at all?")
    figure, axes = pyplot.subplots(
        1, len(curves), figsize=(5 * len(curves), 3.6), squeeze=False, layout="constrained"
    )
    for axis, (tag, (step, value)) in zip(axes[0], curves.items(), strict=True):
        axis.plot([one / 1000 for one in step], value, marker="o", markersize=3)
        axis.set_title(panels[tag])
        axis.set_xlabel("thousand environment steps")
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=min(0.0, *value))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise VideoError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        pyplot.close(figure)
    return path
