"""Do distances between rewards tell what a wrong reward costs: 1,000 random processes.

    python benchmarks/distance_regret.py

Each process has a gold reward and a second one, mixed from gold and noise in a random proportion,
scaled and shaped at random. The worst-case regret is exact (a linear programme over all pairs of
policies); the distances are those of robo.assess.distances. Reported: Spearman's rank correlation
of distance and regret over the processes, with a bootstrap interval.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _study import machine, one_thread, publish


@dataclass(frozen=True)
class Options:
    """Rank correlation of EPIC, DARD and STARC with the worst-case regret."""

    processes: int = 1000
    """Random processes."""
    states: int = 8
    """States of each."""
    actions: int = 3
    """Actions of each."""
    gamma: float = 0.9
    """Discount."""
    seed: int = 0
    """Of everything."""
    resamples: int = 1000
    """Bootstrap resamples of processes."""
    out: Path | None = Path("benchmarks/results/distance_regret.json")
    """JSON file to write; None writes none."""


def process(options: Options, generator: Any) -> tuple[Any, Any, Any]:
    """Transition, gold and second reward, ``[S, A, S]`` each."""
    import numpy as np

    shape = options.states, options.actions, options.states
    transition = generator.dirichlet(np.full(options.states, 0.3), shape[:2])
    gold, noise = generator.normal(size=(2, *shape))
    share = generator.uniform()
    potential = 2 * generator.normal(size=options.states)
    second = (1 - share) * gold + share * noise
    second = second + options.gamma * potential[None, None] - potential[:, None, None]
    return transition, gold, second * generator.uniform(0.1, 10)


def measure(options: Options) -> dict[str, Any]:
    """Distances and regret of every process."""
    import numpy as np

    from robo.assess.distances import dard, epic, starc
    from robo.assess.regret import worst_case_regret

    generator = np.random.default_rng(options.seed)
    rows: dict[str, list[float]] = {name: [] for name in ("epic", "dard", "starc", "regret")}
    for _ in range(options.processes):
        transition, gold, second = process(options, generator)
        rows["epic"].append(float(epic(gold, second, options.gamma)))
        rows["dard"].append(float(dard(gold, second, transition, options.gamma)))
        rows["starc"].append(float(starc(gold, second, transition, options.gamma)))
        rows["regret"].append(worst_case_regret(gold, second, transition, options.gamma))
    return {name: np.array(values) for name, values in rows.items()}


def main(options: Options) -> int:
    """Measure; the last line printed is one JSON object."""
    import numpy as np

    from robo.assess.figures import Resampling, figure
    from robo.assess.order import spearman

    found = measure(options)
    resampling = Resampling(options.resamples, seed=options.seed)
    result: dict[str, Any] = {
        "benchmark": "distance_regret",
        "processes": options.processes,
        "states": options.states,
        "actions": options.actions,
        "gamma": options.gamma,
        "seed": options.seed,
        "regret": {"mean": found["regret"].mean(), "max": found["regret"].max()},
        "rows": [],
    }
    for name in ("starc", "dard", "epic"):
        correlation = figure(
            lambda i, n=name: float(spearman(found[n][i], found["regret"][i])),
            np.arange(options.processes),
            resampling,
        )
        result["rows"].append({"name": name, **vars(correlation)})
        print(f"{name}: {correlation.value:.3f} ({correlation.low:.3f} to {correlation.high:.3f})")
    result["limit"] = 0.5
    result["passes"] = result["rows"][0]["value"] >= result["limit"]
    result["machine"] = machine()
    publish(result, options.out)
    return 0 if result["passes"] else 1


if __name__ == "__main__":
    one_thread()
    sys.exit(main(tyro.cli(Options, description=__doc__)))
