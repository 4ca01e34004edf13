"""A fitted GRM of any kind beside the operator."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.rewards.grm.compact_backbone import CompactBackbone
from robo.rewards.grm.ensemble import EnsembleGRM
from robo.rewards.grm.http_config import HTTPConfig
from robo.rewards.grm.pair_model import PairModel, make_backbone
from robo.rewards.grm.score import score_episode
from robo.robots.grm_judge import GRMJudge
from robo.robots.robot import RobotError
from robo.web.grm_batching import ServiceConfig
from robo.web.grm_service import GRMService
from tests.rewards.grm.conftest import episode

ROBOT = SimpleNamespace(name="arm", views=("front", "side", "wrist"))


@pytest.fixture
def grm():
    torch.manual_seed(0)
    model = CompactGRM(CompactGRMConfig(height=32, width=32, channels=(4, 8, 8), embedding=16))
    demo, _ = episode(0)
    for kind, row in (("start", 0), ("goal", -1)):
        model.reference[kind] = {v: torch.from_numpy(p[[row]]) for v, p in demo.frames.items()}
    return model


def test_an_ensemble_judges_trials_of_another_size(grm, tmp_path):
    grm.save(tmp_path / "one")
    EnsembleGRM.write(tmp_path / "all", [tmp_path / "one"], 0.0)
    trial, _ = episode(5, size=64, stride=6)
    found = GRMJudge(tmp_path / "all", ROBOT).score(trial)
    alone = GRMJudge(tmp_path / "one", ROBOT).score(trial)
    assert found == alone and found["progress_invalid"] == 0
    assert found["progress_steps"] == [0, 6, 12, 18, 24]
    with pytest.raises(RobotError, match="wrist"):
        GRMJudge(tmp_path / "all", SimpleNamespace(name="arm", views=("front", "side")))


def test_a_served_model_judges_and_answers_that_fail_are_counted(grm, tmp_path):
    demo, trial = episode(0)[0], episode(5, stride=6)[0]
    with GRMService(CompactBackbone(grm, own_references=True), ServiceConfig(port=0)) as service:
        config = HTTPConfig(service.url, slots=ROBOT.views, tries=1)
        model = PairModel(config, make_backbone(config), ROBOT.views, (32, 32))
        model.reference = {
            kind: {v: torch.from_numpy(p[[row]]) for v, p in demo.frames.items()}
            for kind, row in (("start", 0), ("goal", -1))
        }
        model.save(tmp_path)
        judge = GRMJudge(tmp_path, ROBOT)
        found = judge.score(trial)
    wanted = score_episode(grm, trial).progress
    np.testing.assert_allclose(found["progress_curve"], wanted, atol=1e-3)
    assert found["progress_invalid"] == 0
    gone = judge.score(trial)
    assert gone["progress"] == 0.0 and gone["progress_invalid"] == len(trial.frame_step)
