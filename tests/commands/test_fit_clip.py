"""``robo fit clip``: from a store to a folder that open_clip loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

open_clip = pytest.importorskip("open_clip")

from robo.commands.fit_clip import FitClip  # noqa: E402
from robo.data import EpisodeStore  # noqa: E402
from robo.errors import RoboError  # noqa: E402
from robo.perception.clip_config import ClipFitConfig, ClipShape  # noqa: E402
from robo.rollout import Episode, EpisodeInfo  # noqa: E402

SMALL = ClipFitConfig(
    shape=ClipShape(image_size=32, width=4, heads=2, context_length=16, text_width=8),
    iterations=2,
    batch_size=4,
    validation_share=0.5,
)


def lifted(number: int, steps: int = 6) -> Episode:
    """A cube that is on the table first and held then."""
    rng = np.random.default_rng(number)
    held = np.arange(steps) >= steps // 2
    return Episode(
        info=EpisodeInfo("mujoco/Lift"),
        observation={},
        action=np.zeros((steps, 1), np.float32),
        reward=np.zeros(steps, np.float32),
        success=True,
        terminated=True,
        signals={
            "cube_height": np.where(held, 0.1, 0.02).astype(np.float32),
            "tool_cube_distance": np.where(held, 0.01, 0.2).astype(np.float32),
        },
        frames={"front": rng.integers(0, 256, (steps + 1, 32, 32, 3)).astype(np.uint8)},
        frame_step=np.arange(steps + 1),
    )


def test_a_store_becomes_a_model(tmp_path: Path) -> None:
    EpisodeStore(tmp_path / "store").extend([lifted(number) for number in range(4)])
    out = tmp_path / "clip"
    command = FitClip((tmp_path / "store",), "lifting", SMALL, out=out)
    result = command.run()
    assert result["iterations"] == 2 and Path(result["clip"]) == out
    # Two of four episodes are kept back; of each, three frames show either scene.
    assert result["frames"] == result["validation_frames"]
    assert result["frames"] == {"held": 6, "on_the_table": 6, "around": 0}
    assert set(result["auc"]) == {"mean", "worst", "paraphrases"}
    model = open_clip.create_model(f"local-dir:{out}")
    assert model.visual.image_size == 32


def test_captions_of_another_task(tmp_path: Path) -> None:
    EpisodeStore(tmp_path / "store").extend([lifted(0)])
    with pytest.raises(RoboError, match="no view 'bird'"):
        FitClip((tmp_path / "store",), "driving", SMALL, out=tmp_path / "clip").run()
