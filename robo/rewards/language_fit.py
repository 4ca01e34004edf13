"""A domain image-text model: frames of stored episodes, captioned from their own signals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.perception.clip import ClipEncoder, open_clip_module
from robo.perception.clip_build import build_clip, save_clip
from robo.perception.clip_config import ClipConfig, ClipFitConfig, ImageSource
from robo.perception.clip_fit import ClipFitStep, FrameCaptions, train_clip
from robo.rewards.captions import CaptionSet
from robo.rewards.language_config import Contrast
from robo.rewards.language_fitted import forget_fitted, save_fitted
from robo.rollout import Episode


@dataclass
class LabelledFrames:
    """Frames that show a known scene, of the model's size."""

    images: np.ndarray
    """uint8 ``[M, h, w, 3]``."""
    label: np.ndarray
    """int64 ``[M]``, the scene."""
    episode: np.ndarray
    """int64 ``[M]``, number of the episode in the order given."""

    def rows(self, index: np.ndarray) -> LabelledFrames:
        """The rows at ``index``."""
        return LabelledFrames(self.images[index], self.label[index], self.episode[index])

    def counts(self, captions: CaptionSet) -> dict[str, int]:
        """Number of frames per scene."""
        return {
            scene.name: int((self.label == index).sum())
            for index, scene in enumerate(captions.scenes)
        }


def labelled_frames(
    episodes: Iterable[Episode], captions: CaptionSet, encoder: ClipEncoder
) -> LabelledFrames:
    """Frames of states whose scene the signals tell; a frame of s_t reads those of step t - 1.

    Raises:
        RoboError: no such frame, no such view, or signals of another kind of task.
    """
    source = source_of(captions)
    images, labels, numbers = [], [], []
    for number, episode in enumerate(episodes):
        if captions.view not in episode.frames:
            raise RoboError(
                f"an episode of {episode.info.task} has no view {captions.view!r} (it has "
                f"{sorted(episode.frames)}): captions {captions.name!r} describe that one"
            )
        step = np.asarray(episode.frame_step)
        label = captions.label(episode.signals)[np.maximum(step - 1, 0)]
        kept = np.flatnonzero((label >= 0) & (step > 0))
        if len(kept):
            frames = torch.from_numpy(np.asarray(episode.frames[captions.view][kept]))
            images.append(encoder.resized(frames, source).cpu().numpy())
            labels.append(label[kept])
            numbers.append(np.full(len(kept), number))
    if not images:
        raise RoboError(
            f"no frame shows a scene of captions {captions.name!r}: record episodes with frames"
        )
    return LabelledFrames(*(np.concatenate(part) for part in (images, labels, numbers)))


def source_of(captions: CaptionSet, height: int = 216, width: int = 216) -> ImageSource:
    """The image source that a model of these captions is made for.

    Of 216 pixels the crop of driving keeps 64, which is what a small model sees.
    """
    return ImageSource(captions.view, height, width, captions.crop)


def new_encoder(config: ClipFitConfig) -> tuple[ClipEncoder, dict[str, Any]]:
    """The model that training starts from, and its sizes in open_clip's terms.

    Raises:
        CheckpointError: the start cannot be loaded.
    """
    open_clip = open_clip_module()
    clip = ClipConfig(config.start or "new", config.start_pretrained, batch_size=256)
    if config.start:
        import json

        encoder = ClipEncoder.load(clip, config.device)
        path = Path(config.start).expanduser() / "open_clip_config.json"
        if path.is_file():
            return encoder, json.loads(path.read_text())["model_cfg"]
        return encoder, open_clip.get_model_config(config.start.replace("/", "-"))
    tokenizer = open_clip.SimpleTokenizer(context_length=config.shape.context_length)
    model = build_clip(config.shape, config.seed)
    return ClipEncoder(model, tokenizer, clip, config.device), config.shape.model_config()


def fit_clip(
    episodes: Iterable[Episode],
    captions: CaptionSet,
    config: ClipFitConfig,
    out: Path,
    on_progress: Callable[[ClipFitStep], None] = lambda step: None,
) -> dict[str, Any]:
    """Fit a model and save it as an ordinary open_clip checkpoint in ``out``.

    Args:
        episodes: with frames of the captions' view and their signals.
        captions: what frames are called.
        config: model and training.
        out: folder; gets the bounds of the contrast too.
        on_progress: called after every training step.

    Returns:
        ``clip`` (folder), frames per scene, losses, ``bounds``, ``auc`` (of the goal pair on the
        episodes kept back, in wording that was not trained on; None without such episodes).

    Raises:
        RoboError: frames or signals are missing, divergence, full disk.
    """
    began = time.perf_counter()
    encoder, model_config = new_encoder(config)
    frames = labelled_frames(episodes, captions, encoder)
    train, validation = _split(frames, config)
    wording = [scene.wording for scene in captions.scenes]
    data = FrameCaptions(
        train.images, train.label, wording, config, train.episode, captions.mirrored
    )
    losses = train_clip(encoder, data, config, on_progress)
    bounds = goal_bounds(encoder, train, captions)
    # Bounds of an earlier model in the same folder do not hold for this one.
    forget_fitted(out)
    save_clip(encoder.model, model_config, out)
    if bounds is not None:
        goals = {"captions": captions.name, "image": vars(source_of(captions))}
        save_fitted(out, bounds, goals)
    tail = max(1, len(losses) // 10)
    return {
        "clip": str(out),
        "captions": captions.name,
        "frames": train.counts(captions),
        "validation_frames": validation.counts(captions),
        "iterations": len(losses),
        "loss_first": float(np.mean(losses[:tail])),
        "loss_last": float(np.mean(losses[-tail:])),
        "bounds": None if bounds is None else vars(bounds),
        "auc": pair_auc(encoder, validation, captions),
        "parameters": sum(part.numel() for part in encoder.model.parameters()),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _split(frames: LabelledFrames, config: ClipFitConfig) -> tuple[LabelledFrames, LabelledFrames]:
    """Frames of training and of validation episodes; no episode is in both."""
    ids = np.unique(frames.episode)
    rng = np.random.default_rng((config.seed, 3))
    kept = rng.permutation(ids)[: int(config.validation_share * len(ids))]
    inside = np.isin(frames.episode, kept)
    return frames.rows(np.flatnonzero(~inside)), frames.rows(np.flatnonzero(inside))


def differences(
    encoder: ClipEncoder, images: np.ndarray, positive: Sequence[str], negative: Sequence[str]
) -> Tensor:
    """Similarity to the positive minus that to the negative wording's mean, float32 ``[M]``."""
    goals = encoder.goals([" | ".join(positive), " | ".join(negative)])
    return (encoder.images(images) @ (goals[0] - goals[1])).cpu()


def goal_bounds(
    encoder: ClipEncoder, frames: LabelledFrames, captions: CaptionSet
) -> Contrast | None:
    """Bounds of the contrast: the median difference on the negative and on the positive scene.

    None where the model does not tell them apart, or frames of one are missing.
    """
    positive, negative = (captions.index(name) for name in (captions.positive, captions.negative))
    wording = (captions.scenes[positive].wording, captions.scenes[negative].wording)
    found = differences(encoder, frames.images, *wording)
    label = torch.from_numpy(frames.label)
    if not bool((label == positive).any()) or not bool((label == negative).any()):
        return None
    lower, upper = (float(found[label == scene].median()) for scene in (negative, positive))
    return Contrast(lower=lower, upper=upper) if lower < upper else None


def pair_auc(
    encoder: ClipEncoder, frames: LabelledFrames, captions: CaptionSet
) -> dict[str, float] | None:
    """How well the contrast tells the goal's scene from its opposite, in held-out wording.

    Returns:
        ``mean`` and ``worst`` area under the ROC curve over single pairs of sentences, and that
        of the ``paraphrases`` averaged; None where frames of either scene are missing.
    """
    from sklearn.metrics import roc_auc_score

    scenes = [captions.index(name) for name in (captions.positive, captions.negative)]
    rows = np.flatnonzero(np.isin(frames.label, scenes))
    truth = frames.label[rows] == scenes[0]
    if truth.all() or not truth.any():
        return None
    positive, negative = (captions.scenes[index].held_out for index in scenes)
    image = encoder.images(frames.images[rows])
    similar = [(image @ encoder.texts(wording).T).cpu().numpy() for wording in (positive, negative)]
    single = [
        float(roc_auc_score(truth, similar[0][:, i] - similar[1][:, j]))
        for i in range(len(positive))
        for j in range(len(negative))
    ]
    together = differences(encoder, frames.images[rows], positive, negative)
    return {
        "mean": float(np.mean(single)),
        "worst": float(np.min(single)),
        "paraphrases": float(roc_auc_score(truth, together.numpy())),
    }
