"""A whole evaluation: every trial of the plan, in order, blind, resumable; then the report."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from robo.robots.clock import Clock, VirtualClock, WallClock
from robo.robots.connect import make_robot
from robo.robots.evaluation_config import EvaluationConfig
from robo.robots.evaluation_record import EvaluationRecord, finished
from robo.robots.grm_judge import GRMJudge
from robo.robots.inference import Inference, make_inference
from robo.robots.keyboard import Keyboard
from robo.robots.live import LivePage
from robo.robots.live_state import LiveState
from robo.robots.operators import Console, Operator, Person, ScriptedOperator, SimulatorVerdict
from robo.robots.plan import Plan, Trial
from robo.robots.policies import load_robot_policy
from robo.robots.report import write_report
from robo.robots.results import decided, summarise
from robo.robots.robot import RobotError, SceneControl
from robo.robots.safety import Envelope
from robo.robots.trial_runner import TrialRunner
from robo.sim.mujoco.simulation import RATE
from robo.sim.mujoco.tasks import TASKS

Say = Callable[[str], None]


def evaluate_on_robot(
    plan: Plan, config: EvaluationConfig, out: Path, *, resume: bool = False, say: Say = print
) -> dict[str, Any]:
    """Run what is left of the plan; when all is judged, unblind and report.

    Args:
        plan: policies, tasks, initial states.
        config: robot, loop, safety, judge, statistics.
        out: folder of the record.
        resume: go on with an interrupted record in ``out``.
        say: shows a line to the operator; never a policy's name before the end.

    Returns:
        ``finished``, ``trials``, ``judged``, ``left_out`` (without a valid judgement) and
        ``report``; once finished also ``stopped_early`` and what
        :func:`robo.robots.results.summarise` gives, with ``success_rate``, ``episodes`` and
        ``interval`` of the plan's first policy.

    Raises:
        RoboError: an unknown policy or robot, another evaluation's folder, a robot that stopped
            with nobody there to look at it.
        KeyboardInterrupt: stopped by a signal; the record can be resumed.
    """
    config = _for_simulator(plan, config)
    settings = _settings(config)
    record = EvaluationRecord(out, plan, settings, config.order_seed, resume)
    try:
        if not _complete(record, config):
            _run_trials(plan, record, config, say)
        return _result(plan, record, config, say)
    finally:
        record.close()


def _for_simulator(plan: Plan, config: EvaluationConfig) -> EvaluationConfig:
    """The simulated robot's scene is the plan's task, and so is the time limit."""
    if config.robot != "simulated":
        return config
    if len(plan.tasks) > 1:
        raise RobotError(
            f"the simulated robot has one scene, but the plan has tasks {list(plan.tasks)}: "
            "evaluate them one by one"
        )
    simulated = dataclasses.replace(config.simulated, task=next(iter(plan.tasks)))
    limit = TASKS[simulated.task.removeprefix("mujoco/")].horizon / RATE
    loop = dataclasses.replace(config.loop, seconds=config.loop.seconds or limit)
    return dataclasses.replace(config, simulated=simulated, loop=loop)


def _settings(config: EvaluationConfig) -> dict[str, Any]:
    """What must be the same when an evaluation is resumed."""
    values = dataclasses.asdict(config)
    values["judging"] = {k: v for k, v in values["judging"].items() if k not in ("page", "port")}
    del values["order_seed"]
    return values


def _complete(record: EvaluationRecord, config: EvaluationConfig) -> bool:
    """Whether nothing is left to run."""
    if not record.remaining(config.judging.retries):
        return True
    return any(entry["kind"] == "stopped_early" for entry in record.entries)


# ---------------------------------------------------------------------- running


def _run_trials(plan: Plan, record: EvaluationRecord, config: EvaluationConfig, say: Say) -> None:
    clock: Clock = VirtualClock() if config.clock == "virtual" else WallClock()
    policies = _Policies(record, config, clock)
    robot = make_robot(config.robot, config.simulated, config.lerobot, clock)
    envelope = Envelope(robot, config.safety, clock)
    live = LiveState(len(record.trials))
    live.set(done=len(finished(record.entries)))
    console = Console(on_stop=lambda: envelope.stop("operator", "key"))
    operator = _operator(config, console, say)
    if isinstance(operator, SimulatorVerdict) and not isinstance(robot, SceneControl):
        raise RobotError(
            f"{config.robot} does not know whether a task is solved: choose --judging.operator "
            "keyboard, browser or script"
        )
    try:
        capabilities = envelope.connect()
        grm = None if config.judging.grm is None else GRMJudge(config.judging.grm, capabilities)
        record.create()
        runner = TrialRunner(robot, envelope, operator, record, live, config, policies, grm)
        envelope.on_event = runner.on_event
        with _attended(operator, console, live, config, runner, say), _stopped_by_signals(envelope):
            _run_order(runner, record, config, say)
    finally:
        envelope.close()
        policies.close()


def _run_order(
    runner: TrialRunner, record: EvaluationRecord, config: EvaluationConfig, say: Say
) -> None:
    """Trials in order until none is left, the operator pauses, or the test has decided."""
    codes = list(record.codes)
    while left := record.remaining(config.judging.retries):
        trial, attempt = left[0]
        judged = runner.run(trial, attempt)
        if judged is None:
            record.journal.write("paused", {"reason": runner.envelope.reason})
            say(f"paused with {len(left)} trials to go: the same command with --resume goes on")
            return
        valid = finished(record.entries)
        runner.live.set(done=len(valid))
        say(f"trial {trial.index + 1} of {len(record.trials)}: judged ({len(valid)} done)")
        whole = [e for e in valid.values() if _whole_block(e, valid, codes)]
        if config.comparison.stop_early and decided(whole, codes, config.comparison):
            record.journal.write("stopped_early", {"trials": len(valid)}, durable=True)
            record.entries.append({"kind": "stopped_early"})
            return


def _whole_block(entry: dict[str, Any], valid: dict[int, dict[str, Any]], codes: list[str]) -> bool:
    """Whether every policy has a valid trial in the entry's block."""
    return sum(other["block"] == entry["block"] for other in valid.values()) == len(codes)


class _Policies:
    """Every policy loaded before the first trial, so that loading times tell nothing."""

    def __init__(self, record: EvaluationRecord, config: EvaluationConfig, clock: Clock) -> None:
        kind = "inline" if config.clock == "virtual" else config.loop.inference
        tasks = {trial.task for trial in record.trials}
        self._ready: dict[tuple[str, str], Inference] = {
            (code, task): make_inference(kind, partial(load_robot_policy, spec, task), clock)
            for code, spec in record.codes.items()
            for task in tasks
        }

    def __call__(self, trial: Trial) -> Inference:
        return self._ready[trial.code, trial.task]

    def close(self) -> None:
        for inference in self._ready.values():
            inference.close()


def _operator(config: EvaluationConfig, console: Console, say: Say) -> Operator:
    judging = config.judging
    if judging.operator == "simulator":
        return SimulatorVerdict()
    if judging.operator == "script":
        assert judging.script is not None
        return ScriptedOperator(judging.script)
    return Person(console, say)


@contextmanager
def _attended(
    operator: Operator,
    console: Console,
    live: LiveState,
    config: EvaluationConfig,
    runner: TrialRunner,
    say: Say,
) -> Iterator[None]:
    """Page and keyboard while trials run, where somebody needs them."""
    person = isinstance(operator, Person)
    page = keyboard = None
    if isinstance(operator, Person):
        operator.meanwhile = runner.look
        keyboard = Keyboard(console)
        keyboard.start()
    try:
        if config.judging.page or (person and config.judging.operator == "browser"):
            page = LivePage(live, console, config.judging.port)
            say(f"live page: {page.url}")
        yield
    finally:
        if page is not None:
            page.close()
        if keyboard is not None:
            keyboard.close()


@contextmanager
def _stopped_by_signals(envelope: Envelope) -> Iterator[None]:
    """SIGINT and SIGTERM stop the robot first and end the evaluation then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        envelope.stop("operator", signal.Signals(number).name)
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


# ---------------------------------------------------------------------- the end


def _result(
    plan: Plan, record: EvaluationRecord, config: EvaluationConfig, say: Say
) -> dict[str, Any]:
    valid = finished(record.entries)
    complete = _complete(record, config)
    result: dict[str, Any] = {
        "finished": complete,
        "trials": len(record.trials),
        "judged": len(valid),
        "left_out": len(record.trials) - len(valid) if complete else 0,
        "robot": config.robot,
        "report": None,
        "success_rate": None,
        "episodes": len(valid),
        "interval": None,
    }
    if not complete or not valid:
        return result
    place = {policy: i for i, policy in enumerate(plan.policies)}
    names = dict(sorted(record.unblind().items(), key=lambda item: place[item[1]]))
    summary = summarise(list(valid.values()), names, config.comparison, config.judging)
    early = any(entry["kind"] == "stopped_early" for entry in record.entries)
    result |= {"stopped_early": early, **summary, "report": str(record.report_path)}
    wanted = plan.policies[:1]
    first = next((p for p in summary["policies"] if p["name"] in wanted), None)
    if first is not None:
        result |= {name: first[name] for name in ("success_rate", "episodes", "interval")}
    write_report(record, result, config)
    for comparison in summary["comparisons"]:
        say(comparison["sentence"])
    say(f"report: {record.report_path}")
    return result


def to_stderr(text: str) -> None:
    """A line for the operator beside a command's own output."""
    print(text, file=sys.stderr, flush=True)
