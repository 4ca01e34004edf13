"""Pairs per second of the General Reward Model against batch size.

    python benchmarks/grm_throughput.py
    python benchmarks/grm_throughput.py --vlm 3b --device cuda

The compact model on this machine, all three perspectives: batches of a rollout's frames, against
two ways of calling it at every step. One asks as the released code of the paper does, three
questions a step, each with all its pictures (START, GOAL, BEFORE, AFTER), nothing kept from one to
the next. The other is our own scorer with one frame a call, which keeps references, the first
frame and the previous one. With --vlm: a model of the published shape with random
weights (3b: that of Qwen2.5-VL-3B, which needs a GPU; tiny: to try the command), with and without
cached visual features, and the model-FLOPs utilisation of its forward passes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from _study import machine, one_thread, publish

if TYPE_CHECKING:
    from torch import Tensor

    from robo.rewards.grm.compact import CompactGRM

RESULT = Path(__file__).parent / "results" / "grm_throughput.json"
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "4090": 165e12}
"""bf16 operations per second of GPUs without sparsity, by their makers' data sheets."""
PERSPECTIVES = 3
"""Questions about each frame: incremental, forward, backward."""
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "3b": {
        "text": {
            "vocab_size": 151_936,
            "hidden_size": 2048,
            "intermediate_size": 11_008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
        },
        "vision": {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 2048,
        },
    },
    "tiny": {
        "text": {
            "vocab_size": 1000,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
        "vision": {
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [1],
        },
    },
}


@dataclass(frozen=True)
class Options:
    """Measure pairs per second."""

    batches: tuple[int, ...] = (1, 8, 64, 256, 1024)
    """Batch sizes of the compact model, in frames."""
    repeats: int = 5
    """Interleaved measurements of each."""
    seconds: float = 1.0
    """Of each measurement."""
    vlm: Literal["none", "tiny", "3b"] = "none"
    """Shape of the vision-language model."""
    vlm_batches: tuple[int, ...] = (1, 8, 32, 64)
    """Its batch sizes, in pairs."""
    device: str = "cpu"
    """Where both run."""
    compile: bool = False
    """torch.compile parts of the vision-language model, on a GPU."""
    tokenizer: str | None = None
    """Hugging Face id or folder of a Qwen tokenizer; None trains a small one in place, which
    changes the prompt's length but not the model."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


def rate(act: Callable[[], int], seconds: float, settle: Callable[[], None]) -> float:
    """Units per second of an action that returns how many it did."""
    act()
    settle()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += act()
        settle()
    return done / (time.perf_counter() - began)


def settle_on(device: str) -> Callable[[], None]:
    """Waits for the device."""
    import torch

    return torch.cuda.synchronize if device.startswith("cuda") else lambda: None


def compact_rows(options: Options) -> list[dict[str, Any]]:
    """The compact model: one call a frame, and batches."""
    import torch

    from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
    from robo.rewards.grm.potential import Scorer

    torch.manual_seed(0)
    grm = CompactGRM(CompactGRMConfig())
    most = max(options.batches)
    frames = {
        view: torch.randint(0, 256, (most, 64, 64, 3), dtype=torch.uint8)
        for view in grm.config.views
    }
    grm.reference = {
        kind: {view: image[i : i + 1] for view, image in frames.items()}
        for i, kind in enumerate(("start", "goal"))
    }
    scorer = Scorer(grm, "mean", options.device, most)
    pictures = {view: image[:4] for view, image in frames.items()}

    def scored(size: int) -> Callable[[], int]:
        part = {view: image[:size] for view, image in frames.items()}

        def act() -> int:
            rows = scorer.encode(part)
            scorer.hops(rows, rows, rows)
            return size

        return act

    asked = {0: lambda: released(grm, pictures), **{n: scored(n) for n in options.batches}}
    settle = settle_on(options.device)
    rates: dict[int, list[float]] = {size: [] for size in asked}
    for _ in range(options.repeats):
        for size, act in asked.items():
            rates[size].append(rate(act, options.seconds, settle))
    middle = {size: statistics.median(found) for size, found in rates.items()}
    single = middle[min(options.batches)]
    return [
        {
            "name": f"compact, {size} frames a call" if size else "compact, as released",
            "pairs_per_second": PERSPECTIVES * middle[size],
            "range": [PERSPECTIVES * min(found), PERSPECTIVES * max(found)],
            "ratio_to_a_call_per_step": middle[size] / middle[0],
            "ratio_to_our_scorer_a_frame_at_a_time": middle[size] / single,
        }
        for size, found in rates.items()
    ]


def released(grm: CompactGRM, pictures: dict[str, Tensor]) -> int:
    """One step asked as the paper's code asks it: a call per perspective, every picture read.

    The perspectives are incremental, forward and backward, rows of ``pictures`` are START, GOAL,
    BEFORE and AFTER.
    """
    import torch

    two = {view: image[2:] for view, image in pictures.items()}
    references = {view: image[:2] for view, image in pictures.items()}
    with torch.inference_mode():
        for _ in range(PERSPECTIVES):
            frame = grm.encode(two)
            reference = grm.encode(references, reference=True)
            float(grm.hops(frame[:1], frame[1:], reference[:1], reference[1:]))
    return 1


def tokenizer_of(options: Options) -> Any:
    """A Qwen tokenizer, or a small one trained on the prompt."""
    from transformers import AutoTokenizer, Qwen2Tokenizer

    if options.tokenizer is not None:
        return AutoTokenizer.from_pretrained(options.tokenizer)
    import json

    from tokenizers import pre_tokenizers, trainers

    from robo.rewards.grm.prompt import DEFAULT

    special = [
        f"<|{name}|>"
        for name in (
            "endoftext",
            "im_start",
            "im_end",
            "vision_start",
            "vision_end",
            "image_pad",
            "video_pad",
        )
    ]
    plain = Qwen2Tokenizer(vocab={"<|endoftext|>": 0}, merges=[])
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.backend_tokenizer.train_from_iterator([DEFAULT] * 4, trainer)
    learned = json.loads(plain.backend_tokenizer.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(merge) for merge in learned["merges"]],  # type: ignore[arg-type]
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special,
    )


TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


def random_vlm(options: Options, cache: int) -> Any:
    """A backbone of the shape, with random weights."""
    import torch
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    from robo.rewards.grm.vlm.backbone import VLMBackbone
    from robo.rewards.grm.vlm.loading import dtype_of
    from robo.rewards.grm.vlm_config import VLMConfig

    words = tokenizer_of(options)
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    ids = {
        f"{name.removesuffix('_pad')}_token_id": words.convert_tokens_to_ids(f"<|{name}|>")
        for name in names
    }
    shape = SHAPES[options.vlm]
    heads = shape["text"]["hidden_size"] // shape["text"]["num_attention_heads"] // 2
    rope = {
        "rope_type": "default",
        "mrope_section": [heads - 2 * (heads * 3 // 8), heads * 3 // 8, heads * 3 // 8],
        "rope_theta": 1_000_000.0,
    }
    config = Qwen2_5_VLConfig(
        text_config={**shape["text"], "rope_parameters": rope},
        vision_config=shape["vision"],
        tie_word_embeddings=True,
        **ids,
    )
    choice = VLMConfig(
        model="random",
        device=options.device,
        cache_images=cache,
        batch=max(options.vlm_batches),
        compile=options.compile,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(dtype_of(choice))
    try:
        with torch.device(options.device):
            model = Qwen2_5_VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(torch.float32)
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(), words, Qwen2VLVideoProcessor(), chat_template=TEMPLATE
    )
    return VLMBackbone(choice, model.eval(), processor)


def rollout_pairs(count: int, seed: int) -> Any:
    """Pairs as a rollout asks them: consecutive frames, one START and one GOAL."""
    import torch

    from robo.rewards.grm.backbone import PairBatch

    generator = torch.Generator().manual_seed(seed)
    frames = {
        view: torch.randint(
            0, 256, (count + 2, 240, 320, 3), generator=generator, dtype=torch.uint8
        )
        for view in ("front", "left_wrist", "right_wrist")
    }
    rows = torch.arange(count)
    nothing = torch.zeros(count, dtype=torch.int64)
    return PairBatch(
        frames, rows, rows + 1, nothing, nothing + count + 1, ("lift the cube",) * count
    )


def operations(backbone: Any, pairs: Any) -> float:
    """Floating-point operations of one call, multiply-adds counted twice; attention included."""
    inner = backbone.inner
    text, vision = inner.config.text_config, inner.config.vision_config
    body = sum(part.numel() for part in inner.model.language_model.layers.parameters())
    images, chosen = backbone.pair_images(pairs)
    features = backbone.features(images)
    lengths = [
        len(backbone._begun(backbone.pair_parts(w), [features[i].grid for i in row]).tokens)
        for w, row in zip(pairs.instruction, chosen, strict=True)
    ]
    nodes = len(backbone.tree.token) - 1
    total = 0.0
    for length in lengths:
        read = length + nodes
        total += 2.0 * body * read
        # Scores and values of causal attention, then of the tree over the prompt.
        pairs_seen = length * length / 2 + nodes * length
        total += 4.0 * text.num_hidden_layers * text.hidden_size * pairs_seen
        total += 2.0 * text.hidden_size * len(backbone.tree.vocabulary) * (nodes + 1)
    seen = sum(part.numel() for part in inner.model.visual.parameters())
    for image in features:
        patches = image.grid[0] * image.grid[1] * image.grid[2]
        total += 2.0 * seen * patches
        total += 4.0 * vision.depth * vision.hidden_size * patches * 64  # windows of 64 patches
    return total


def calls(backbone: Any, batches: list[Any]) -> Callable[[], int]:
    """Ask about the batches in turn; nothing but what one call shares is cached."""
    turn = [0]

    def act() -> int:
        turn[0] += 1
        backbone.features.clear()
        pairs = batches[turn[0] % len(batches)]
        backbone.hops(pairs)
        return len(pairs)

    return act


def vlm_rows(options: Options) -> list[dict[str, Any]]:
    """The vision-language model: pairs per second and utilisation, caching on and off."""
    import torch

    settle = settle_on(options.device)
    peak = None
    if options.device.startswith("cuda"):
        name = torch.cuda.get_device_name()
        peak = next((value for key, value in PEAK.items() if key in name), None)
    rows = []
    for cached in (True, False):
        backbone = random_vlm(options, 4096 if cached else 0)
        for size in options.vlm_batches:
            batches = [rollout_pairs(size, seed) for seed in range(3)]
            asked = calls(backbone, batches)
            found = [rate(asked, options.seconds, settle) for _ in range(options.repeats)]
            with torch.no_grad():
                work = operations(backbone, batches[0])
            pairs = statistics.median(found)
            rows.append(
                {
                    "name": f"{options.vlm}, {size} pairs, caching {'on' if cached else 'off'}",
                    "pairs_per_second": pairs,
                    "range": [min(found), max(found)],
                    "operations_per_pair": work / size,
                    "utilisation": None if peak is None else work / size * pairs / peak,
                }
            )
        del backbone
    return rows


def main(options: Options) -> int:
    """Measure and publish."""
    import torch

    torch.set_num_threads(1)
    rows = compact_rows(options)
    best = max(row["ratio_to_a_call_per_step"] for row in rows)
    models = [] if options.vlm == "none" else vlm_rows(options)
    result = {
        "benchmark": "grm_throughput",
        "rows": [*rows, *models],
        "compact_best_ratio": best,
        "compact_at_least_10_times": best >= 10,
        "vlm": options.vlm,
        "machine": machine(
            torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device
        ),
    }
    publish(result, options.out)
    return 0


if __name__ == "__main__":
    one_thread()
    sys.exit(main(tyro.cli(Options, description=__doc__)))
