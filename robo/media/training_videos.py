"""Videos during training: the policy plays an episode now and then; TensorBoard previews it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo.errors import RoboError
from robo.media.stored import reward_hops, score_episodes
from robo.rollout import CameraSchedule, Episode

if TYPE_CHECKING:
    from robo.policies.trainer import Iteration
    from robo.rewards.base import Reward

VIEWS = CameraSchedule(height=256, width=256, stride=1)
"""What is shown where the reward itself reads no frames."""


@dataclass
class TrainingVideos:
    """A callback of the trainer: every k updates, one episode of the policy as its reward sees it.

    It plays in an environment of its own, with a generator and a reward of its own, so that a
    run with videos ends with the same bits as one without. That reward knows what the run's own
    has learned by then (a refreshed model, references), but not the episodes played beside it.

    The file goes to the run's folder ``videos``. TensorBoard shows a moving preview and, as text,
    where the file lies, under the run ``videos``: it takes links to files out of its pages.
    """

    every: int
    """Updates between two videos, at least 1."""
    seed: int = 77_000
    """Of the initial state that is played, the same each time."""
    fps: float = 20.0
    """Steps shown per second."""
    written: list[Path] = field(default_factory=list)
    """The videos so far."""
    _env: Any = None
    _reward: Any = None

    def __post_init__(self) -> None:
        """Refuse a rhythm that is none."""
        if self.every < 1:
            raise RoboError(f"videos every {self.every} updates, expected at least 1")

    def __call__(self, iteration: Iteration) -> None:
        """Play and film where an update is due, on the first of several processes.

        Raises:
            RoboError: a full disk, or a task that cannot be rendered.
        """
        from robo.policies import distributed

        trainer = iteration.trainer
        if distributed.rank() or (trainer.iteration - 1) % self.every:
            return
        episode = self._play(trainer)
        path = trainer.folder.videos / f"step_{iteration.step:09d}.mp4"
        self._film(trainer, episode, path)
        self.written.append(path)
        self._log(trainer, path, iteration.step, episode)

    def _play(self, trainer: Any) -> Episode:
        from robo.policies.recorder import PolicyActor, record_episodes
        from robo.sim.registry import make_vec

        config = trainer.config
        if self._env is None:
            self._env = make_vec(config.task, 1, **config.options)
        camera = trainer.reward.camera or VIEWS
        camera = CameraSchedule(camera.views, camera.height, camera.width, stride=1)
        actor = PolicyActor(trainer.actor_critic, True, self.seed)
        return record_episodes(self._env, actor, [self.seed], camera)[0]

    def _film(self, trainer: Any, episode: Episode, path: Path) -> None:
        from robo.media.reward_video import RewardScene
        from robo.media.writing import write_scene

        config, reward = trainer.config, self.reward_of(trainer)
        kind = config.reward.kind
        title = f"{config.task}, step {trainer.step:,}: {kind.replace('_', ' ')}"
        trace = score_episodes([episode], reward, title)[0]
        trace.hops = reward_hops(episode, reward)
        scene = RewardScene(episode, trace)
        write_scene(path, scene, self.fps, poster=path.with_suffix(".jpg"))
        write_scene(path.with_suffix(".gif"), scene, self.fps)

    def reward_of(self, trainer: Any) -> Reward:
        """A reward like the run's, that knows what the run's has learned.

        Raises:
            RoboError: the run's reward is not the one of its configuration.
        """
        from robo.rewards.config import make_reward
        from robo.rewards.learned import hand_over

        if self._reward is None:
            config = trainer.config
            # Scoring restores the counts, so that this copy is always at its first rollout: due at
            # every second one, it is never refreshed itself.
            refresh = replace(config.reward.refresh, every_iterations=2)
            settings = replace(config.reward, refresh=refresh)
            self._reward = make_reward(settings, config.ppo.gamma, config.ppo.timeout)
        hand_over(trainer.reward, self._reward)
        return self._reward

    def _log(self, trainer: Any, path: Path, step: int, episode: Episode) -> None:
        """An animated preview and the file's place, as a TensorBoard run of its own."""
        from tensorboard.compat.proto import summary_pb2
        from torch.utils.tensorboard.writer import SummaryWriter

        from robo.storage import storage_errors

        protocol: Any = summary_pb2  # its classes are made at import
        outcome = "success" if episode.success else "no success"
        content = path.with_suffix(".gif").read_bytes()
        width, height = (int.from_bytes(content[at : at + 2], "little") for at in (6, 8))
        image = protocol.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=content
        )
        folder = trainer.folder.metrics / "videos"
        with storage_errors(folder), SummaryWriter(str(folder)) as log:
            # TensorBoard plays a GIF that comes as an image; add_video would encode it anew.
            value = protocol.Summary.Value(tag="video/preview", image=image)
            log._get_file_writer().add_summary(protocol.Summary(value=[value]), step)
            text = f"{outcome} after {len(episode)} steps: `{path.resolve()}`"
            log.add_text("video/file", text, step)

    def close(self) -> None:
        """Close the environment; the trainer calls it at the end."""
        if self._env is not None:
            self._env.close()
            self._env = None
