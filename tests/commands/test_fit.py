"""``robo fit grm`` on a real store."""

from __future__ import annotations

import json

import pytest
import torch

from robo.commands.fit import FitGRM, fit
from robo.data import EpisodeStore, open_store
from robo.errors import RoboError, StoreError
from robo.rewards.grm.compact import CompactGRM
from robo.rewards.grm.fit import FitConfig

TINY = FitConfig(iterations=3, episodes_per_step=3, rows_per_episode=4, references=2)


def test_a_fitted_grm_is_a_folder_that_loads(lift_grm):
    grm = CompactGRM.load(lift_grm)
    assert grm.task == "mujoco/Lift" and grm.size == (32, 32)
    assert (grm.summary["demonstrations"], grm.summary["failures"]) == (3, 2)


def test_progress_threads_and_summary(lift_run, tmp_path):
    before, steps = torch.get_num_threads(), []
    result = fit(
        FitGRM(lift_run / "episodes", TINY, threads=1, out=tmp_path),
        lambda progress: steps.append(progress.iteration),
    )
    assert steps == [1, 2, 3] and torch.get_num_threads() == before
    assert result["grm"] == str(tmp_path) and result["iterations"] == 3


def test_from_the_command_line(lift_run, tmp_path, capsys):
    from robo.cli import main

    arguments = ["fit", "grm", "--store", str(lift_run), "--out", str(tmp_path / "grm"), "--json"]
    assert main([*arguments, "--iterations", "2", "--episodes-per-step", "3"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["iterations"] == 2
    assert CompactGRM.load(tmp_path / "grm").task == "mujoco/Lift"


def test_no_store_empty_store_and_missing_view(lift_run, tmp_path):
    with pytest.raises(StoreError, match="there is no episode store"):
        open_store(tmp_path / "none")
    EpisodeStore(tmp_path / "empty").close()
    with pytest.raises(StoreError, match="demonstration"):
        fit(FitGRM(tmp_path / "empty", TINY, out=tmp_path / "grm"))
    with pytest.raises(RoboError, match="bird"):
        config = FitConfig(iterations=1, views=("bird",))
        fit(FitGRM(lift_run, config, out=tmp_path / "grm"))
    assert not (tmp_path / "grm").exists()
