"""Fine-tune a vision-language reward model: LoRA or all weights, on answers or on hops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robo.errors import RoboError, StoreError
from robo.rewards.grm.backbone import NO_FRAME, PairBatch, slot_view
from robo.rewards.grm.bank import frames_of
from robo.rewards.grm.labels import Labeller, is_labelled
from robo.rewards.grm.pair_model import ADAPTER, WEIGHTS, PairModel
from robo.rewards.grm.pair_set import GOAL, START, PairSet, sample_pair_set
from robo.rewards.grm.score_text import format_score
from robo.rewards.grm.training import FitProgress, LoopConfig, Processes, train
from robo.rewards.grm.tune_config import TuneConfig
from robo.rewards.grm.vlm.backbone import VLMBackbone
from robo.rewards.grm.vlm.inputs import TokenizedPrompt, model_inputs
from robo.rewards.grm.vlm.loading import require
from robo.rewards.grm.vlm_config import VLMConfig
from robo.rollout import Episode

IGNORED = -100
"""Label of a token that the loss leaves out."""


class PairFrames:
    """Labelled pairs with the pictures that they show."""

    def __init__(
        self, episodes: Sequence[Episode], views: Sequence[str], config: TuneConfig
    ) -> None:
        """Read frames, label them and draw the pairs.

        Raises:
            StoreError: no demonstration, no frames, episodes too short.
            RoboError: missing views.
        """
        kept = [episode for episode in episodes if is_labelled(episode)]
        if not kept:
            raise StoreError("no labelled episode to train on; give at least one success")
        self.views = tuple(views)
        self.frames = [torch.from_numpy(frames_of(episode, views)) for episode in kept]
        self.instruction = [episode.info.instruction for episode in kept]
        self.pairs: PairSet = sample_pair_set(kept, Labeller.of(kept, config.labels), config.pairs)

    def batch(self, index: np.ndarray) -> tuple[PairBatch, Tensor]:
        """Some pairs, with hops ``[P]`` to predict."""
        table: list[Tensor] = []
        place: dict[tuple[int, int, bool], int] = {}

        def row(episode: int, at: int, bare: bool) -> int:
            """Place of a frame; without its side views where ``bare``."""
            key = (episode, at % len(self.frames[episode]), bare)
            if key not in place:
                picture = self.frames[episode][at]
                if bare and len(picture) > 1:
                    picture = picture.clone()
                    picture[1:] = 128
                place[key] = len(table)
                table.append(picture)
            return place[key]

        chosen = self.pairs.rows(index)
        columns: dict[str, list[int]] = {"before": [], "after": [], "start": [], "goal": []}
        for i in range(len(chosen)):
            episode, reference = int(chosen.episode[i]), int(chosen.reference[i])
            dropped = chosen.dropped[i].tolist()
            columns["before"].append(row(episode, int(chosen.before[i]), dropped[0]))
            columns["after"].append(row(episode, int(chosen.after[i]), dropped[1]))
            hidden = int(chosen.hidden[i])
            columns["start"].append(NO_FRAME if hidden == START else row(reference, 0, False))
            columns["goal"].append(NO_FRAME if hidden == GOAL else row(reference, -1, False))
        images = torch.stack(table)
        batch = PairBatch(
            {view: images[:, i] for i, view in enumerate(self.views)},
            instruction=tuple(self.instruction[int(e)] for e in chosen.episode),
            **{name: torch.tensor(rows) for name, rows in columns.items()},
        )
        return batch, torch.from_numpy(chosen.hop.astype(np.float32))


class VLMObjective:
    """Cross-entropy of the answer's tokens, regression of the expected hop, or both."""

    def __init__(
        self,
        backbone: VLMBackbone,
        data: PairFrames,
        config: TuneConfig,
        processes: Processes | None = None,
    ) -> None:
        """Train ``backbone``'s weights that ask for gradients, on the pairs of ``data``."""
        self.backbone, self.data, self.config = backbone, data, config
        self.processes = processes or Processes()
        self.frozen_vision = not any(
            part.requires_grad for part in backbone.inner.model.visual.parameters()
        )

    def parameters(self) -> list[nn.Parameter]:
        """The trained weights."""
        return [part for part in self.backbone.model.parameters() if part.requires_grad]

    def loss(self, step: int, rng: np.random.Generator) -> Tensor:
        """Mean loss of one batch, drawn without repetition from all pairs."""
        count = min(self.config.batch, len(self.data.pairs))
        index = self.processes.share(rng.choice(len(self.data.pairs), count, replace=False))
        if not len(index):
            raise RoboError(
                f"a batch of {count} pairs is too small for {self.processes.count} processes; "
                "raise batch"
            )
        return self.batch_loss(*self.data.batch(index))

    def batch_loss(self, pairs: PairBatch, hop: Tensor) -> Tensor:
        """Mean loss of labelled pairs."""
        backbone = self.backbone
        images, chosen = backbone.pair_images(pairs)
        backbone.features.clear()  # they may have been made by other weights, or without gradients
        with torch.set_grad_enabled(not self.frozen_vision):
            features = backbone.features(images)
        groups: dict[int, list[int]] = {}
        prompts = [
            backbone._whole(backbone.pair_parts(words), [features[at].grid for at in row])
            for words, row in zip(pairs.instruction, chosen, strict=True)
        ]
        for at, prompt in enumerate(prompts):
            groups.setdefault(len(prompt.tokens), []).append(at)
        total = []
        for rows in groups.values():
            shown = [features[at] for row in rows for at in chosen[row]]
            some = [prompts[row] for row in rows]
            target = hop[rows]
            parts = []
            if self.config.objective != "hop":
                parts.append(self._token_loss(some, shown, target))
            if self.config.objective != "tokens":
                parts.append(self._hop_loss(some, shown, target))
            total.append(torch.stack(parts).sum() * len(rows) / len(hop))
        return torch.stack(total).sum()

    def _token_loss(self, prompts: list[TokenizedPrompt], shown: list, hop: Tensor) -> Tensor:
        """Mean cross-entropy of the answers' tokens, the end of the turn included."""
        backbone = self.backbone
        words = backbone.processor.tokenizer
        answers = [
            [
                *words.encode(format_score(value, self.config.decimals), add_special_tokens=False),
                backbone.grammar.end,
            ]
            for value in hop.tolist()
        ]
        longest = max(map(len, answers))
        # Shorter answers are filled up at the end, which no earlier token sees.
        filled = [
            TokenizedPrompt(
                torch.cat(
                    [
                        prompt.tokens,
                        torch.tensor(answer + [backbone.grammar.end] * (longest - len(answer))),
                    ]
                ),
                torch.cat([prompt.kinds, torch.zeros(longest, dtype=torch.int64)]),
            )
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        device = backbone.inner.device
        labels = torch.tensor(
            [answer + [IGNORED] * (longest - len(answer)) for answer in answers], device=device
        )
        inputs = model_inputs(filled, shown, device)
        logits = backbone.inner(**inputs, use_cache=False, logits_to_keep=longest + 1).logits
        return nn.functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED
        )

    def _hop_loss(self, prompts: list[TokenizedPrompt], shown: list, hop: Tensor) -> Tensor:
        """Smooth L1 of the expected hop."""
        backbone = self.backbone
        forced = torch.tensor(backbone.tree.forced)
        begun = [
            TokenizedPrompt(
                torch.cat([prompt.tokens, forced]),
                torch.cat([prompt.kinds, torch.zeros_like(forced)]),
            )
            for prompt in prompts
        ]
        device = backbone.inner.device
        found = backbone.expected(model_inputs(begun, shown, device))
        return nn.functional.smooth_l1_loss(found, hop.to(found), beta=0.1)


def trainable(model: Any, config: TuneConfig) -> Any:
    """``model`` whose weights ask for gradients as configured; wrapped by peft for LoRA.

    Raises:
        MissingExtraError: LoRA without peft.
    """
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    if config.method == "full":
        for part in model.parameters():
            part.requires_grad_(True)
        return model
    (peft,) = require("peft")
    if hasattr(model, "peft_config"):  # go on with the adapter that there is
        for name, part in model.named_parameters():
            part.requires_grad_("lora_" in name)
        return model
    names = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
    places = rf".*language_model\.layers\..*\.({names})"
    if config.vision:
        places = rf"({places}|.*visual\.blocks\..*\.(qkv|proj|{names}|linear_fc1|linear_fc2))"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return peft.get_peft_model(
            model,
            peft.LoraConfig(
                r=config.rank,
                lora_alpha=config.alpha,
                lora_dropout=config.dropout,
                target_modules=places,
            ),
        )


def tune(
    model: PairModel,
    episodes: Sequence[Episode],
    config: TuneConfig,
    folder: Path,
    on_progress: Callable[[FitProgress], None] | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Fine-tune ``model`` in place and save its adapter (or weights) and description.

    Args:
        model: with a vision-language backbone.
        episodes: labelled demonstrations and failures of one task, with frames.
        config: how.
        folder: of the tuned model; checkpoints go there too.
        on_progress: called after each step.
        resume: go on from the folder's checkpoint.

    Returns:
        The training summary, also ``model.summary``.

    Raises:
        RoboError: a served model, missing extra, missing views, divergence.
    """
    backbone = model.backbone
    if not isinstance(backbone, VLMBackbone) or not isinstance(model.config, VLMConfig):
        raise RoboError("only a vision-language model of ours can be trained, not a served one")
    shown = list(dict.fromkeys(slot_view(slot, model.views) for slot in backbone.config.slots))
    processes = Processes()
    data = PairFrames(episodes, shown, config)
    backbone.model = trainable(backbone.model, config)
    objective = VLMObjective(backbone, data, config, processes)
    loop = LoopConfig(
        config.steps,
        config.learning_rate,
        config.weight_decay,
        checkpoint_every=config.checkpoint_every,
    )
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    backbone.model.train()
    try:
        losses = train(objective, loop, rng, on_progress, folder, resume, processes)
    finally:
        backbone.model.eval()
        backbone.features.clear()
    tail = max(1, len(losses) // 10)
    model.summary = {
        "steps": len(losses),
        "loss_first": float(np.mean(losses[:tail])) if losses else None,
        "loss_last": float(np.mean(losses[-tail:])) if losses else None,
        "trained_parameters": sum(part.numel() for part in objective.parameters()),
        "pairs": len(data.pairs),
        "method": config.method,
        "objective": config.objective,
    }
    if processes.rank == 0:
        save_tuned(model, folder)
    return dict(model.summary)


def save_tuned(model: PairModel, folder: Path) -> None:
    """Write the adapter or the whole weights as safetensors, then the description."""
    backbone = model.backbone
    assert isinstance(backbone, VLMBackbone) and isinstance(model.config, VLMConfig)
    if hasattr(backbone.model, "peft_config"):
        backbone.model.save_pretrained(str(folder / ADAPTER), safe_serialization=True)
        model.config = replace(model.config, adapter=folder / ADAPTER)
    else:
        backbone.model.save_pretrained(str(folder / WEIGHTS))
        backbone.processor.save_pretrained(str(folder / WEIGHTS))
        model.config = replace(model.config, model=str(folder / WEIGHTS))
    backbone.config = model.config
    model.save(folder)
