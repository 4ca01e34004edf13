"""A vision-language-action model of transformers, tiny and random, trained by robo's learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.testing import assert_close

from robo.errors import CheckpointError, RoboError
from robo.policies.behaviour_cloning import BehaviourCloningConfig, clone
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.policy_files import load_policy, make_policy
from robo.policies.ppo import PPO
from robo.rollout import Episode, EpisodeInfo, FinalObservation, RewardTerms, Rollout

pytest.importorskip("transformers")
pytest.importorskip("peft")

BINS = 32
SPACE = spaces.Dict(
    {
        "state": spaces.Box(-1, 1, (2,), np.float32),
        "views/front": spaces.Box(0, 255, (20, 20, 3), np.uint8),
    }
)
ACTION = spaces.Box(-1, 1, (3,), np.float32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA of two small layers with its processor, saved as any checkpoint is."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    folder = tmp_path_factory.mktemp("vla")
    words = ["<unk>", "<pad>", "<image>", "in", "out", "robot", "take", "action", "to", "?", ":"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
    )
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor = LlavaProcessor(
        images,
        fast,
        patch_size=8,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    language = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=vision, text_config=language, image_token_id=2, vision_feature_layer=-1
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def config(source: Path, chunk: int = 2) -> NetworkConfig:
    return NetworkConfig(
        kind="vla", source=str(source), bins=BINS, chunk=chunk, temperature=1.6, lora=2
    )


def observations(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "state": np.zeros((count, 2), np.float32),
        "views/front": rng.integers(0, 256, (count, 20, 20, 3), np.uint8),
    }


@pytest.mark.slow
def test_only_adapters_learn_from_groups(checkpoint: Path, tmp_path: Path):
    policy = make_policy(SPACE, ACTION, config(checkpoint), seed=0)
    names = [name for name, part in policy.named_parameters() if part.requires_grad]
    assert names and all("lora" in name for name in names)
    assert policy.flat.numel() == sum(part.numel() for part in policy.trained_parameters())
    seen = observations(4)
    action, _ = policy.act(seen, np.random.default_rng(0))
    assert action.shape == (4, 6)
    assert len(np.unique(policy.actor_output(seen), axis=0)) == 4  # the image is seen
    done = torch.zeros(3, 4, dtype=torch.bool)
    done[-1] = True
    rows = [observations(4, seed) for seed in range(3)]
    drawn = [policy.act(row, np.random.default_rng(seed)) for seed, row in enumerate(rows)]
    stacked = {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in seen}
    last = {key: torch.from_numpy(values) for key, values in seen.items()}
    rollout = Rollout(
        stacked,
        last,
        FinalObservation(last, torch.full((4,), 2), torch.arange(4)),
        torch.from_numpy(np.stack([part[0] for part in drawn])),
        torch.from_numpy(np.stack([part[1] for part in drawn])),
        torch.zeros(3, 4),
        torch.zeros_like(done),
        done,
        torch.zeros_like(done),
        torch.arange(4).expand(3, -1).clone(),
        {i: EpisodeInfo("mine", group=0) for i in range(4)},
    ).check()
    total = torch.zeros(3, 4)
    total[-1] = torch.tensor([1.0, 0.3, 0.0, 0.0])
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    settings = PPOConfig(
        advantage="group",
        clip_range_high=0.28,
        learning_rate=3e-3,
        epochs=4,
        minibatch_size=12,
        normalise_observation=False,
    )
    metrics = PPO(settings, policy, seed=0).update(rollout, RewardTerms(total, {}))
    assert metrics["groups_used"] == 1 and metrics["gradient_norm"] > 0
    for name, value in policy.state_dict().items():
        assert torch.equal(value, before[name]) or "lora" in name, name
    with torch.no_grad():
        found, _, _ = policy.evaluate(rollout.observation, rollout.action)
    moved = (found - rollout.log_prob).mean(0)
    assert moved[0] > moved[2:].max()
    policy.save(tmp_path)
    assert_close(load_policy(tmp_path).actor_output(seen), policy.actor_output(seen))


@pytest.mark.slow
def test_one_demonstration_is_cloned_into_the_adapters(checkpoint: Path):
    policy = make_policy(SPACE, ACTION, config(checkpoint), seed=0)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    action = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)
    info, reward = EpisodeInfo("mine"), np.zeros(6, np.float32)
    demonstration = Episode(info, observations(7), action, reward, True, True)
    losses = []
    for epochs in (1, 40):
        settings = BehaviourCloningConfig(
            epochs=epochs, batch_size=6, learning_rate=3e-2, validation_fraction=0.0
        )
        losses.append(clone([demonstration], policy, settings)["validation_loss"])
    assert losses[1] < losses[0] - 0.05  # nats per action dimension
    for name, value in policy.state_dict().items():
        trained = "lora" in name or name.startswith("normaliser")
        assert trained or torch.equal(value, before[name]), name


@pytest.mark.slow
def test_action_tokens_are_the_last_of_the_vocabulary(checkpoint: Path):
    policy = make_policy(SPACE, ACTION, config(checkpoint, chunk=1), seed=0)
    network: Any = policy.network  # type: ignore[attr-defined]
    assert network.action_ids.tolist() == list(range(64 - BINS, 64))
    # By hand: the prompt (2x2 patches of the image in it), three placeholders, one forward pass.
    assert int((network.prompt == 2).sum()) == 4
    image = torch.rand(1, 3, 16, 16)
    ids = torch.cat([network.prompt, torch.full((3,), 64 - BINS)])[None]
    shown = (image - network.mean[:, None, None]) / network.std[:, None, None]
    with torch.no_grad():
        logits = network.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=shown
        ).logits
        found = network.features([image], torch.zeros(1, 2))
    assert_close(found[0], logits[0, -4:-1, -BINS:].flatten(), atol=1e-5, rtol=1e-4)


def test_what_cannot_be_loaded_is_said(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no vision-language-action model"):
        make_policy(SPACE, ACTION, config(tmp_path))
    with pytest.raises(RoboError, match=r"--network\.source"):
        NetworkConfig(kind="vla", bins=256)
