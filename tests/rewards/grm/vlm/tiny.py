"""Write tiny Qwen2.5-VL and Qwen3-VL checkpoints, as their publishers' tools would."""

from __future__ import annotations

from pathlib import Path

from robo.rewards.grm.prompt import DEFAULT

FAMILIES = ("qwen2_5_vl", "qwen3_vl")
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer():
    """A byte-level BPE trained on our prompt, with Qwen's own way of splitting text."""
    from tokenizers import Tokenizer, trainers
    from transformers import Qwen2Tokenizer

    plain = Qwen2Tokenizer(vocab={"<|endoftext|>": 0}, merges=[])
    learner: Tokenizer = plain.backend_tokenizer
    answers = [f"<score>{value:+d}%</score>" for value in range(-100, 101)]
    answers += [f"<score>{value / 10:+.1f}%</score>" for value in range(-1000, 1001, 7)]
    from tokenizers import pre_tokenizers

    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator([DEFAULT] * 4 + answers, trainer)
    import json

    learned = json.loads(learner.to_str())["model"]
    made = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(merge) for merge in learned["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
    )
    made.chat_template = TEMPLATE
    return made


def write_checkpoint(family: str, folder: Path, seed: int = 0) -> Path:
    """A checkpoint of ``family`` in ``folder``: config, safetensors, processor, tokenizer."""
    import torch
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    words = tokenizer()
    ids = {name: words.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    ids |= {
        name: words.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end")
    }
    tokens = {f"{name.removesuffix('_pad')}_token_id": index for name, index in ids.items()}
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": None,
    }
    torch.manual_seed(seed)
    if family == "qwen2_5_vl":
        text["rope_parameters"] = {
            "rope_type": "default",
            "mrope_section": [1, 1, 2],
            "rope_theta": 10_000.0,
        }
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            "window_size": 56,
        }
        config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
        model = Qwen2_5_VLForConditionalGeneration(config)
        processor = Qwen2_5_VLProcessor(
            Qwen2VLImageProcessor(), words, Qwen2VLVideoProcessor(), chat_template=TEMPLATE
        )
    else:
        text["head_dim"] = 8
        text["rope_parameters"] = {
            "rope_type": "default",
            "mrope_section": [2, 1, 1],
            "mrope_interleaved": True,
            "rope_theta": 10_000.0,
        }
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "deepstack_visual_indexes": [0, 1],
            "num_position_embeddings": 64,
        }
        config = Qwen3VLConfig(text_config=text, vision_config=vision, **tokens)
        model = Qwen3VLForConditionalGeneration(config)
        processor = Qwen3VLProcessor(
            Qwen2VLImageProcessor(patch_size=16),
            words,
            Qwen3VLVideoProcessor(),
            chat_template=TEMPLATE,
        )
    with torch.no_grad():  # fresh weights of 0.02 say nearly the same to everything
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
