"""`--algorithm srpo` of the launch scripts: stages, what reaches the learner, what is refused."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from robo.errors import RoboError
from robo.policies.launcher import ProcessConfig
from robo.policies.learner_config import NetworkConfig
from robo.policies.srpo_presets import GroupSettings

ROOT = Path(__file__).resolve().parents[2]
CHUNKS = NetworkConfig(kind="transformer", size=32, depth=1, chunk=4)


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launch scripts import each other as scripts do."""
    monkeypatch.syspath_prepend(str(ROOT / "launch"))


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def planned(monkeypatch: pytest.MonkeyPatch, name: str, **settings: Any) -> Any:
    """The run that a script would start; nothing is collected or trained."""
    found: list[Any] = []
    monkeypatch.setattr(script("srpo_stages"), "run_stages", lambda run, do: found.append(run))
    module = script(name)
    monkeypatch.setattr(script("train_robosuite").Stages, "do", lambda *_: {})
    module.main(module.Config(algorithm="srpo", **settings))
    return found[0]


def test_mujoco_takes_views_policy_and_processes(monkeypatch, tmp_path: Path):
    run = planned(
        monkeypatch,
        "train_mujoco",
        out=tmp_path,
        views=("front", "side"),
        stride=3,
        group_network=CHUNKS,
        processes=ProcessConfig(nproc=2),
    )
    assert (run.camera.views, run.camera.stride) == (("front", "side"), 3)
    assert run.network == run.base.network == CHUNKS and run.processes.nproc == 2
    # Demonstrations, attempts, selection and report begin from states of their own.
    assert not {*run.attempts} & {*run.report} and min(run.attempts) >= 100_000


def test_robosuite_shows_views_to_encoder_and_policy(monkeypatch, tmp_path: Path):
    run = planned(
        monkeypatch,
        "train_robosuite",
        out=tmp_path,
        task="robosuite/Lift",
        options={"horizon": 70},
        policy_views=("front", "wrist"),
        group_network=CHUNKS,
        views=("front", "wrist"),
    )
    assert run.camera.views == ("front", "wrist")
    seen = {"observation_views": ("front", "wrist"), "view_height": 64, "view_width": 64}
    assert run.base.options == {"horizon": 70, **seen}
    assert run.base.network == run.network == CHUNKS


def test_demonstrations_are_recorded_with_the_options_of_the_run(monkeypatch, tmp_path: Path):
    module, asked = script("train_robosuite"), []
    monkeypatch.setattr(module.Collect, "run", lambda collect: asked.append(collect) or {})
    module.collect(module.Config(out=tmp_path, options={"horizon": 70}, views=("wrist",)))
    assert asked[0].options == {"controller": "OSC_POSITION", "horizon": 70}
    assert asked[0].views == ("wrist",)
    module.collect(module.Config(out=tmp_path, options={"controller": "OSC_POSE"}))
    module.collect(module.Config(out=tmp_path, task="robosuite/Lift"))
    assert [later.options for later in asked[1:]] == [{"controller": "OSC_POSE"}, {}]


def test_libero_gives_the_policy_its_views_and_ends_in_time(monkeypatch, tmp_path: Path):
    run = planned(
        monkeypatch,
        "train_libero",
        out=tmp_path,
        policy_views=("front",),
        network=CHUNKS,
        minutes=3.0,
    )
    assert tuple(run.base.options["observation_views"]) == ("front",)
    assert run.base.options["view_height"] == run.camera.height == 64
    assert run.camera.views == ("front", "wrist")
    assert run.cloning is not None and run.cloning.validation_fraction == 0
    assert run.base.ppo.learning_rate < 1e-4 and run.settings.std == 0.05
    (watch,) = run.callbacks
    assert watch.minutes == 3.0


def finished(run: Path) -> dict[str, str]:
    """What every stage left; the run's settings lie beside them."""
    paths = (run / "stages").glob("*.json")
    return {path.stem: path.read_text() for path in paths if path.stem != "config"}


@pytest.mark.slow
def test_all_stages_run_once_and_resume(tmp_path: Path, capsys):
    module = script("train_mujoco")
    config = module.Config(
        out=tmp_path,
        task="mujoco/Reach",
        algorithm="srpo",
        num_envs=8,
        total_steps=400,
        demonstrations=2,
        srpo=GroupSettings(group_size=4, encoder_iterations=2, variant="released"),
        selection_seeds="9000-9003",
        report_seeds="5000-5003",
        views=("front",),
    )
    module.main(config)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["algorithm"] == "srpo" and result["after"]["episodes"] == 4
    assert result["training"]["reward_counts"]["judged"] == result["training"]["iterations"]
    reward = json.loads((tmp_path / "config.json").read_text())["config"]["reward"]
    assert reward["srpo"]["variant"] == "released" and reward["srpo"]["views"] == ["front"]
    assert reward["srpo"]["demonstrations"].endswith("collect/episodes")
    stages = finished(tmp_path)
    assert set(stages) == {"collect", "clone", "before", "encoder", "train", "after"}
    with pytest.raises(RoboError, match="add --resume"):
        module.main(config)
    module.main(replace(config, resume=True))
    assert finished(tmp_path) == stages
