"""From pieces of text and eight images to what the model's forward pass takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robo.rewards.grm.vlm.features import ImageFeatures

Part = str | int
"""A piece of text, or the position of an image."""


@dataclass(frozen=True)
class TokenizedPrompt:
    """One prompt whose images take a known number of tokens."""

    tokens: Tensor
    """int64 ``[L]``."""
    kinds: Tensor
    """int64 ``[L]``: 1 for a token of an image, else 0."""


class PromptTokens:
    """Tokenizes prompts by the processor's own chat template, and keeps the newest ones.

    All pairs of one task share their prompt but for the images' content, so that the same few
    prompts come again and again.
    """

    def __init__(self, processor: Any, forced: Sequence[int]) -> None:
        """``forced`` tokens are put behind every prompt: the beginning of the answer."""
        self.processor, self.forced = processor, list(forced)
        self.merge = int(processor.image_processor.merge_size) ** 2
        self._kept: dict[tuple[tuple[Part, ...], tuple[int, ...]], TokenizedPrompt] = {}

    def __call__(
        self, parts: Sequence[Part], grids: Sequence[tuple[int, int, int]]
    ) -> TokenizedPrompt:
        """Tokens of a prompt.

        Args:
            parts: texts and image positions, in order.
            grids: (time, height, width) in patches of the images, by their position.
        """
        order = [part for part in parts if isinstance(part, int)]
        sizes = tuple(int(torch.tensor(grids[at]).prod()) // self.merge for at in order)
        key = (tuple(parts), sizes)
        if key not in self._kept:
            if len(self._kept) > 256:
                self._kept.clear()
            self._kept[key] = self._tokenize(parts, sizes)
        return self._kept[key]

    def _tokenize(self, parts: Sequence[Part], sizes: tuple[int, ...]) -> TokenizedPrompt:
        content = [
            {"type": "image"} if isinstance(part, int) else {"type": "text", "text": harmless(part)}
            for part in parts
            if isinstance(part, int) or part
        ]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        image = self.processor.image_token
        pieces = text.split(image)
        filled = [piece + image * count for piece, count in zip(pieces, (*sizes, 0), strict=True)]
        tokens = self.processor.tokenizer.encode("".join(filled), add_special_tokens=False)
        row = torch.tensor([*tokens, *self.forced])
        return TokenizedPrompt(row, (row == self.processor.image_token_id).long())


def harmless(text: str) -> str:
    """``text`` in which no special token is spelled, whoever wrote the instruction."""
    return text.replace("<|", "< |")


def model_inputs(
    prompts: Sequence[TokenizedPrompt], images: Sequence[ImageFeatures], device: torch.device
) -> dict[str, Any]:
    """Arguments of the model's forward pass for P prompts of one length.

    Args:
        prompts: of equal length L.
        images: of all of them, in the order in which they stand.
        device: of the model.
    """
    tokens = torch.stack([prompt.tokens for prompt in prompts]).to(device)
    return {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "mm_token_type_ids": torch.stack([prompt.kinds for prompt in prompts]).to(device),
        "image_grid_thw": torch.tensor([image.grid for image in images], device=device),
        "mm_encoder_outputs": {"image": encoder_output(images)},
    }


def encoder_output(images: Sequence[ImageFeatures]) -> Any:
    """Features of images as the visual encoder itself would return them."""
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    embeddings = tuple(image.embedding for image in images)
    if not images or not images[0].deepstack:
        return BaseModelOutputWithPooling(pooler_output=embeddings)  # type: ignore[arg-type]
    from transformers.models.qwen3_vl.modeling_qwen3_vl import (
        BaseModelOutputWithDeepstackFeatures,
    )

    layers = len(images[0].deepstack)
    return BaseModelOutputWithDeepstackFeatures(
        pooler_output=embeddings,  # type: ignore[arg-type]
        deepstack_features=[
            tuple(image.deepstack[layer] for image in images) for layer in range(layers)
        ],  # type: ignore[arg-type]
    )
