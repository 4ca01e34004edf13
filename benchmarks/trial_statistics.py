"""What the intervals cover and what the sequential test costs, exactly and by simulation.

python benchmarks/trial_statistics.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _study import publish
from scipy.stats import binom

from robo.assess.sequential import log_evidence, operating_characteristics
from robo.assess.statistics import clopper_pearson, wilson
from robo.assess.trial_count import exact_power, required_trials

RESULT = Path(__file__).parent / "results" / "trial_statistics.json"


@dataclass(frozen=True)
class Config:
    """One measurement."""

    trials: tuple[int, ...] = (10, 20, 40, 100)
    """Numbers of trials whose intervals are looked at."""
    evaluations: int = 10_000
    """Simulated evaluations of the sequential test."""
    max_pairs: int = 80
    """Pairs after which an evaluation gives up."""
    out: Path = RESULT
    """JSON of the result."""


def coverage(interval: Callable[..., tuple[float, float]], trials: int) -> dict[str, float]:
    """Exact coverage of a 95 % interval over a grid of success rates."""
    rates = np.linspace(0.0005, 0.9995, 1999)
    low, high = np.array([interval(k, trials) for k in range(trials + 1)]).T
    holds = (low <= rates[:, None]) & (rates[:, None] <= high)
    covered = (binom.pmf(np.arange(trials + 1), trials, rates[:, None]) * holds).sum(axis=1)
    return {
        "mean": float(covered.mean()),
        "minimum": float(covered.min()),
        "at_rate": float(rates[covered.argmin()]),
    }


def simulated(rate_a: float, rate_b: float, options: Config) -> dict[str, float]:
    """Share of evaluations that find a difference, and their mean number of pairs."""
    generator = np.random.default_rng(0)
    pairs = options.max_pairs
    table = [[log_evidence(a, b) for b in range(pairs + 1)] for a in range(pairs + 1)]
    drawn = generator.random((2, options.evaluations, pairs))
    a, b = drawn < np.array([rate_a, rate_b])[:, None, None]
    stops = np.array(table)[np.cumsum(a & ~b, axis=1), np.cumsum(b & ~a, axis=1)] >= math.log(20)
    found = stops.any(axis=1)
    length = np.where(found, stops.argmax(axis=1) + 1, pairs)
    share = float(found.mean())
    error = math.sqrt(share * (1 - share) / options.evaluations)
    return {"found": share, "standard_error": error, "mean_pairs": float(length.mean())}


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute, print, write."""
    options = tyro.cli(Config, args=arguments)
    null = (0.1, 0.3, 0.5, 0.7, 0.9)
    design = operating_characteristics(0.5, 0.8, options.max_pairs)
    fixed = required_trials(0.5, 0.8, power=design.power)
    result: dict[str, Any] = {
        "coverage": {
            str(trials): {
                "wilson": coverage(wilson, trials),
                "clopper_pearson": coverage(clopper_pearson, trials),
            }
            for trials in options.trials
        },
        "sequential": {
            "level": 0.05,
            "max_pairs": options.max_pairs,
            "type_1_error_exact": {
                str(p): operating_characteristics(p, p, options.max_pairs).power for p in null
            },
            "type_1_error_exact_500_pairs": operating_characteristics(0.5, 0.5, 500).power,
            "type_1_error_simulated": simulated(0.5, 0.5, options),
            "rates": [0.5, 0.8],
            "power": design.power,
            "mean_trials_per_policy": design.mean_pairs,
            "simulated": simulated(0.5, 0.8, options),
            "fixed_design_of_equal_power": {
                "trials_per_policy": fixed,
                "power": exact_power(0.5, 0.8, fixed) if fixed else None,
            },
        },
    }
    publish(result, options.out)


if __name__ == "__main__":
    main()
