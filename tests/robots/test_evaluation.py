"""Whole evaluations: unattended, scripted, killed and resumed, blind until the end."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium
import pytest
import torch

import robo
from robo import cli
from robo.data import EpisodeStore
from robo.policies.actor_critic import ActorCritic
from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.robots.evaluation import evaluate_on_robot
from robo.robots.evaluation_config import ComparisonConfig, EvaluationConfig, JudgingConfig
from robo.robots.journal import read_journal
from robo.robots.loop import LoopConfig
from robo.robots.plan import Plan
from robo.robots.robot import RobotError
from robo.robots.simulated import SimulatedConfig

ROOT = Path(__file__).parent.parent.parent
HELPERS = "tests.robots.helper_policies"
REACH = SimulatedConfig(size=0)
Settings = Callable[..., EvaluationConfig]


def settings(judging: JudgingConfig | None = None, **options) -> EvaluationConfig:
    values = {
        "clock": "virtual",
        "order_seed": 3,
        "loop": LoopConfig(seconds=2.0),
        "simulated": REACH,
        "judging": judging or JudgingConfig(),
        **options,
    }
    return EvaluationConfig(**values)  # type: ignore[arg-type]


def plan(*policies: str, trials: int = 3) -> Plan:
    return Plan(policies or ("expert:0.3", "expert:2.0"), ("mujoco/Reach",), trials)


def judged(out: Path) -> list[dict]:
    return [entry for entry in read_journal(out / "journal.jsonl") if entry["kind"] == "trial"]


def quiet(line: str) -> None:
    pass


def test_command_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["evaluate", "--robot", "simulated", "--policies", "expert:0.3", "script:hover"]
    argv += ["--trials", "2", "--out", str(tmp_path), "--clock", "virtual", "--json"]
    argv += ["--simulated.size", "48"]
    argv += ["--loop.seconds", "2", "--order-seed", "1"]
    assert cli.main(argv) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert result["finished"] and result["judged"] == result["trials"] == 4
    assert result["success_rate"] == 1.0 and result["episodes"] == 2
    assert result["interval"][0] < 1.0 and result["comparisons"][0]["verdict"] == "underpowered"
    with EpisodeStore(tmp_path / "episodes", mode="r") as store:
        assert len(store) == 4 and store.verify() == []
        assert [i for i in range(4) if store.info(i).success] == [
            entry["episode"] for entry in judged(tmp_path) if entry["outcome"] == "success"
        ]
        assert store[0].frames["front"].shape[1:] == (48, 48, 3)
        assert store.info(0).metadata["timing"]["deadlines_met"] == 1.0
    page = (tmp_path / "report.html").read_text()
    assert page.count("<video") == 4 and "script:hover" in page
    assert cli.main(argv) == cli.EXIT_BAD_INPUT
    assert "--resume" in capsys.readouterr().err


def test_a_trained_policy_beside_the_expert(tmp_path: Path) -> None:
    env = robo.make("mujoco/Reach")
    space = env.observation_space
    assert isinstance(space, gymnasium.spaces.Dict)
    ActorCritic(space, env.action_space, seed=0).save(tmp_path / "run" / "policy")
    env.close()
    policies = plan(str(tmp_path / "run"), "expert", trials=2)
    found = evaluate_on_robot(policies, settings(), tmp_path / "out", say=quiet)
    assert [policy["name"] for policy in found["policies"]] == [str(tmp_path / "run"), "expert"]
    assert [policy["successes"] for policy in found["policies"]] == [0, 2]
    assert {entry["ending"] for entry in judged(tmp_path / "out")} == {"time", "solved"}
    wrong = Plan(policies.policies, ("mujoco/Lift",), 1)
    found = evaluate_on_robot(wrong, settings(), tmp_path / "wrong", say=quiet)
    assert found["success_rate"] == 0.0
    assert any("another task" in entry["error"] for entry in judged(tmp_path / "wrong"))


def test_the_launch_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "launch" / "evaluate_robot.py"
    specification = importlib.util.spec_from_file_location("launch_evaluate_robot", path)
    assert specification is not None and specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = script  # dataclasses look their module up
    specification.loader.exec_module(script)
    policies = ("expert:0.3", "expert:1.0")
    script.main(script.Config(policies, tmp_path, task="mujoco/Reach", trials=1, real_time=False))
    said = capsys.readouterr().out
    assert "expert:0.3: 1 of 1" in said and "best with probability" in said
    assert json.loads((tmp_path / "result.json").read_text())["finished"]


def test_stops_early_once_decided(tmp_path: Path) -> None:
    found = evaluate_on_robot(
        Plan(("expert", "script:hover"), ("mujoco/Lift",), 40), settings(), tmp_path, say=quiet
    )
    assert found["stopped_early"] and found["judged"] == 16 and found["trials"] == 80
    assert found["comparisons"][0]["verdict"] in ("better", "worse")
    again = evaluate_on_robot(
        Plan(("expert", "script:hover"), ("mujoco/Lift",), 40),
        settings(),
        tmp_path,
        resume=True,
        say=quiet,
    )
    assert again["judged"] == 16


@pytest.mark.slow
def test_killed_in_the_middle_of_a_trial_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, killed = tmp_path / "out", tmp_path / "killed"
    monkeypatch.setenv("KILLED", str(killed))
    config = EvaluationConfig(clock="virtual", order_seed=3, simulated=REACH)
    policies = plan("expert:0.3", f"{HELPERS}:Killer")
    argv = ["evaluate", "--policies", *policies.policies, "--task", "mujoco/Reach", "--trials", "3"]
    argv += ["--clock", "virtual", "--simulated.size", "0", "--order-seed", "3", "--out", str(out)]
    done = subprocess.run([sys.executable, "-m", "robo.cli", *argv], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    order, before = (out / "order.json").read_bytes(), judged(out)
    assert 0 < len(before) < 5
    found = evaluate_on_robot(policies, config, out, resume=True, say=quiet)
    assert (out / "order.json").read_bytes() == order
    after = judged(out)
    assert after[: len(before)] == before
    assert [entry["trial"] for entry in after] == list(range(6))
    with EpisodeStore(out / "episodes", mode="r") as store:
        assert store.verify() == [] and [entry["episode"] for entry in after] == list(range(6))
    # The same evaluation without a kill ends the same way, to the last figure.
    whole = evaluate_on_robot(policies, config, tmp_path / "whole", say=quiet)
    assert {**found, "report": ""} == {**whole, "report": ""}


def test_a_signal_stops_the_robot_and_the_evaluation_goes_on_later(tmp_path: Path) -> None:
    policies = plan("expert:0.3", f"{HELPERS}:Interrupter", trials=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate_on_robot(policies, settings(), tmp_path, say=quiet)
    last = read_journal(tmp_path / "journal.jsonl")[-1]
    assert (last["action"], last["reason"], last["detail"]) == ("stop", "operator", "SIGTERM")
    found = evaluate_on_robot(policies, settings(), tmp_path, resume=True, say=quiet)
    assert found["finished"] and found["judged"] == 4


def test_a_grm_judges_beside_the_operator(tmp_path: Path) -> None:
    torch.manual_seed(0)
    grm = CompactGRM(CompactGRMConfig(height=32, width=32, channels=(4, 8, 8), embedding=16))
    for kind in ("start", "goal"):
        grm.reference[kind] = {
            view: torch.randint(0, 255, (1, 32, 32, 3), dtype=torch.uint8)
            for view in grm.config.views
        }
    grm.save(tmp_path / "grm")
    robot = SimulatedConfig(size=40, views=("front", "side", "wrist"))
    config = settings(JudgingConfig(grm=tmp_path / "grm"), simulated=robot)
    found = evaluate_on_robot(plan(trials=1), config, tmp_path / "out", say=quiet)
    assert found["judges"]["trials"] == 2 and 0 <= found["judges"]["agreed"] <= 1
    entries = judged(tmp_path / "out")
    assert all(0 <= entry["progress"] <= 1 for entry in entries)
    assert all(len(e["progress_curve"]) == len(e["progress_steps"]) for e in entries)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Two judges" in page and "seen by the reward model" in page
    with pytest.raises(RobotError, match="side"):
        one = settings(config.judging, simulated=SimulatedConfig(size=40))
        evaluate_on_robot(plan(trials=1), one, tmp_path / "other", say=quiet)


def test_nothing_names_a_policy_before_the_end(tmp_path: Path) -> None:
    helpers = importlib.import_module(HELPERS)
    helpers.SEEN.clear()
    names = (f"{HELPERS}:QuietFalcon", "expert:0.25")
    script = tmp_path / "judgements.jsonl"
    lines = [json.dumps({"trial": n, "outcome": "partial", "note": f"no {n}"}) for n in range(1, 6)]
    script.write_text("\n".join(lines))
    judging = JudgingConfig(operator="script", script=script, page=True)
    out, said = tmp_path / "out", []

    def say(line: str) -> None:
        said.append(line)
        if "live page: " in line:
            helpers.URLS[:] = [line.rpartition(" ")[2]]

    config = settings(judging, simulated=SimulatedConfig(size=32))
    first = evaluate_on_robot(plan(*names), config, out, say=say)
    helpers.URLS.clear()
    assert not first["finished"] and first["success_rate"] is None
    files = [path for path in out.rglob("*") if path.is_file()]
    seen = [*helpers.SEEN, "\n".join(said).encode(), *(str(path).encode() for path in files)]
    seen += [path.read_bytes() for path in files]
    assert len(helpers.SEEN) >= 4 and b'"phase":"running"' in b"".join(helpers.SEEN)
    for secret in (b"QuietFalcon", b"helper_policies", b"expert"):
        assert not [content for content in seen if secret in content]
    assert any("(policy) of (policy) broke" in entry["error"] for entry in judged(out))
    script.write_text("\n".join([*lines, json.dumps({"trial": 6, "outcome": "failure"})]))
    last = evaluate_on_robot(plan(*names), config, out, resume=True, say=say)
    assert last["finished"] and {p["name"] for p in last["policies"]} == set(names)
    assert sum(policy["partial"] for policy in last["policies"]) >= 3
    assert "QuietFalcon" in (out / "report.html").read_text()


def test_invalid_trials_are_repeated_and_then_left_out(tmp_path: Path) -> None:
    robot = SimulatedConfig(size=0, faults=("joint_error@0.05",))
    config = settings(JudgingConfig(retries=1), simulated=robot)
    found = evaluate_on_robot(plan(trials=1), config, tmp_path, say=quiet)
    assert found["finished"] and found["judged"] == 0 and found["left_out"] == 2
    entries = judged(tmp_path)
    assert [(e["trial"], e["attempt"]) for e in entries] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {e["outcome"] for e in entries} == {"invalid"} and len(entries[0]["events"]) >= 1
    safety = [e for e in read_journal(tmp_path / "journal.jsonl") if e["kind"] == "safety"]
    assert {e["reason"] for e in safety if e["action"] == "stop"} == {"not_finite"}


def test_faults_of_the_robot_do_not_lose_what_was_recorded(tmp_path: Path) -> None:
    robot = SimulatedConfig(size=0, faults=("stale_state@0.2+0.35",))
    policies = Plan(("script:hover", "script:open"), ("mujoco/Lift",), 1)
    found = evaluate_on_robot(policies, settings(simulated=robot), tmp_path, say=quiet)
    assert found["judged"] == 2
    with EpisodeStore(tmp_path / "episodes", mode="r") as store:
        for index in range(len(store)):
            episode = store[index]
            assert len(episode.observation["state"]) == len(episode) + 1
    kinds = {(event["action"], event["kind"]) for event in judged(tmp_path)[0]["events"]}
    assert {("hold", "stale_state"), ("resume", "stale_state")} <= kinds


def test_another_evaluation_is_not_resumed(tmp_path: Path) -> None:
    evaluate_on_robot(plan(trials=1), settings(), tmp_path, say=quiet)
    for change, words in (
        ({"loop": LoopConfig(seconds=1.0)}, r"settings\.loop"),
        ({"comparison": ComparisonConfig(stop_early=False)}, r"settings\.comparison"),
        ({}, "policies"),
    ):
        other = plan(trials=1) if change else plan("expert:0.1", "expert:0.2", trials=1)
        with pytest.raises(RobotError, match=words):
            evaluate_on_robot(other, settings(**change), tmp_path, resume=True, say=quiet)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--policies a b", "--out"),
        ("--policies a b --out new --clock virtual --judging.operator keyboard", "virtual time"),
        ("--policies a b --out new", "there is no policy '"),
        ("--policies expert expert:1 --robot toaster --out new", "no robot 'toaster'"),
        ("--policies expert expert:1 --robot lerobot --out new", "limits"),
        ("--policies a --policy b --out new", "name one policy"),
        ("--out new", "name one policy"),
        ("--plan nowhere.toml --out new", "cannot read the plan"),
        ("--policies expert x:y --out new --judging.operator script", "--script"),
        ("--policies expert expert:1 --out new --simulated.faults melt", "melt"),
        ("--policies expert expert:1 --task a --out new", "'a'"),
    ],
)
def test_settings_out_of_range(
    argv: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", *argv.split()]) == cli.EXIT_BAD_INPUT
    captured = capsys.readouterr()
    assert words in captured.err + captured.out and "Traceback" not in captured.err
    assert not Path("new").exists()
