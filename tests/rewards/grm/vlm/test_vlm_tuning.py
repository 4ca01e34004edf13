from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from robo.errors import CheckpointError, RoboError
from robo.rewards.grm.fit_config import PairSetConfig
from robo.rewards.grm.pair_model import PairModel
from robo.rewards.grm.score import score_episode
from robo.rewards.grm.tune_config import TuneConfig
from robo.rewards.grm.vlm.tuning import PairFrames, VLMObjective, trainable, tune
from robo.rewards.grm.vlm_config import VLMConfig

SLOTS = ("front", "side", "wrist")
SMALL = VLMConfig(slots=SLOTS, min_pixels=784, max_pixels=3136)
TUNE = TuneConfig(
    steps=20,
    batch=4,
    rank=4,
    learning_rate=1e-2,
    checkpoint_every=10,
    pairs=PairSetConfig(samples=40, chunk=3),
)


def fresh(checkpoint, synthetic):
    """A short wording keeps these tests quick; the ordinary one is tested elsewhere."""
    from robo.rewards.grm.vlm.loading import load_vlm

    wording = checkpoint / "wording.txt"
    if not wording.exists():
        wording.write_text("{task}" + "<image>" * 8)
    config = replace(SMALL, model=str(checkpoint), prompt_file=wording)
    demo = synthetic.episode(0)[0]
    reference = {
        kind: {view: torch.from_numpy(image[[row]]) for view, image in demo.frames.items()}
        for kind, row in (("start", 0), ("goal", -1))
    }
    return PairModel(config, load_vlm(config), SLOTS, (32, 32), "a/B", "go", reference)


@pytest.fixture
def episodes(synthetic):
    return [synthetic.episode(0)[0], synthetic.episode(1)[0], synthetic.episode(5, False)[0]]


@pytest.mark.slow
def test_lora_makes_the_loss_fall_in_20_steps_and_the_folder_gives_the_same_hops(
    checkpoint, synthetic, episodes, tmp_path
):
    model = fresh(checkpoint, synthetic)
    before = score_episode(model, episodes[0], "mean", stride=8)
    seen = []
    summary = tune(model, episodes, TUNE, tmp_path, seen.append)
    losses = [step.loss for step in seen]
    assert len(losses) == 20 and sum(losses[-4:]) < 0.8 * sum(losses[:4])
    assert summary["steps"] == 20 and summary["loss_last"] < summary["loss_first"]
    total = sum(part.numel() for part in model.backbone.model.parameters())
    assert 0 < summary["trained_parameters"] < total / 4
    after = score_episode(model, episodes[0], "mean", stride=8)
    assert abs(after.progress - before.progress).max() > 1e-3
    files = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert "adapter_model.safetensors" in files and not any(n.endswith(".bin") for n in files)
    loaded = score_episode(PairModel.load(tmp_path), episodes[0], "mean", stride=8)
    assert loaded.progress == pytest.approx(after.progress, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["hop", "both"])
def test_hop_regression_reaches_the_weights(checkpoint, synthetic, episodes, objective):
    model = fresh(checkpoint, synthetic)
    config = replace(TUNE, objective=objective, batch=4)
    model.backbone.model = trainable(model.backbone.model, config)
    objective = VLMObjective(model.backbone, PairFrames(episodes, SLOTS, config), config)
    pairs, hop = objective.data.batch(torch.arange(4).numpy())
    parameters = objective.parameters()
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = objective.batch_loss(pairs, hop)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(part.grad is not None for part in parameters)


@pytest.mark.slow
def test_full_tuning_with_the_visual_encoder_and_checkpointing(
    checkpoint, synthetic, episodes, tmp_path
):
    model = fresh(checkpoint, synthetic)
    config = replace(
        TUNE, method="full", steps=2, batch=2, gradient_checkpointing=True, learning_rate=1e-4
    )
    visual = [part.clone() for part in model.backbone.inner.model.visual.parameters()]
    tune(model, episodes, config, tmp_path)
    moved = [
        not torch.equal(old, new)
        for old, new in zip(visual, model.backbone.inner.model.visual.parameters(), strict=True)
    ]
    assert any(moved)
    assert (tmp_path / "model" / "model.safetensors").is_file()
    again = PairModel.load(tmp_path)
    wanted = score_episode(model, episodes[0], "backward", stride=12).progress
    assert score_episode(again, episodes[0], "backward", stride=12).progress == pytest.approx(
        wanted, abs=1e-5
    )


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(checkpoint, synthetic, episodes, tmp_path):
    config = replace(TUNE, steps=4, batch=2, checkpoint_every=2, dropout=0.1)

    class KilledError(Exception):
        pass

    def kill(step):
        if step.iteration == 3:
            raise KilledError

    whole = tune(fresh(checkpoint, synthetic), episodes, config, tmp_path / "whole")
    with pytest.raises(KilledError):
        tune(fresh(checkpoint, synthetic), episodes, config, tmp_path / "cut", kill)
    seen = []
    model = fresh(checkpoint, synthetic)
    rest = tune(model, episodes, config, tmp_path / "cut", seen.append, resume=True)
    assert [step.iteration for step in seen] == [3, 4]
    assert rest["loss_last"] == whole["loss_last"]
    state = tmp_path / "cut" / "training.safetensors"
    content = bytearray(state.read_bytes())
    content[-5] ^= 1
    state.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="checksum"):
        tune(fresh(checkpoint, synthetic), episodes, config, tmp_path / "cut", resume=True)


def test_bad_options_are_refused():
    for options in ({"steps": -1}, {"dropout": 1.0}, {"rank": 0}):
        with pytest.raises(RoboError, match="must be"):
            TuneConfig(**options)
    with pytest.raises(RoboError, match="objective tokens"):
        TuneConfig(gradient_checkpointing=True, objective="hop")
