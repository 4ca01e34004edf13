"""A deliberately weak GRM: does PPO exploit it, and do refreshing and an ensemble prevent that?

    python benchmarks/reward_hacking.py --workers 2

The weak model sees the front view only, is fitted on few demonstrations and on no failure. Arms,
all on mujoco/Lift under the time-out rule "keep" (which pays every flaw at the time limit):

* frozen: the weak model as it is;
* refreshed: it learns from the policy's own frames in training; demonstrations that neither it nor
  any refreshed copy was fitted on judge the copies;
* ensemble: the lower bound of several weak models, frozen.

Reported: success on unseen seeds, and potential minus true progress in the states in which the last
iterations' episodes ended. Interrupt it and repeat the command, and it goes on.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
from _grm_training import ArmOptions, rows_of, setting, tell
from _study import Run, Study, execute, machine, minutes_left, one_thread, publish

from robo.rewards.grm.refresh_config import RefreshConfig

RESULT = Path(__file__).parent / "results" / "reward_hacking.json"
Arm = Literal["frozen", "refreshed", "ensemble"]
ARMS: tuple[Arm, ...] = ("frozen", "refreshed", "ensemble")
STRIDE, VIEWS = 5, ("front",)
ALLOWED = 0.10
"""Largest potential above true progress at the end of the refreshed arm."""


@dataclass(frozen=True)
class Options(ArmOptions):
    """Compare a frozen weak GRM with a refreshed one and with an ensemble."""

    arms: tuple[Arm, ...] = ARMS
    """Arms to run."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of PPO; each has a weak model of its own."""
    demonstrations: int = 6
    """Of each weak model."""
    held_out: int = 6
    """Further demonstrations, which judge the refreshed models and train none."""
    iterations: int = 60
    """Training steps of each weak model."""
    members: int = 4
    """Models of the ensemble."""
    refresh: RefreshConfig = field(default_factory=RefreshConfig)
    """When and how the refreshed arm learns."""
    work: Path = Path("runs/benchmarks/reward_hacking")
    """Folder of the finished runs."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


def weak_grms(run: Run, folder: Path) -> dict[str, Any]:
    """Episodes and weak models. Settings: seed, demonstrations, held_out, iterations, members."""
    from robo.commands.collect import Collect, record
    from robo.commands.fit import FitGRM, fit
    from robo.rewards.grm.fit import FitConfig

    seed = run.settings["seed"]
    first = 300_000 + 10_000 * seed
    for name, kind, start in (
        ("demos", "demonstrations", first),
        ("held_out", "held_out", first + 5_000),
    ):
        record(Collect(demonstrations=run.settings[kind], seed=start, out=folder / name))
    config = FitConfig(run.settings["iterations"], seed=100 * seed, views=VIEWS)
    members = run.settings["members"]
    fit(FitGRM(folder / "demos", config, ensemble=max(2, members), out=folder / "grm"))
    return {
        "grm": str(folder / "grm"),
        "store": str(folder / "demos" / "episodes"),
        "held_out_store": str(folder / "held_out" / "episodes"),
    }


def train_arm(run: Run, folder: Path) -> dict[str, Any]:
    """One run of PPO. Settings: arm, seed, total_steps, grm; refreshed: the stores, refresh."""
    from _grm_training import train_lift

    from robo.data import EpisodeStore
    from robo.policies.train_config import lift_ppo
    from robo.rewards.grm.compact import CompactGRM
    from robo.rewards.grm.potential import GRMPotential
    from robo.rewards.grm.refresh import RefreshedPotential
    from robo.rewards.shaping import ShapedReward
    from robo.rewards.success import SuccessReward

    arm, grm = run.settings["arm"], Path(run.settings["grm"])
    if arm == "ensemble":
        potential: Any = GRMPotential.load(grm, stride=STRIDE)
    elif arm == "frozen":
        potential = GRMPotential.load(grm / "member_0", stride=STRIDE)
    else:
        store, judges = (
            EpisodeStore(run.settings[name], mode="r") for name in ("store", "held_out_store")
        )
        potential = RefreshedPotential(
            CompactGRM.load(grm / "member_0"),
            store,
            stride=STRIDE,
            config=RefreshConfig(**run.settings["refresh"]),
            held_out=judges,
        )
    reward = ShapedReward(SuccessReward(), potential, lift_ppo().gamma, "keep")
    seed, steps = run.settings["seed"], run.settings["total_steps"]
    return {"arm": arm, **train_lift(reward, seed, steps, folder)}


def stage(run: Run, folder: Path) -> dict[str, Any]:
    """Dispatch by the run's kind."""
    return weak_grms(run, folder) if "arm" not in run.settings else train_arm(run, folder)


def verdict(rows: list[dict[str, Any]], seeds: int) -> dict[str, bool | None]:
    """The acceptance line, and whether there was anything to prevent; None where not all ran.

    ``frozen_is_exploited`` asks for one seed in which the frozen model's potential ends more than
    ``ALLOWED`` above true progress: otherwise a refreshed model that stays below shows nothing.
    """
    worst = {row["name"]: row["worst_excess"] for row in rows if row["runs"] == seeds}
    frozen, refreshed = worst.get("frozen"), worst.get("refreshed")
    return {
        "frozen_is_exploited": None if frozen is None else frozen > ALLOWED,
        "refreshed_at_most_0.10_above": None if refreshed is None else refreshed <= ALLOWED,
    }


def refreshing(fit: dict[str, Any], refresh: RefreshConfig) -> dict[str, Any]:
    """What the refreshed arm alone depends on; ``fit`` is a result of :func:`weak_grms`."""
    stores = {name: fit[name] for name in ("store", "held_out_store")}
    return {**stores, "refresh": asdict(refresh)}


def main(options: Options) -> int:
    """Run what is missing, and publish what there is."""
    study, began = Study(options.work), time.monotonic()
    names = ("demonstrations", "held_out", "iterations", "members")
    weak = {name: getattr(options, name) for name in names}
    fits = {seed: Run(f"weak-{seed}", {"seed": seed, **weak}) for seed in options.seeds}
    execute(study, list(fits.values()), stage, options.workers, options.minutes, tell)
    runs = [
        Run(
            f"{arm}-s{seed}",
            {
                "arm": arm,
                "seed": seed,
                "total_steps": options.total_steps,
                "grm": found["grm"],
                **(refreshing(found, options.refresh) if arm == "refreshed" else {}),
                **weak,
            },
        )
        for seed, fit in fits.items()
        if (found := study.result(fit)) is not None
        for arm in options.arms
    ]
    left = minutes_left(options.minutes, began)
    execute(study, runs, stage, options.workers, left, tell)
    complete = len(runs) == len(options.arms) * len(options.seeds) and not study.missing(runs)
    rows = rows_of(options.arms, study, runs)
    result = {
        "benchmark": "reward_hacking",
        "rows": rows,
        **setting(options),
        "members": options.members,
        "held_out": options.held_out,
        "refresh": asdict(options.refresh),
        "views": list(VIEWS),
        "verdict": verdict(rows, len(options.seeds)),
        "complete": complete,
        "machine": machine(),
    }
    publish(result, options.out if complete else None)
    return 0 if complete else 1


if __name__ == "__main__":
    one_thread()
    sys.exit(main(tyro.cli(Options, description=__doc__)))
