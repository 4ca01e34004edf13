"""A vision-language checkpoint in process, behind the service, and as a potential."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from robo.rewards.grm.backbone import PairBatch
from robo.rewards.grm.http_backbone import HTTPBackbone
from robo.rewards.grm.http_config import HTTPConfig
from robo.rewards.grm.pair_model import PairModel
from robo.rewards.grm.potential import GRMPotential
from robo.rewards.grm.score import score_episode
from robo.rewards.grm.vlm_config import VLMConfig
from robo.web.grm_batching import ServiceConfig
from robo.web.grm_service import GRMService


@pytest.fixture(scope="module")
def backbone(checkpoint):
    from robo.rewards.grm.vlm.loading import load_vlm

    return load_vlm(VLMConfig(model=str(checkpoint), slots=("front", "side", "wrist")))


def test_the_same_checkpoint_gives_the_same_hops_through_the_service(backbone, synthetic):
    episode = synthetic.episode(1)[0]
    frames = {view: torch.from_numpy(image[::6]) for view, image in episode.frames.items()}
    rows = torch.arange(4)
    zeros = torch.zeros(4, dtype=torch.int64)
    pairs = PairBatch(frames, rows, rows + 1, zeros, zeros + 4, ("go to the square",) * 4)
    here = backbone.hops(pairs)
    with GRMService(backbone, ServiceConfig(port=0)) as service:
        config = HTTPConfig(service.url, slots=("front", "side", "wrist"))
        there = HTTPBackbone(config).hops(pairs)
    torch.testing.assert_close(there, here, atol=1e-5, rtol=0)
    assert here.std() > 0


def test_a_folder_scores_episodes_in_every_mode(backbone, synthetic, tmp_path):
    demo = synthetic.episode(2)[0]
    reference = {
        kind: {view: torch.from_numpy(image[[row]]) for view, image in demo.frames.items()}
        for kind, row in (("start", 0), ("goal", -1))
    }
    prompt = tmp_path / "wording.txt"
    prompt.write_text("{task}: " + "<image> " * 8)
    config = VLMConfig(
        model=backbone.config.model, slots=("front", "side", "wrist"), prompt_file=prompt
    )
    model = PairModel(config, backbone, synthetic.views, (32, 32), "a/B", "go", reference)
    model.save(tmp_path / "grm")
    prompt.unlink()  # the folder has a copy
    potential = GRMPotential.load(tmp_path / "grm", mode="mean", stride=8)
    assert potential.camera is not None and potential.camera.views == synthetic.views
    loaded = PairModel.load(tmp_path / "grm")
    assert loaded.backbone.prompt.text.startswith("{task}: ")
    assert (loaded.task, loaded.instruction) == ("a/B", "go")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode in ("incremental", "mean", "consistent"):
            score = score_episode(loaded, demo, mode, stride=8)
            assert score.progress.shape == (4,)
            assert np.isfinite(score.progress).all()
            assert score.progress.min() >= 0 and score.progress.max() <= 1
            assert score.invalid == 0
