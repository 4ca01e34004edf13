"""Images and sentences to unit embeddings, by any contrastive model of open_clip.

Needs the extra ``vlm``. Frames go through in large batches, sentences once: their embeddings are
kept.
"""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from robo.errors import CheckpointError, MissingExtraError, RoboError
from robo.perception.clip_config import ClipConfig, ImageSource
from robo.perception.clip_speed import class_token_last, direct_attention
from robo.perception.kernels import compile_layers, quick_attention
from robo.precision import multiplies_bfloat16

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precision to dtype."""
OTHER_SHAPE = ("size mismatch", "Missing key", "Unexpected key", "pos_embed")
"""What open_clip and torch say of weights that belong to another architecture."""
GREY = 128
"""Pixel value around a padded image."""


def open_clip_module() -> Any:
    """The package open_clip.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtraError(
            "image-text models need the package open_clip_torch, which is not installed: "
            'install it by pip install -e ".[vlm]"'
        ) from error
    return open_clip


class ClipEncoder:
    """One frozen image-text model.

    Args:
        model: an open_clip model, in evaluation mode from now on.
        tokenizer: its tokenizer: sentences to int64 ``[P, L]``.
        config: see :class:`ClipConfig`.
        device: where it computes.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        config: ClipConfig,
        device: str | torch.device = "cpu",
    ) -> None:
        """See the class."""
        self.config, self.device = config, torch.device(device)
        if config.precision == "bf16" and not multiplies_bfloat16(self.device):
            warnings.warn(
                "precision bf16 is slow on this processor, which has no instructions for it; "
                "use fp32",
                stacklevel=2,
            )
        self.model: Any = model.to(self.device, DTYPES[config.precision]).eval()
        self.model.requires_grad_(False)
        self.tokenizer = tokenizer
        visual = self.model.visual
        class_token_last(visual)
        if config.compile and hasattr(visual, "transformer"):
            direct_attention(visual.transformer.resblocks)
            compile_layers(visual.transformer.resblocks, self.device)
        size = visual.image_size
        self.image_size: tuple[int, int] = (size, size) if isinstance(size, int) else tuple(size)
        """(height, width) of what the model sees."""
        scale = [getattr(visual, name, None) for name in ("image_mean", "image_std")]
        open_clip = open_clip_module()
        defaults = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
        self._mean, self._std = (
            torch.tensor(own or default, device=self.device)[:, None, None]
            for own, default in zip(scale, defaults, strict=True)
        )
        self._texts: dict[str, Tensor] = {}

    @classmethod
    def load(cls, config: ClipConfig, device: str = "cpu") -> ClipEncoder:
        """Build the model and load its weights, by open_clip's own code.

        Raises:
            MissingExtraError: open_clip is not installed.
            CheckpointError: no such architecture, tag or file; weights of another architecture;
                weights that cannot be fetched or read.
        """
        open_clip = open_clip_module()
        name, pretrained = _resolved(open_clip, config)
        what = f"the weights {config.pretrained!r} of {config.model}"
        if name.startswith("local-dir:"):
            what = f"the model in {config.model}"
        try:
            with _quiet():
                model = open_clip.create_model(name, pretrained, require_pretrained=True)
                tokenizer = open_clip.get_tokenizer(name)
        except Exception as error:  # torch, safetensors, pickle, network: each its own family
            text = str(error)
            if any(sign in text for sign in OTHER_SHAPE):
                raise CheckpointError(
                    f"{what} belong to another architecture: name the one that they were "
                    "trained for"
                ) from error
            reason = text.splitlines()[0] if text else type(error).__name__
            raise CheckpointError(
                f"{what} cannot be loaded ({reason}): check the name, or give a checkpoint file "
                "or folder on this machine"
            ) from error
        return cls(model, tokenizer, config, device)

    # ------------------------------------------------------------------ sentences

    @torch.inference_mode()
    def texts(self, sentences: Sequence[str]) -> Tensor:
        """Unit embeddings of sentences, each computed once in the encoder's life.

        Args:
            sentences: P of them.

        Returns:
            float32 ``[P, D]`` on the encoder's device.

        Raises:
            RoboError: no sentence, or one without a word.
        """
        if not sentences or any(not sentence.strip() for sentence in sentences):
            raise RoboError(
                f"the sentences {list(sentences)} are empty or hold an empty one: describe each "
                "goal in words"
            )
        new = [text for text in dict.fromkeys(sentences) if text not in self._texts]
        if new:
            tokens = self.tokenizer(new).to(self.device)
            found = _unit(self.model.encode_text(tokens), "sentences")
            self._texts.update(zip(new, found, strict=True))
        return torch.stack([self._texts[text] for text in sentences])

    def goals(self, entries: Sequence[str]) -> Tensor:
        """Unit embeddings of goals, the mean over the paraphrases of each.

        Args:
            entries: one per goal, paraphrases divided by ``|``.

        Returns:
            float32 ``[P, D]``.
        """
        return torch.stack(
            [
                nn.functional.normalize(self.texts(paraphrases(entry)).mean(dim=0), dim=0)
                for entry in entries
            ]
        )

    # ------------------------------------------------------------------ images

    @torch.inference_mode()
    def images(self, images: Tensor | np.ndarray, source: ImageSource | None = None) -> Tensor:
        """Unit embeddings of images.

        Args:
            images: uint8 ``[M, H, W, 3]``, or float in [0, 1].
            source: crop and resize; None takes the whole image, cut to the model's square.

        Returns:
            float32 ``[M, D]`` on the encoder's device.

        Raises:
            RoboError: not RGB images, values out of range, NaN.
        """
        images = torch.as_tensor(images)
        if images.ndim != 4 or images.shape[-1] != 3:
            raise RoboError(
                f"images have shape {tuple(images.shape)}, expected [rows, height, width, 3]"
            )
        size = self.config.batch_size
        with quick_attention(self.device):
            parts = [
                _unit(
                    self.model.encode_image(self.prepare(images[at : at + size], source)), "frames"
                )
                for at in range(0, len(images), size)
            ]
        if parts:
            return torch.cat(parts)
        width = self.texts(["nothing"]).shape[1]
        return torch.empty((0, width), device=self.device)

    def prepare(self, images: Tensor, source: ImageSource | None = None) -> Tensor:
        """What the model is given: ``[M, 3, h, w]``, resized bicubically and normalised."""
        pixels = self._pixels(images, source or ImageSource()).float()
        # (x / 255 - mean) / std as one product and one sum, in place: images are large.
        pixels.mul_(1 / (255.0 * self._std)).sub_(self._mean / self._std)
        return pixels.to(DTYPES[self.config.precision])

    def resized(self, images: Tensor, source: ImageSource | None = None) -> Tensor:
        """The cropped and resized images, uint8 ``[M, h, w, 3]``, as the model would see them."""
        return self._pixels(images, source or ImageSource()).permute(0, 2, 3, 1)

    def normalise(self, images: Tensor) -> Tensor:
        """Images of the model's size, float ``[M, h, w, 3]`` in [0, 1], as the model is given."""
        return self._scaled(images.permute(0, 3, 1, 2).contiguous())

    def forget(self) -> None:
        """Forget the sentences' embeddings: the weights have changed."""
        self._texts = {}

    def _pixels(self, images: Tensor, source: ImageSource) -> Tensor:
        pixels = _as_bytes(images).to(self.device)
        left, top, right, bottom = source.box(*pixels.shape[1:3])
        pixels = pixels[:, top:bottom, left:right].permute(0, 3, 1, 2)
        return _resized(pixels, self.image_size, source.resize)

    def _scaled(self, pixels: Tensor) -> Tensor:
        return ((pixels - self._mean) / self._std).to(DTYPES[self.config.precision])


def paraphrases(entry: str) -> list[str]:
    """``"a | b"`` to ``["a", "b"]``."""
    return [part.strip() for part in entry.split("|")]


def _unit(features: Tensor, what: str) -> Tensor:
    """Rows of length 1, float32; refused where they are not finite."""
    features = features.float()
    if not bool(features.isfinite().all()):
        raise RoboError(
            f"embeddings of {what} hold NaN or infinity: the model's weights are damaged, or "
            "fp16 overflows (use bf16 or fp32)"
        )
    return nn.functional.normalize(features, dim=-1)


def _as_bytes(images: Tensor) -> Tensor:
    """Images as uint8.

    Raises:
        RoboError: floats that are NaN or not in [0, 1], other integers.
    """
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise RoboError(f"images are {images.dtype}, expected uint8, or floats from 0 to 1")
    if bool(images.isnan().any()):
        rows = torch.nonzero(images.isnan().flatten(1).any(dim=1)).flatten().tolist()
        raise RoboError(
            f"frames {rows[:5]} of {len(images)} hold NaN: look at the camera that they come from"
        )
    if len(images) and not 0 <= float(images.min()) <= float(images.max()) <= 1:
        raise RoboError(
            f"images are floats from {float(images.min()):g} to {float(images.max()):g}, expected "
            "0 to 1 (or uint8)"
        )
    return images.mul(255).round().to(torch.uint8)


def _resized(pixels: Tensor, size: tuple[int, int], how: str) -> Tensor:
    """uint8 ``[M, 3, H, W]`` to ``[M, 3, *size]``; see :class:`ImageSource`."""
    height, width = pixels.shape[-2:]
    ratios = (size[0] / height, size[1] / width)
    target = size
    if how != "stretch":
        scale = max(ratios) if how == "cut" else min(ratios)
        target = (max(1, round(height * scale)), max(1, round(width * scale)))
    if target != (height, width):
        pixels = _interpolate(pixels, target)
    if how == "cut":
        top, left = (target[0] - size[0]) // 2, (target[1] - size[1]) // 2
        return pixels[..., top : top + size[0], left : left + size[1]]
    if how == "pad" and target != size:
        around = pixels.new_full((*pixels.shape[:2], *size), GREY)
        top, left = (size[0] - target[0]) // 2, (size[1] - target[1]) // 2
        around[..., top : top + target[0], left : left + target[1]] = pixels
        return around
    return pixels


def _interpolate(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic with antialiasing, to whole pixel values on every device."""
    options: dict[str, Any] = {"mode": "bicubic", "antialias": True}
    if pixels.device.type == "cpu":
        return nn.functional.interpolate(pixels, size, **options)
    resized = nn.functional.interpolate(pixels.float(), size, **options)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def _resolved(open_clip: Any, config: ClipConfig) -> tuple[str, str | None]:
    """What open_clip's factory is called with.

    Raises:
        CheckpointError: no such folder, architecture, tag or file.
    """
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        if not (folder / "open_clip_config.json").is_file():
            raise CheckpointError(
                f"the folder {folder} holds no open_clip_config.json: name one that robo fit clip "
                "or open_clip wrote"
            )
        return f"local-dir:{folder}", None
    known = open_clip.list_models()
    name = config.model.replace("/", "-")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f" (near: {', '.join(near)})" if near else ""
        raise CheckpointError(
            f"{config.model!r} is neither a folder nor a model of open_clip{hint}: "
            "open_clip.list_models() names them all"
        )
    weights = Path(config.pretrained).expanduser()
    if config.pretrained and weights.is_file():
        return name, str(weights)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if config.pretrained not in tags:
        raise CheckpointError(
            f"{config.pretrained!r} is neither a file nor a tag of {config.model}; expected a "
            f"checkpoint file or one of {tags}"
        )
    return name, config.pretrained


@contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's log lines: what fails becomes one sentence."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
