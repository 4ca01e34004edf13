"""Vision-language-action models of Hugging Face as policies of robo's own learner.

Token policies in the style of OpenVLA-OFT (Kim et al., arXiv 2502.19645): a prompt with images,
then one placeholder per action dimension and step of the chunk, all decoded in one forward pass;
each dimension is a choice among the last ``bins`` ids of the vocabulary. Attention is the
model's own (causal), where OpenVLA-OFT makes it bidirectional over the placeholders.

The logits over action tokens are what :class:`~robo.policies.binned.Binned` reads, so that
sampling, log probabilities, clipping, and group advantages are those of every other policy. Only
LoRA adapters (Hu et al., 2021) are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robo.errors import CheckpointError, MissingExtraError, RoboError
from robo.policies.image_actor_critic import ImageActorCritic

PROMPT = "In: What action should the robot take to {instruction}?\nOut:"
"""OpenVLA's prompt."""


class VLANetwork(nn.Module):
    """A model, its prompt and its action tokens."""

    prompt: Tensor
    action_ids: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, processor: Any, prompt: str, actions: int, bins: int) -> None:
        """``model`` takes ``input_ids``, ``attention_mask`` and ``pixel_values``.

        Args:
            model: of transformers' image-text-to-text kind, with adapters or without.
            processor: its processor; it writes the image tokens into ``prompt``.
            prompt: with one image tag per view.
            actions: placeholders, chunk times action dimensions.
            bins: action tokens, the last of the vocabulary.
        """
        super().__init__()
        self.model, self.actions = model, actions
        images = processor.image_processor
        size = getattr(images, "crop_size", None) or images.size
        self.size = int(size.get("height") or size.get("shortest_edge"))
        self.tag = processor.image_token
        count = prompt.count(self.tag)
        blank = torch.zeros(3, self.size, self.size, dtype=torch.uint8)
        ids = processor(text=prompt, images=[blank] * count, return_tensors="pt")["input_ids"][0]
        vocabulary = int(model.get_output_embeddings().weight.shape[0])
        if vocabulary < bins + 1:
            raise RoboError(
                f"the model's vocabulary of {vocabulary} holds no {bins} action tokens: lower "
                "--network.bins"
            )
        self.register_buffer("prompt", ids, persistent=False)
        self.register_buffer(
            "action_ids", torch.arange(vocabulary - bins, vocabulary), persistent=False
        )
        self.register_buffer("mean", torch.tensor(images.image_mean), persistent=False)
        self.register_buffer("std", torch.tensor(images.image_std), persistent=False)

    def features(self, images: Sequence[Tensor], state: Tensor) -> Tensor:
        """Logits over the action tokens of every placeholder, ``[B, actions * bins]``."""
        shown = torch.stack([self._prepared(image) for image in images], 1).flatten(0, 1)
        count = len(state)
        placeholders = self.action_ids[:1].expand(self.actions)
        ids = torch.cat([self.prompt, placeholders]).expand(count, -1)
        dtype = next(self.model.parameters()).dtype
        out = self.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=shown.to(dtype)
        )
        # The position before a placeholder says what comes in its place.
        return out.logits[:, -self.actions - 1 : -1][..., self.action_ids].float().flatten(1)

    def _prepared(self, image: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in 0 ... 1 at the model's size, normalised."""
        image = image.float()
        if image.shape[-2:] != (self.size, self.size):
            image = nn.functional.interpolate(
                image, (self.size, self.size), mode="bilinear", antialias=True
            )
        return (image - self.mean[:, None, None]) / self.std[:, None, None]

    def actor(self, features: Tensor) -> Tensor:
        """The logits themselves."""
        return features

    def critic(self, features: Tensor, extra: Tensor | None) -> Tensor:
        """Zeros ``[B]``: these policies learn by group advantages, which ask for no value."""
        return features.new_zeros(len(features))


class VLAPolicy(ImageActorCritic):
    """A vision-language-action model for one instruction, trained by its adapters.

    ``config.source`` is a folder or an id of the Hugging Face hub, ``config.instruction`` the
    task in words, ``config.lora`` the rank of the adapters, ``config.bins`` the number of action
    tokens (256 for OpenVLA), ``config.chunk`` the steps that are planned at once.
    """

    def _make_network(self, seed: int) -> Any:
        config = self.config
        model, processor = load_vla(config.source, config.lora, seed)
        tags = processor.image_token * len(self.images)
        prompt = tags + PROMPT.format(instruction=config.instruction or "do the task")
        dimensions = self.distribution.size // config.bins
        return VLANetwork(model, processor, prompt, dimensions, config.bins)


def load_vla(source: str, rank: int, seed: int) -> tuple[Any, Any]:
    """The model with fresh adapters of ``rank``, all else frozen, and its processor.

    Raises:
        MissingExtraError: transformers or peft is not installed.
        CheckpointError: nothing there that transformers can load.
    """
    try:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForImageTextToText, AutoProcessor
    except ImportError as error:
        raise MissingExtraError(
            'vision-language-action models need transformers and peft: pip install -e ".[vlm]"'
        ) from error
    try:
        processor = AutoProcessor.from_pretrained(source)
        model = AutoModelForImageTextToText.from_pretrained(source, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"no vision-language-action model can be loaded from {source!r} "
            f"({str(error).splitlines()[0]}); name a folder with config, processor and "
            "model.safetensors, or an id that this machine can download"
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings = LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear"
        )
        return get_peft_model(model, settings), processor
