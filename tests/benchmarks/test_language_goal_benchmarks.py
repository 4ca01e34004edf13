"""The benchmarks of goals in words: what is run, and what becomes of the results."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip")

from robo.errors import RoboError

FOLDER = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch):
    """Benchmarks are scripts: their helpers lie beside them."""
    monkeypatch.syspath_prepend(str(FOLDER / "benchmarks"))


def test_three_seeds_for_three_rewards_one_for_the_others():
    table = importlib.import_module("language_goal_table")
    runs = table.plan(table.Options())
    seeds = {}
    for run in runs:
        seeds.setdefault(run.settings["reward"], []).append(run.settings["seed"])
    assert set(seeds) == set(table.NAMES)
    assert all(seeds[name] == ([0, 1, 2] if name in table.THREE else [0]) for name in seeds)
    # One seed of everything comes before the second of anything.
    assert len({run.settings["reward"] for run in runs[: len(seeds)]}) == len(seeds)


def test_every_row_of_the_table_can_be_trained(tiny_clip):
    table = importlib.import_module("language_goal_table")
    from robo.rewards.config import make_reward
    from robo.sim.carla.cameras import ROLES
    from robo.sim.carla.signals import SIGNAL_NAMES

    for run in table.plan(table.Options(seeds=(0,))):
        config = table.configuration(run.settings, tiny_clip)
        language = replace(config.reward.language, preset="released")
        settings = replace(config.reward, language=language)
        reward = make_reward(settings, config.ppo.gamma, config.ppo.timeout)
        assert set(reward.signals) <= set(SIGNAL_NAMES)
        assert reward.camera is None or set(reward.camera.views) <= set(ROLES)


def test_the_follower_steers_for_the_route_and_keeps_its_speed():
    follower = importlib.import_module("_route_follower")
    state = np.zeros((3, 8 + 30), np.float32)
    points = state[:, 8:].reshape(3, 15, 2)
    points[:, :, 0] = np.arange(1, 16)
    points[1, :, 1], points[2, :, 1] = 2.0, -8.0
    state[2, 6] = 7.0
    actions = follower.RouteFollower()({"state": state}, np.ones(3, bool))
    np.testing.assert_allclose(actions[:, 0], [0.0, 1.2 * np.arctan2(2, 8), -1.2 * np.pi / 4], 1e-5)
    np.testing.assert_allclose(actions[:, 1], [0.5, 0.5, 0.0])


def test_rows_are_over_finished_seeds(tmp_path):
    table = importlib.import_module("language_goal_table")
    study = importlib.import_module("_study").Study(tmp_path)
    runs = table.plan(table.Options())
    figures = {
        "average_speed": 18.0,
        "route_completion": 0.9,
        "total_distance": 2000.0,
        "collision_speed": 0.0,
    }
    for run in runs[:2] + runs[-3:-2]:
        success = 0.8 if run.settings["reward"] == "language_goal" else 0.4
        study.save(run, {**figures, "success_rate": success})
    rows = {row["name"]: row for row in table.rows_of(study, runs)}
    assert set(rows) == {"VLM-RL", "LORD-Speed"}
    assert rows["LORD-Speed"]["ratio_to_best"] == pytest.approx(0.5)
    assert rows["VLM-RL"]["seeds"] == 2 and rows["VLM-RL"]["ours"] == pytest.approx(0.8)


def test_finished_runs_of_a_published_table_are_not_repeated(tmp_path):
    table = importlib.import_module("language_goal_table")
    module = importlib.import_module("_study")
    here, there = module.Study(tmp_path / "here"), module.Study(tmp_path / "there")
    runs = table.plan(table.Options())
    for run in runs[:2]:
        here.save(run, {"success_rate": 0.5})
    published = tmp_path / "table.json"
    module.publish({"runs": here.published(runs)}, published)
    assert set(there.go_on_from(published, runs)) == {run.name for run in runs[:2]}
    assert there.missing(runs) == runs[2:]
    assert there.result(runs[0]) == here.result(runs[0])
    other = table.plan(table.Options(steps=1))
    there.go_on_from(published, other)
    assert there.missing(other) == other
    module.publish({"rows": []}, published)
    with pytest.raises(RoboError, match="holds no finished runs to go on from"):
        there.go_on_from(published, runs)


def test_frames_recorded_in_another_way_are_not_taken_over(tmp_path, monkeypatch):
    frames = importlib.import_module("_domain_frames")
    study_module = importlib.import_module("_study")
    study, run = study_module.Study(tmp_path), frames.frame_run("grid", "carla-standin/Grid", 4, 0)
    study.save(run, {"episodes": 4})
    assert study.result(run) == {"episodes": 4}
    monkeypatch.setitem(frames.DRIVING, "size", 160)
    assert study.result(frames.frame_run("grid", "carla-standin/Grid", 4, 0)) is None


def test_frames_are_recorded_as_the_settings_say(tmp_path, monkeypatch):
    frames = importlib.import_module("_domain_frames")
    import robo

    class AskedError(Exception):
        """What the simulator was asked for."""

    def refuse(task, num_envs, **options):
        raise AskedError(task, options)

    monkeypatch.setattr(robo, "make_vec", refuse)
    run = frames.frame_run("grid", "carla-standin/Grid", 4, 0)
    with pytest.raises(AskedError) as asked:
        frames.do(run, tmp_path)
    task, options = asked.value.args
    assert task == "carla-standin/Grid"
    for name in ("vehicles", "time_limit"):
        assert options[name] == run.settings[name]


def test_throughput_counts_frames_and_operations(monkeypatch, tiny_clip):
    throughput = importlib.import_module("language_goal_throughput")
    import torch

    from robo.perception.clip import ClipEncoder
    from robo.perception.clip_config import ClipConfig

    encoder = ClipEncoder.load(ClipConfig(model=str(tiny_clip), batch_size=8))
    images = torch.zeros(8, 32, 32, 3, dtype=torch.uint8)
    assert throughput.rate(encoder, images, 0.05) > 8
    one, eight = (throughput.flops_of(encoder, images[:count]) for count in (1, 8))
    assert one == eight > 2 * 16 * 32 * 4 * 32  # more than one layer's perceptron alone


def test_the_released_way_is_open_clips_own(monkeypatch, tiny_clip):
    throughput = importlib.import_module("language_goal_throughput")
    import torch

    from robo.perception.clip import ClipEncoder
    from robo.perception.clip_config import ClipConfig

    def tiny(name, precision, options):
        return ClipEncoder.load(ClipConfig(str(tiny_clip), "", precision, compile=options.compile))

    monkeypatch.setattr(throughput, "loaded", tiny)
    options = throughput.Options(compile=True)
    ours, released = tiny("", "fp32", options), throughput.as_released("", options)
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    torch.testing.assert_close(ours.images(images), released.images(images), atol=1e-5, rtol=0)
    assert throughput.flops_of(ours, images) < throughput.flops_of(released, images)
    for block in released.model.visual.transformer.resblocks:
        assert "forward" not in vars(block) and "attention" not in vars(block)


def test_the_driving_script_takes_goals_in_words(monkeypatch):
    import tyro

    monkeypatch.syspath_prepend(str(FOLDER / "launch"))
    launch = importlib.import_module("train_carla")
    arguments = (
        "--out runs/x --reward language-goal --algorithm sac --stride 2 --language.preset fitted "
        "--language.clip.model runs/clip --language.image.crop 0.35 0.35 0.65 0.65 "
        "--sac.train-freq 32 --towns carla-standin/Multilane --densities 0 40"
    )
    config = tyro.cli(launch.Config, args=arguments.split())
    train = launch.training(config)
    assert train.reward.kind == "language_goal" and train.reward.stride == 2
    assert train.reward.language.image.crop == (0.35, 0.35, 0.65, 0.65)
    assert config.sac.train_freq == 32 and config.densities == (0, 40)
    plain = launch.training(tyro.cli(launch.Config, args=["--out", "runs/x"]))
    assert plain.reward.kind == "route_completion"


def test_sac_in_several_processes_is_refused(monkeypatch, tmp_path):
    import tyro

    monkeypatch.syspath_prepend(str(FOLDER / "launch"))
    launch = importlib.import_module("train_carla")
    arguments = ["--out", str(tmp_path), "--algorithm", "sac", "--nproc", "2"]
    with pytest.raises(RoboError, match="SAC trains in one process"):
        launch.main(tyro.cli(launch.Config, args=arguments))
