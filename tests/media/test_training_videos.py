"""Videos during training: they appear, TensorBoard names them, and the run stays the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robo.errors import RoboError
from robo.media.training_videos import TrainingVideos
from robo.media.video import read_video
from robo.policies.learner_config import NetworkConfig
from robo.policies.train_config import TrainConfig, lift_ppo
from robo.policies.trainer import make_trainer
from robo.rewards.config import RewardConfig


def train(out: Path, videos: TrainingVideos | None) -> dict[str, torch.Tensor]:
    """Three updates on the smallest arm task; the last parameters."""
    config = TrainConfig(
        task="mujoco/Reach",
        num_envs=4,
        steps_per_rollout=16,
        total_steps=192,
        ppo=lift_ppo(),
        network=NetworkConfig(hidden=(8,), activation="tanh"),
        reward=RewardConfig(kind="success"),
        evaluate_every_steps=0,
        backend="native",
    )
    trainer = make_trainer(config, out, [] if videos is None else [videos], show=False)
    try:
        trainer.run()
        return {name: value.clone() for name, value in trainer.actor_critic.state_dict().items()}
    finally:
        trainer.close()
        if videos is not None:
            videos.close()


@pytest.mark.slow
def test_a_run_with_videos_is_the_run_without(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugin_util import markdown_to_safe_html

    videos = TrainingVideos(every=2)
    filmed, plain = train(tmp_path / "filmed", videos), train(tmp_path / "plain", None)
    assert all(torch.equal(value, plain[name]) for name, value in filmed.items())
    names = sorted(path.name for path in (tmp_path / "filmed" / "videos").iterdir())
    assert names == [
        f"step_{step:09d}.{kind}" for step in (64, 192) for kind in ("gif", "jpg", "mp4")
    ]
    assert [path.name for path in videos.written] == ["step_000000064.mp4", "step_000000192.mp4"]
    frames, fps = read_video(videos.written[0])
    assert frames.shape[1:] == (720, 1280, 3) and fps == 20
    events = EventAccumulator(
        str(tmp_path / "filmed" / "metrics" / "videos"), size_guidance={"images": 0}
    )
    events.Reload()
    previews = events.Images("video/preview")
    assert [one.step for one in previews] == [64, 192]
    assert previews[0].encoded_image_string[:6] == b"GIF89a"
    told = events.Tensors("video/file/text_summary")[0].tensor_proto.string_val[0].decode()
    # What a browser is given: links to files are taken out, code stays readable.
    assert f"<code>{videos.written[0].resolve()}</code>" in markdown_to_safe_html(told)


def test_a_rhythm_that_is_none() -> None:
    with pytest.raises(RoboError, match="every 0 updates"):
        TrainingVideos(every=0)
