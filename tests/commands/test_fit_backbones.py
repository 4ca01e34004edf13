"""``robo fit grm`` beyond the compact model: several tasks, adaptation, services."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from robo.cli import main
from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.rewards.grm.compact import CompactGRM
from robo.rewards.grm.compact_backbone import CompactBackbone
from robo.rewards.grm.folder import load_model
from robo.rewards.grm.potential import GRMPotential
from robo.rewards.grm.score import score_episode
from robo.web.grm_batching import ServiceConfig
from robo.web.grm_service import GRMService
from tests.rewards.grm.conftest import episode

QUICK = ["--iterations", "3", "--episodes-per-step", "4", "--rows-per-episode", "4"]
QUICK += ["--pairs.pairs", "64"]


def store_of(path, task, seeds, failures=()):
    with EpisodeStore(path) as store:
        for seed, success in [*((s, True) for s in seeds), *((s, False) for s in failures)]:
            made = episode(seed, success, stride=4)[0]
            moving = np.random.default_rng(seed).normal(0, 1, (len(made), 4)).astype(np.float32)
            store.append(
                replace(
                    made,
                    info=replace(made.info, task=task, instruction=f"do {task}"),
                    action=moving,
                )
            )
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    return {
        "a": store_of(root / "a", "test/A", range(4), range(50, 52)),
        "b": store_of(root / "b", "test/B", range(10, 13)),
        "new": store_of(root / "new", "test/New", [20, 21]),
        "held": store_of(root / "held", "test/New", range(30, 33), range(60, 62)),
    }


def run(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refusal(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def several(stores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    paths = ["--store", str(stores["a"]), "--also", str(stores["b"]), "--out", str(folder)]
    code = main(["fit", "grm", *paths, *QUICK])
    assert code == 0
    return folder


def test_one_model_serves_several_tasks(several, stores, capsys):
    grm = CompactGRM.load(several)
    assert sorted(grm.tasks) == ["test/A", "test/B"] and grm.task == "test/A"
    other = grm.for_task("test/B")
    assert other.instruction == "do test/B" and grm.instruction == "do test/A"
    assert other.parts is grm.parts
    with pytest.raises(RoboError, match="no reference frames of 'test/New'"):
        grm.for_task("test/New")
    shown = [score_episode(grm, EpisodeStore(stores[k], "r")[0]).final for k in ("a", "b")]
    assert len(set(shown)) == 2
    potential = GRMPotential.load(several, task="test/B")
    assert potential.grm.task == "test/B"
    result = run(capsys, "score", "--grm", several, "--store", stores["b"], "--stride", 1)
    assert result["episodes"] == 3
    assert "no reference frames" in refusal(
        capsys, "score", "--grm", several, "--store", stores["new"]
    )


def test_a_task_may_come_in_one_store_only(stores, tmp_path, capsys):
    sentence = refusal(
        capsys,
        "fit",
        "grm",
        "--store",
        stores["a"],
        "--also",
        stores["a"],
        *QUICK,
        "--out",
        tmp_path,
    )
    assert "give each task once" in sentence


def test_adaptation_to_a_new_task_from_one_demonstration(several, stores, tmp_path, capsys):
    keyframes = tmp_path / "keyframes.json"
    arguments = ["fit", "grm", "--adapt", several, "--demos", f"{stores['new']}:1", *QUICK]
    arguments += ["--keyframes", keyframes, "--held-out", stores["held"]]
    result = run(capsys, *arguments, "--store", stores["a"], "--out", tmp_path / "adapted")
    assert result["task"] == "test/New" and result["keyframes"] == "proposed"
    assert result["tasks"] == ["test/New", "test/A"]
    for when in ("before", "after"):
        assert {"voc_plus", "voc_minus", "auc", "episodes"} <= result[when].keys()
    assert result["before"]["voc_plus"] != result["after"]["voc_plus"]
    assert keyframes.exists() and keyframes.with_suffix(".png").stat().st_size > 5_000
    adapted = load_model(tmp_path / "adapted")
    demo = EpisodeStore(stores["new"], "r")[1]
    assert adapted.task == "test/New"
    np.testing.assert_array_equal(adapted.reference["goal"]["front"][0], demo.frames["front"][-1])
    assert not (several / "training.safetensors").exists()
    again = run(capsys, *arguments, "--out", tmp_path / "again")
    assert again["keyframes"] == "read"


def test_subtasks_of_a_whole_store_are_proposed_then_read(stores, tmp_path, capsys):
    folder = tmp_path / "keyframes"
    arguments = ["fit", "grm", "--store", stores["a"], *QUICK, "--keyframes", folder]
    # Proposals of random motion differ in number, so that this fit may end in a refusal.
    main([*map(str, arguments), "--out", str(tmp_path / "first")])
    capsys.readouterr()
    names = [f"episode_{i:04d}" for i in range(4)]
    assert sorted(path.stem for path in folder.glob("*.json")) == names
    assert sorted(path.stem for path in folder.glob("*.png")) == names
    steps = len(EpisodeStore(stores["a"], "r")[0])
    for name in names:  # as a person would correct them
        ends = [0, steps // 2, steps]
        (folder / f"{name}.json").write_text(
            json.dumps(
                [
                    {"annotation": "half", "start_frame_id": a, "end_frame_id": b}
                    for a, b in itertools.pairwise(ends)
                ]
            )
        )
    second = run(capsys, *arguments, "--out", tmp_path / "second")
    assert second["keyframes"] == {"read": 4, "proposed": 0}
    assert second["subtasks"] == 2 and second["label_horizon"] == steps // 2
    whole = [{"annotation": "all", "start_frame_id": 0, "end_frame_id": steps}]
    (folder / "episode_0002.json").write_text(json.dumps(whole))
    assert "different numbers of subtasks" in refusal(capsys, *arguments, "--out", tmp_path / "x")
    assert "--store alone" in refusal(capsys, *arguments, "--also", stores["b"])


def test_options_that_would_be_ignored_are_refused(several, stores, capsys):
    fit, served = ["fit", "grm", "--store", stores["a"]], ["--backbone", "http"]
    adapted = ["--adapt", several, "--demos", stores["new"]]
    assert "makes one model" in refusal(capsys, *fit, *served, "--ensemble", 2)
    assert "makes one model" in refusal(capsys, *fit, *adapted, "--ensemble", 2)
    assert "references of one task" in refusal(capsys, *fit, *served, "--also", stores["b"])
    assert "robo score" in refusal(capsys, *fit, "--held-out", stores["held"])


def test_bad_adaptations_are_one_sentence(several, stores, tmp_path, capsys):
    arguments = ["fit", "grm", "--adapt", several, "--out", tmp_path / "x"]
    assert "go together" in refusal(capsys, *arguments)
    assert "no 7" in refusal(capsys, *arguments, "--demos", f"{stores['new']}:7")
    assert "no success" in refusal(capsys, *arguments, "--demos", f"{stores['held']}:4")
    assert "name the episodes" in refusal(capsys, "fit", "grm")


def test_a_served_model_has_a_folder_and_scores_as_in_process(several, stores, tmp_path, capsys):
    grm = CompactGRM.load(several)
    with GRMService(CompactBackbone(grm, own_references=True), ServiceConfig(port=0)) as service:
        arguments = ["fit", "grm", "--backbone", "http", "--http.url", service.url]
        arguments += ["--http.slots", "front", "side", "wrist", "--store", stores["a"]]
        result = run(capsys, *arguments, "--out", tmp_path / "served")
        assert result["backbone"] == "http" and result["steps"] == 0
        demo = EpisodeStore(stores["a"], "r")[1]
        served = score_episode(load_model(tmp_path / "served"), demo, "incremental")
        here = score_episode(grm, demo, "incremental")
        assert served.progress == pytest.approx(here.progress, abs=1e-5)
        assert service.batcher.counts["answers"] == 7
    assert "no reward service answers" in refusal(
        capsys, "score", "--grm", tmp_path / "served", "--store", stores["a"]
    )


def test_an_ensemble_is_fitted_by_seeds_and_scores(stores, tmp_path, capsys):
    arguments = ["fit", "grm", "--store", stores["a"], *QUICK, "--ensemble", 2]
    result = run(capsys, *arguments, "--spread", 0.5, "--out", tmp_path / "both")
    assert [member["seed"] for member in result["members"]] == [0, 1]
    scored = run(capsys, "score", "--grm", tmp_path / "both", "--store", stores["a"], "--stride", 1)
    assert scored["episodes"] == 6
    assert "expected at least 1" in refusal(capsys, *arguments[:-1], 0)


def test_serve_says_what_is_missing_and_counts(several, capsys):
    serving = ["serve", "grm", "--grm", several, "--port", 0, "--seconds", 0.1]
    assert "name it by --task" in refusal(capsys, *serving)
    assert "no reference frames of 'test/C'" in refusal(capsys, *serving, "--task", "test/C")
    result = run(capsys, *serving, "--task", "test/B")
    assert result["answers"] == 0 and result["url"].startswith("http://127.0.0.1:")
    assert "either --grm FOLDER or --model" in refusal(capsys, "serve", "grm")
    stranger = [*serving, "--task", "test/A", "--host", "0.0.0.0"]
    assert "token" in refusal(capsys, *stranger)


def test_a_killed_fit_goes_on_to_the_same_weights(stores, tmp_path):
    import torch

    from robo.commands.fit import FitGRM, fit
    from robo.rewards.grm.fit_config import FitConfig, PairConfig

    class KilledError(Exception):
        pass

    def kill(step):
        if step.iteration == 5:
            raise KilledError

    config = FitConfig(
        6, episodes_per_step=4, rows_per_episode=4, pairs=PairConfig(64), checkpoint_every=2
    )
    whole = FitGRM(stores["a"], config, out=tmp_path / "whole")
    cut = FitGRM(stores["a"], config, resume=True, out=tmp_path / "cut")
    fit(whole)
    with pytest.raises(KilledError):
        fit(cut, kill)
    seen = []
    fit(cut, seen.append)
    assert [step.iteration for step in seen] == [5, 6]
    models = [CompactGRM.load(tmp_path / name).state_dict() for name in ("whole", "cut")]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    longer = replace(cut, config=replace(config, iterations=8))
    with pytest.raises(RoboError, match="its settings are"):
        fit(longer)
    fit(replace(longer, resume=False, config=replace(longer.config, checkpoint_every=None)))
    assert not (tmp_path / "cut" / "training.safetensors").exists()
