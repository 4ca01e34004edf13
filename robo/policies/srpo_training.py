"""From a few demonstrations to a policy improved in groups: the stages that scripts share.

SRPO begins from a cloned policy that succeeds now and then. A video encoder is fitted to the
demonstrations and to attempts of that policy, and the policy is trained in groups by the reward
that compares failures with successes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.perception.compact_video_config import CompactVideoConfig, FitVideoConfig
from robo.policies.behaviour_cloning import BehaviourCloningConfig, clone
from robo.policies.learner_config import NetworkConfig
from robo.policies.policy_files import load_policy, make_policy
from robo.policies.recorder import PolicyActor, stream_episodes
from robo.policies.srpo_presets import GroupSettings
from robo.policies.train_config import TrainConfig
from robo.rollout import CameraSchedule
from robo.sim.contract import VectorEnvironment


def clone_for_groups(
    store: Path,
    env: VectorEnvironment,
    network: NetworkConfig,
    settings: GroupSettings,
    seed: int,
    out: Path,
    cloning: BehaviourCloningConfig | None = None,
) -> dict[str, Any]:
    """Clone a policy from the successes of ``store`` into ``out``, with room to explore.

    Returns:
        What :func:`robo.policies.behaviour_cloning.clone` found.

    Raises:
        RoboError: no demonstrations, or of another task.
    """
    from dataclasses import replace

    fit = cloning or BehaviourCloningConfig(epochs=600, patience=60)
    policy = make_policy(env.single_observation_space, env.single_action_space, network, seed=seed)
    with EpisodeStore(store, mode="r") as episodes:
        most = max(settings.std, settings.maximum_std)
        exploring = replace(fit, minimum_std=settings.std, maximum_std=most)
        found = clone(episodes, policy, exploring, seed)
    policy.save(out)
    return {"policy": str(out), **found}


def encoder_for_groups(
    store: Path,
    env: VectorEnvironment,
    policy: Path,
    settings: GroupSettings,
    camera: CameraSchedule,
    seeds: range | list[int],
    seed: int,
    out: Path,
) -> dict[str, Any]:
    """The encoder that ``settings`` name, or a compact one fitted into ``out``.

    Args:
        store: demonstrations with frames.
        env: where the policy attempts the task.
        policy: folder of the cloned policy.
        settings: of the groups.
        camera: frames of the attempts.
        seeds: initial states of the attempts.
        seed: of the attempts' noise and of the training.
        out: the encoder's folder.

    Returns:
        ``encoder``: its name for :func:`robo.perception.video.load_video_encoder`, and the
        training summary.

    Raises:
        RoboError: episodes without frames of the camera's views and size.
    """
    if settings.encoder is not None or not settings.progress:
        return {"encoder": settings.encoder or "pixels"}
    from robo.perception.compact_video_fit import fit_video_encoder

    with EpisodeStore(store, mode="r") as demonstrations:
        episodes = [demonstrations.read(i, camera.views) for i in range(len(demonstrations))]
    actor = PolicyActor(load_policy(policy), deterministic=False, seed=seed)
    episodes += stream_episodes(env, actor, list(seeds), camera, keep_observations=False)
    if not episodes:
        raise RoboError("a video encoder needs episodes, and there is neither demo nor attempt")
    patch = CompactVideoConfig.patch
    # Small pictures (24, 40, 56 pixels, say) divide into smaller tokens only.
    if camera.height % patch or camera.width % patch:
        patch //= 2
    shape = CompactVideoConfig(camera.views, camera.height, camera.width, patch=patch)
    config = FitVideoConfig(iterations=settings.encoder_iterations, seed=seed, network=shape)
    encoder, summary = fit_video_encoder(episodes, config)
    encoder.save(out)
    return {"encoder": str(out), **summary}


def group_train_config(
    settings: GroupSettings,
    base: TrainConfig,
    encoder: str,
    demonstrations: Path,
    camera: CameraSchedule,
) -> TrainConfig:
    """``base`` with groups of ``settings`` and SRPO's reward.

    ``base`` says the learner too; its advantages must be those of groups
    (:func:`robo.policies.srpo_presets.group_ppo`).
    """
    from dataclasses import replace

    reward = settings.reward(encoder, demonstrations, camera)
    if not settings.progress:
        reward = replace(reward, kind="success")
    return replace(base, reward=reward)
