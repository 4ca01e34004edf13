"""The training loop: exact resume after SIGKILL, honest logs, bad input in one sentence."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from robo.cli import main
from robo.errors import CheckpointError, RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.behaviour_cloning import BehaviourCloningConfig, clone
from robo.policies.metrics import episode_metrics, reward_metrics
from robo.policies.ppo import PPOConfig
from robo.policies.recorder import record_episodes
from robo.policies.run_folder import find_policy
from robo.policies.train_config import TrainConfig
from robo.policies.trainer import Iteration, Trainer, make_trainer
from robo.rewards.potential import SignalPotential
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import EnvironmentReward, SuccessReward
from robo.rollout import CameraSchedule, EpisodeInfo, RewardTerms, Rollout
from robo.sim.contract import Environment
from robo.sim.in_process import InProcessVectorEnvironment
from robo.storage import read_json

CARTPOLE = TrainConfig(
    task="gym/CartPole-v1",
    num_envs=4,
    steps_per_rollout=16,
    total_steps=64 * 8,
    seed=5,
    ppo=PPOConfig(epochs=2, minibatch_size=32, learning_rate_schedule="linear"),
    backend="in_process",
    evaluate_every_steps=0,
    evaluate_seeds="900-903",
    checkpoint_every_iterations=2,
)
EXACT = (
    "actor_critic",
    "ppo",
    "collector",
    "reward",
    "reward_returns",
    "iteration",
    "step",
    "recent",
)


class Walk(Environment):
    """A walk on a line, solved at 1; it can save its exact state."""

    task = "test/Walk"
    cameras = ("front",)
    signal_names = ("progress",)
    max_episode_steps = 12
    observation_space = gymnasium.spaces.Dict(
        {"state": gymnasium.spaces.Box(-10, 10, (2,), np.float32)}
    )
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    place, steps = 0.0, 0

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """No frames."""

    def episode_info(self) -> EpisodeInfo:
        """See the contract."""
        return EpisodeInfo(self.task)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        """Start at a random place in 0 ... 0.3."""
        super().reset(seed=seed)
        self.place, self.steps = float(self.np_random.uniform(0, 0.3)), 0
        return self._observation(), {"instruction": "", "initial_state": None}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Walk by a fifth of ``action``."""
        self.place += 0.2 * float(action[0])
        self.steps += 1
        success = self.place >= 1
        truncated = not success and self.steps >= 12
        info = {"success": success, "signals": {"progress": min(max(self.place, 0), 1)}}
        return self._observation(), float(success), success, truncated, info

    def _observation(self) -> dict[str, np.ndarray]:
        return {"state": np.array([self.place, self.steps / 12], np.float32)}


class SavedWalk(Walk):
    """The same, with its exact state."""

    def state_dict(self) -> dict[str, Any]:
        """See the contract."""
        generator = self.np_random.bit_generator.state
        return {"place": self.place, "steps": self.steps, "generator": generator}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See the contract."""
        self.place, self.steps = state["place"], state["steps"]
        self.np_random.bit_generator.state = state["generator"]


WALK = replace(CARTPOLE, task="test/Walk", ppo=PPOConfig(epochs=2, gamma=0.9, timeout="keep"))


def walk_trainer(out: Path, kind: type[Walk] = SavedWalk, config: TrainConfig = WALK, **parts: Any):
    env = InProcessVectorEnvironment([kind] * config.num_envs)
    evaluation = InProcessVectorEnvironment([kind] * 2)
    potential = SignalPotential(stride=5)
    reward = ShapedReward(SuccessReward(), potential, config.ppo.gamma, config.ppo.timeout)
    return Trainer(config, env, parts.pop("reward", reward), out, evaluation, show=False, **parts)


def assert_same(left: Any, right: Any, name: str = "state") -> None:
    """Equal to the last bit, whatever the nesting."""
    assert type(left) is type(right), name
    if isinstance(left, dict):
        assert left.keys() == right.keys(), name
        for key in left:
            assert_same(left[key], right[key], f"{name}.{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), name
        for index, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_same(a, b, f"{name}[{index}]")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), name
    elif isinstance(left, np.ndarray):
        np.testing.assert_array_equal(left, right, name)
    else:
        assert left == right, name


def exact_state(trainer: Trainer) -> dict[str, Any]:
    state = trainer.state_dict()
    return {name: state[name] for name in EXACT}


class KilledError(Exception):
    """Stands for the end of the process in tests that stay in it."""


def stop_at(iteration: int):
    def callback(seen: Iteration) -> None:
        if seen.trainer.iteration == iteration:
            raise KilledError

    return callback


KILLED_RUN = """
import sys
from pathlib import Path
from robo.policies.trainer import make_trainer
# An EGL context that exists before torch._dynamo is imported crashes the process.
assert "torch._dynamo" in sys.modules and "robo.sim.registry" not in sys.modules
sys.path.insert(0, sys.argv[2])
from test_trainer import CARTPOLE
def stall(iteration):
    if iteration.trainer.iteration == 6:
        print("stalled", flush=True)
        import time
        time.sleep(600)
make_trainer(CARTPOLE, Path(sys.argv[1]), [stall], show=False).run()
"""


def test_sigkill_and_resume_give_the_bits_of_the_uninterrupted_run(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_RUN, str(tmp_path / "killed"), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )
    reference = make_trainer(CARTPOLE, tmp_path / "whole", show=False)
    whole = reference.run()
    assert process.stdout is not None
    assert process.stdout.readline() == "stalled\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=20) == -signal.SIGKILL
    names = sorted(path.name for path in (tmp_path / "killed" / "checkpoints").glob("*.pt"))
    assert names == ["checkpoint-00000002.pt", "checkpoint-00000004.pt"]
    resumed = make_trainer(CARTPOLE, tmp_path / "killed", show=False)
    result = resumed.run(resume=True)
    assert result["exact_resume"] and result["steps"] == whole["steps"]
    assert_same(exact_state(reference), exact_state(resumed))
    for trainer in (reference, resumed):
        trainer.close()


def test_shaped_run_resumes_exactly_and_evaluation_does_not_disturb(tmp_path: Path) -> None:
    whole = walk_trainer(tmp_path / "whole")
    whole.run()
    evaluating = replace(WALK, evaluate_every_steps=100)
    killed = walk_trainer(tmp_path / "killed", config=evaluating, callbacks=[stop_at(5)])
    with pytest.raises(KilledError):
        killed.run()
    resumed = walk_trainer(tmp_path / "killed", config=evaluating)
    resumed.run(resume=True)
    assert_same(exact_state(whole), exact_state(resumed))
    assert resumed.last_evaluation is not None


def test_finished_run_resumes_to_its_result_and_can_be_extended(tmp_path: Path) -> None:
    first = walk_trainer(tmp_path).run()
    again = walk_trainer(tmp_path).run(resume=True)
    assert again == first
    longer = replace(WALK, total_steps=2 * WALK.total_steps)
    assert walk_trainer(tmp_path, config=longer).run(resume=True)["iterations"] == 16


def test_environment_without_exact_state_is_reset_with_one_warning(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        walk_trainer(tmp_path, Walk, callbacks=[stop_at(5)]).run()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = walk_trainer(tmp_path, Walk).run(resume=True)
    messages = [str(w.message) for w in caught if "fresh episodes" in str(w.message)]
    assert len(messages) == 1
    assert not result["exact_resume"] and result["steps"] == WALK.total_steps


def test_it_learns_and_the_best_policy_is_kept(tmp_path: Path) -> None:
    config = replace(
        WALK,
        num_envs=16,
        total_steps=256 * 60,
        ppo=replace(WALK.ppo, learning_rate=3e-3, epochs=5, minibatch_size=64),
        evaluate_every_steps=256 * 5,
        evaluate_seeds="900-909",
        stop_success=0.9,
    )
    trainer = walk_trainer(tmp_path, config=config)
    result = trainer.run()
    assert result["stopped_early"] and result["evaluation"]["success_rate"] >= 0.9
    assert result["best"]["success_rate"] == result["evaluation"]["success_rate"]
    assert find_policy(tmp_path) == tmp_path / "checkpoints" / "best"
    best = ActorCritic.load(find_policy(tmp_path))
    assert_same(dict(best.state_dict()), dict(trainer.actor_critic.state_dict()))


def test_every_term_and_metric_reaches_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class ManyTerms(EnvironmentReward):
        def __call__(self, rollout: Rollout) -> RewardTerms:
            zero = torch.zeros_like(rollout.env_reward)
            terms = {f"term_{index}": zero + index for index in range(40)}
            return RewardTerms(rollout.env_reward, terms)

    logged: list[dict[str, float]] = []
    trainer = walk_trainer(
        tmp_path, reward=ManyTerms(), callbacks=[lambda seen: logged.append(seen.metrics)]
    )
    trainer.run()
    events = EventAccumulator(str(tmp_path / "metrics"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert set(logged[0]) <= set(tags)
    assert {f"reward/term_{index}" for index in range(40)} <= set(tags)
    assert [event.value for event in events.Scalars("reward/term_7")] == [7.0] * 8
    assert [event.step for event in events.Scalars("ppo/std")] == [64 * (i + 1) for i in range(8)]


def test_potential_at_the_end_is_told_apart_by_outcome(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    walk_trainer(tmp_path, callbacks=[lambda step: seen.append(step.metrics)]).run()
    ends = [metrics for metrics in seen if "episode/potential_of_failure" in metrics]
    assert ends and all(0 <= metrics["episode/potential_of_failure"] < 1 for metrics in ends)
    name = "episode/potential_of_success"
    successes = [metrics[name] for metrics in seen if name in metrics]
    assert successes and all(value == 1.0 for value in successes)
    assert episode_metrics([], []) == {"episode/finished": 0.0}


def test_a_reward_that_is_not_finite_is_one_sentence(tmp_path: Path) -> None:
    class Broken(EnvironmentReward):
        def __call__(self, rollout: Rollout) -> RewardTerms:
            nan = torch.full_like(rollout.env_reward, torch.nan)
            return RewardTerms(rollout.env_reward, {"speed": nan})

    with pytest.raises(RoboError, match="reward/speed of this rollout is not finite"):
        walk_trainer(tmp_path, reward=Broken()).run()
    trainer = walk_trainer(tmp_path)
    rollout = trainer.collector.collect()
    metrics = reward_metrics(rollout, RewardTerms(rollout.env_reward, {}))
    assert metrics == {"reward/total": float(rollout.env_reward.mean())}


def test_a_diverged_policy_is_one_sentence(tmp_path: Path) -> None:
    trainer = walk_trainer(tmp_path)
    with torch.no_grad():
        trainer.actor_critic.flat.fill_(float("nan"))
    with pytest.raises(RoboError, match="NaN or infinite"):
        trainer.run()


def shaped(**changes: Any) -> ShapedReward:
    reward = ShapedReward(SuccessReward(), SignalPotential(), 0.9, "keep")
    for name, value in changes.items():
        setattr(reward, name, value)
    return reward


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"gamma": 0.99}, "gamma 0.99 but PPO has gamma 0.9"),
        ({"timeout": "bootstrap"}, "timeout bootstrap but PPO has timeout keep"),
        ({"signals": ("progress", "speed")}, "reads signals .'speed'. that test/Walk"),
        ({"camera": CameraSchedule(("front", "wrist"))}, "camera views .'wrist'."),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RoboError, match=sentence):
        walk_trainer(tmp_path, reward=shaped(**changes))


def test_another_number_of_environments_is_refused(tmp_path: Path) -> None:
    env = InProcessVectorEnvironment([Walk] * 3)
    with pytest.raises(RoboError, match="num_envs is 4 but the environment has 3"):
        Trainer(WALK, env, EnvironmentReward(), tmp_path)


def test_earlier_runs_are_not_overwritten_and_not_mixed(tmp_path: Path) -> None:
    walk_trainer(tmp_path).run()
    with pytest.raises(RoboError, match="already holds checkpoints"):
        walk_trainer(tmp_path).run()
    with pytest.raises(CheckpointError, match=r"another configuration: seed 5 .* 6 "):
        walk_trainer(tmp_path, config=replace(WALK, seed=6)).run(resume=True)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        walk_trainer(tmp_path / "new").run(resume=True)


def test_damaged_newest_checkpoint_costs_only_its_steps(tmp_path: Path) -> None:
    whole = walk_trainer(tmp_path)
    whole.run()
    newest = sorted((tmp_path / "checkpoints").glob("*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:2000])
    resumed = walk_trainer(tmp_path)
    with pytest.warns(UserWarning, match=newest.name):
        resumed.run(resume=True)
    assert_same(exact_state(whole), exact_state(resumed))


def test_full_disk_is_one_sentence_and_the_run_goes_on_later(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(seen: Iteration) -> None:
        # The kernel then refuses the write half-way, as it does on a full disk.
        if seen.trainer.iteration == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    try:
        with pytest.raises(RoboError, match="the disk is full"):
            walk_trainer(tmp_path, callbacks=[fill]).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert names == ["checkpoint-00000002.pt"]
    assert walk_trainer(tmp_path).run(resume=True)["steps"] == WALK.total_steps


def test_a_cloned_policy_is_a_start(tmp_path: Path) -> None:
    env = InProcessVectorEnvironment([Walk] * 4)

    def forward(observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        return np.full((4, 1), 0.9, np.float32)

    policy = ActorCritic(env.single_observation_space, env.single_action_space)  # type: ignore[arg-type]
    clone(
        record_episodes(env, forward, range(20)),
        policy,
        BehaviourCloningConfig(epochs=300, patience=300),
    )
    policy.save(tmp_path / "cloned")
    config = replace(WALK, start_from=tmp_path / "cloned", total_steps=64, evaluate_every_steps=64)
    trainer = walk_trainer(tmp_path / "run", config=config)
    # The cloned critic has no features of the reward, so this one starts afresh.
    assert trainer.actor_critic.critic_feature_dim == 2
    assert_same(dict(policy.actor.state_dict()), dict(trainer.actor_critic.actor.state_dict()))
    assert trainer.run()["evaluation"]["success_rate"] == 1.0
    cartpole = replace(CARTPOLE, start_from=tmp_path / "cloned")
    with pytest.raises(CheckpointError, match="start from a policy of the same task"):
        make_trainer(cartpole, tmp_path / "other", show=False)


def test_commands_train_resume_and_evaluate(tmp_path: Path, capfd: Any) -> None:
    out = tmp_path / "run"
    train = ["train", "--task", "gym/CartPole-v1", "--num-envs", "4", "--steps-per-rollout", "32"]
    train += ["--evaluate-every-steps", "512", "--evaluate-seeds", "900-903", "--quiet"]
    train += ["--backend", "in_process", "--out", str(out), "--json"]
    assert main([*train, "--total-steps", "512"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert result == read_json(out / "result.json")
    assert (result["steps"], result["timeout"], result["gamma"]) == (512, "bootstrap", 0.99)
    assert main([*train, "--total-steps", "512"]) == 2
    assert "already holds checkpoints" in capfd.readouterr().err
    assert main([*train, "--total-steps", "1024", "--resume"]) == 0
    evaluate = ["evaluate", "--policy", str(out), "--seeds", "5000-5004", "--json"]
    capfd.readouterr()
    score_out = ["--out", str(tmp_path / "score")]
    assert main([*evaluate, "--task", "gym/CartPole-v1", *score_out]) == 0
    score = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert score["episodes"] == 5 and score["seeds"] == "5000-5004"
    assert score["interval"][0] <= score["success_rate"] <= score["interval"][1]
    assert read_json(tmp_path / "score" / "result.json") == score
    assert main([*evaluate, "--task", "gym/Pendulum-v1"]) == 2
    assert "give the task that it was trained on" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--task", "gym/CartPole-v9", "--out", "OUT"], "CartPole-v9"),
        (["train", "--task", "no/Such", "--out", "OUT"], "no/Such"),
        (["train", "--out", "OUT", "--evaluate-seeds", "9-1"], "must be A-B"),
        (["train", "--out", "OUT", "--num-envs", "0"], "num_envs is 0, expected at least 1"),
        (["train", "--out", "OUT", "--reward.kind", "grm"], "GRM"),
        (["evaluate", "--policy", "OUT", "--task", "gym/CartPole-v1"], "holds no policy"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capfd: Any, arguments: list[str], sentence: str
) -> None:
    assert main([str(tmp_path / "x") if a == "OUT" else a for a in arguments]) == 2
    captured = capfd.readouterr().err
    assert sentence in captured
    assert "Traceback" not in captured
