"""A vision-language model as a progress model: eight images in, a signed hop out.

The question is asked in the published eight-image order. The answer is either decoded token by
token inside the score grammar, or read as a whole: all 201 answers form one small tree of tokens,
which a single further pass over the prompt's cache evaluates. Its mean is the expected hop, without
any generation, and differentiable.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.grm.backbone import INVALID, NO_FRAME, PairBatch, check_slots, eight_images
from robo.rewards.grm.prompt import Prompt
from robo.rewards.grm.score_text import parse_score
from robo.rewards.grm.vlm.features import FeatureCache, ImageFeatures
from robo.rewards.grm.vlm.grammar import TokenGrammar, score_tree
from robo.rewards.grm.vlm.inputs import Part, PromptTokens, TokenizedPrompt, model_inputs
from robo.rewards.grm.vlm.positions import PromptPositions
from robo.rewards.grm.vlm.speed import compile_parts, quicken
from robo.rewards.grm.vlm_config import VLMConfig

BLANK = 128
"""Grey of the image that stands for a missing reference."""
LONGEST_ANSWER = 16
"""Tokens of an answer at most, its end included."""


class VLMBackbone:
    """Qwen2.5-VL or Qwen3-VL with the score grammar (implements ``Backbone``)."""

    def __init__(self, config: VLMConfig, model: Any, processor: Any) -> None:
        """Ask ``model``, which :func:`robo.rewards.grm.vlm.loading.load_vlm` makes.

        Raises:
            RoboError: a tokenizer that cannot spell scores, a bad prompt file.
        """
        self.config, self.model, self.processor = config, model, processor
        quicken(self.inner)
        if config.compile:
            compile_parts(self.inner)
        self.prompt = Prompt.read(config.prompt_file)
        self.grammar = TokenGrammar(processor.tokenizer)
        self.tree = score_tree(processor.tokenizer, self.grammar)
        self.features = FeatureCache(
            self.inner, processor, config.min_pixels, config.max_pixels, config.cache_images
        )
        self.positions = PromptPositions(self.inner.model.get_rope_index)
        self._whole = PromptTokens(processor, ())
        self._begun = PromptTokens(processor, self.tree.forced)
        check_slots(config.slots)
        self.views: tuple[str, ...] = config.slots
        side = 32 * round(math.sqrt(config.max_pixels) / 32)
        self.size: tuple[int, int] = (side, side)
        self.max_pairs = config.batch
        self.sampler = torch.Generator().manual_seed(config.seed)
        self.answered = self.invalid = 0

    @property
    def inner(self) -> Any:
        """The model with its head, out of peft's wrapper where there is one."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    @property
    def counts(self) -> dict[str, int]:
        """Answers, invalid ones, images encoded and images taken from the cache."""
        return {
            "answers": self.answered,
            "invalid": self.invalid,
            "images_encoded": self.features.misses,
            "images_cached": self.features.hits,
        }

    def hops(self, pairs: PairBatch) -> Tensor:
        """Signed hops float32 ``[P]``; NaN where an answer could not be read.

        Raises:
            RoboError: frames that are no whole RGB images, or lack the front view.
        """
        pairs.check()
        with torch.no_grad():
            images, chosen = self.pair_images(pairs)
            features = self.features(images)
            parts = [self.pair_parts(words) for words in pairs.instruction]
            shown = [[features[at] for at in row] for row in chosen]
            return self.answer(parts, shown)

    def hops_of_chats(
        self, chats: Sequence[Sequence[str | Tensor]], answer: str | None = None
    ) -> Tensor:
        """Hops of questions that somebody else has worded.

        Args:
            chats: each a sequence of texts and uint8 images ``[H, W, 3]``.
            answer: how to answer; None as configured.
        """
        with torch.no_grad():
            parts: list[list[Part]] = []
            images: list[Tensor] = []
            spans: list[range] = []
            for chat in chats:
                first = len(images)
                row: list[Part] = []
                for part in chat:
                    if isinstance(part, str):
                        row.append(part)
                    else:
                        row.append(len(images) - first)
                        images.append(part)
                parts.append(row)
                spans.append(range(first, len(images)))
            features = self.features(images)
            return self.answer(parts, [[features[i] for i in span] for span in spans], answer)

    def pair_parts(self, instruction: str) -> list[Part]:
        """The configured question about one task: texts, and the positions of eight images."""
        pieces = self.prompt.pieces(instruction)
        parts: list[Part] = [pieces[0]]
        for at, piece in enumerate(pieces[1:]):
            parts += [at, piece]
        return parts

    def pair_images(self, pairs: PairBatch) -> tuple[list[Tensor], list[list[int]]]:
        """The images of a batch, and for each pair the eight that it shows.

        A frame that several pairs show is one image; with ``cache_images`` 0 each of them is an
        image of its own.
        """
        order = eight_images(list(pairs.frames), self.config.slots)
        shared = self.config.cache_images > 0
        place: dict[tuple[str, int, int], int] = {}
        images: list[Tensor] = []
        rows = {
            name: getattr(pairs, name).tolist() for name in ("start", "goal", "before", "after")
        }
        chosen: list[list[int]] = []
        for pair in range(len(pairs)):
            row = []
            for slot, (role, view) in enumerate(order):
                at = rows[role][pair]
                key = (view, at, 0 if shared else 8 * pair + slot)
                if key not in place:
                    place[key] = len(images)
                    picture = pairs.frames[view]
                    blank = at == NO_FRAME
                    images.append(torch.full_like(picture[0], BLANK) if blank else picture[at])
                row.append(place[key])
            chosen.append(row)
        return images, chosen

    def answer(
        self,
        parts: Sequence[Sequence[Part]],
        images: Sequence[Sequence[ImageFeatures]],
        how: str | None = None,
    ) -> Tensor:
        """Hops of P questions, in batches of prompts of the same length."""
        how = how or self.config.answer
        make = self._begun if how == "expected" else self._whole
        prompts = [
            make(part, [image.grid for image in shown])
            for part, shown in zip(parts, images, strict=True)
        ]
        hop = torch.full((len(prompts),), INVALID)
        lengths: dict[int, list[int]] = {}
        for at, prompt in enumerate(prompts):
            lengths.setdefault(len(prompt.tokens), []).append(at)
        for rows in lengths.values():
            for first in range(0, len(rows), self.max_pairs):
                some = rows[first : first + self.max_pairs]
                hop[some] = self._batch(
                    [prompts[at] for at in some],
                    [image for at in some for image in images[at]],
                    how,
                )
        self.answered += len(hop)
        self.invalid += int(hop.isnan().sum())
        return hop

    def _batch(
        self, prompts: list[TokenizedPrompt], images: list[ImageFeatures], how: str
    ) -> Tensor:
        inputs = model_inputs(prompts, images, self.inner.device)
        if how == "expected":
            return self.expected(inputs).cpu()
        return torch.tensor([parse_score(text) for text in self.generate(inputs, how == "sample")])

    def generate(self, inputs: dict[str, Any], sample: bool = False) -> list[str]:
        """Answers of the score grammar, decoded token by token."""
        length = inputs["input_ids"].shape[1]
        options: dict[str, Any] = {"do_sample": False}
        if sample:
            options = {
                "do_sample": True,
                "temperature": self.config.temperature,
                "top_p": self.config.top_p,
                "top_k": self.config.top_k,
            }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=self.sampler)))
            tokens = self.inner.generate(
                **inputs,
                **options,
                max_new_tokens=LONGEST_ANSWER,
                prefix_allowed_tokens_fn=self.grammar.after(length),
                pad_token_id=self.processor.tokenizer.pad_token_id,
                eos_token_id=self.grammar.end,
            )
        return [self.grammar.text(row) for row in tokens[:, length:].tolist()]

    def expected(self, inputs: dict[str, Any]) -> Tensor:
        """Mean hop ``[P]`` over all answers, weighted by their probability; differentiable."""
        probability = self.tree.probabilities(self.tree_logits(inputs))
        return probability @ self.tree.score.to(probability)

    def tree_logits(self, inputs: dict[str, Any]) -> Tensor:
        """Logits ``[P, N, A]`` of the tree's vocabulary at its nodes.

        The prompt is read once; all nodes are read in a second pass over its cache, each of them
        attending to the prompt and to its own ancestors.
        """
        from transformers import DynamicCache

        model = self.inner.model
        cache = DynamicCache(config=self.inner.config.get_text_config())
        name = _cache_name(type(model.language_model))
        plain = {key: value for key, value in inputs.items() if key != "attention_mask"}
        places, delta = self.positions(inputs["mm_token_type_ids"], inputs["image_grid_thw"])
        prompt = model(
            **plain, position_ids=places, **{name: cache}, use_cache=True
        ).last_hidden_state
        count, length = inputs["input_ids"].shape
        device = prompt.device
        nodes = self.tree.token[1:].to(device)
        embedding = self.inner.get_input_embeddings()(nodes)
        position = (length - 1 + self.tree.depth[1:].to(device) + delta).expand(3, count, -1)
        sees = self.tree.attention(length).to(device)
        mask = torch.zeros(sees.shape, dtype=embedding.dtype, device=device)
        mask = mask.masked_fill(~sees, torch.finfo(mask.dtype).min)
        read = model.language_model(
            inputs_embeds=embedding.expand(count, -1, -1),
            position_ids=position,
            attention_mask=mask.expand(count, 1, -1, -1),
            **{name: cache},
            use_cache=True,
        ).last_hidden_state
        hidden = torch.cat([prompt[:, -1:], read], dim=1)
        head = self.inner.get_output_embeddings().weight
        return hidden @ head[self.tree.vocabulary.to(head.device)].T


def _cache_name(text_model: type) -> str:
    """How this version of transformers calls the argument of the key-value cache."""
    names = inspect.signature(inspect.unwrap(text_model.forward)).parameters
    found = next((name for name in ("cache", "past_key_values") if name in names), None)
    if found is None:
        raise RoboError(
            "this version of transformers hides the models' key-value cache; install "
            'transformers>=5.24,<6 with `pip install -e ".[vlm]"`'
        )
    return found
