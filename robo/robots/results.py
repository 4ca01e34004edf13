"""From judged trials to what can be said about the policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from robo.assess.agreement import agreement
from robo.assess.discrimination import success_auc
from robo.assess.posterior import posterior_interval, probability_of_best
from robo.assess.sequential import evidence
from robo.assess.statistics import clopper_pearson, wilson
from robo.assess.trial_count import required_trials
from robo.assess.verdict import PairedCounts, compare
from robo.robots.evaluation_config import ComparisonConfig, JudgingConfig
from robo.storage import plain

Entry = Mapping[str, Any]


def pair_counts(trials: Sequence[Entry], first: str, second: str) -> PairedCounts | None:
    """Blocks in which both codes have a valid trial; None where there is none."""
    won: dict[str, dict[int, bool]] = {first: {}, second: {}}
    for entry in trials:
        if entry["code"] in won:
            won[entry["code"]][entry["block"]] = entry["outcome"] == "success"
    both = won[first].keys() & won[second].keys()
    if not both:
        return None
    pairs = [(won[first][block], won[second][block]) for block in both]
    return PairedCounts(
        both=pairs.count((True, True)),
        only_a=pairs.count((True, False)),
        only_b=pairs.count((False, True)),
        neither=pairs.count((False, False)),
    )


def decided(trials: Sequence[Entry], codes: Sequence[str], config: ComparisonConfig) -> bool:
    """Whether the sequential test tells every two policies apart (Bonferroni over the pairs)."""
    pairs = list(combinations(sorted(codes), 2))
    level = (1 - config.confidence) / max(len(pairs), 1)
    for first, second in pairs:
        counts = pair_counts(trials, first, second)
        if counts is None or evidence(counts.only_a, counts.only_b) < 1 / level:
            return False
    return bool(pairs)


def summarise(
    trials: Sequence[Entry],
    names: Mapping[str, str],
    comparison: ComparisonConfig,
    judging: JudgingConfig,
) -> dict[str, Any]:
    """Everything that the report says.

    Args:
        trials: valid judgements, a line of the journal each, at least one.
        names: code to the name to show: the policy, or the code itself while blind.
        comparison: confidence and the difference that matters.
        judging: the GRM's threshold.

    Returns:
        ``policies``: per policy ``name``, ``code``, ``success_rate``, ``successes``, ``partial``,
        ``episodes``, ``interval`` (Wilson), ``exact_interval`` (Clopper-Pearson),
        ``posterior_interval`` and ``probability_best``; ``comparisons``: per pair the fields of
        :class:`~robo.assess.verdict.Comparison` with ``first`` and ``second``; ``judges``:
        agreement with the GRM, or None; ``required_trials`` of each policy to find
        ``smallest_difference`` around one half with power 0.8, a number fixed beforehand.
    """
    codes = [code for code in names if any(entry["code"] == code for entry in trials)]
    policies = [
        _policy([e for e in trials if e["code"] == c], c, names[c], comparison) for c in codes
    ]
    won, tried = [p["successes"] for p in policies], [p["episodes"] for p in policies]
    for policy, share in zip(policies, probability_of_best(won, tried), strict=True):
        policy["probability_best"] = float(share)
    pairs = list(combinations(codes, 2))
    confidence = 1 - (1 - comparison.confidence) / max(len(pairs), 1)
    comparisons = []
    for first, second in pairs:
        counts = pair_counts(trials, first, second)
        if counts is not None:
            found = compare(
                counts,
                (names[first], names[second]),
                confidence=confidence,
                smallest_difference=comparison.smallest_difference,
                sequential=comparison.stop_early,
            )
            comparisons.append(
                {"first": names[first], "second": names[second], **plain(found), **plain(counts)}
            )
    half = comparison.smallest_difference / 2
    level = 1 - comparison.confidence
    return {
        "policies": policies,
        "comparisons": comparisons,
        "confidence": comparison.confidence,
        "smallest_difference": comparison.smallest_difference,
        "judges": _judges(trials, comparison.confidence, judging.grm_threshold),
        "required_trials": required_trials(max(0.5 - half, 0), min(0.5 + half, 1), 0.8, level),
    }


def _policy(
    trials: Sequence[Entry], code: str, name: str, config: ComparisonConfig
) -> dict[str, Any]:
    outcomes = [entry["outcome"] for entry in trials]
    won, tried = outcomes.count("success"), len(outcomes)
    return {
        "name": name,
        "code": code,
        "success_rate": won / tried,
        "successes": won,
        "partial": outcomes.count("partial"),
        "episodes": tried,
        "interval": list(wilson(won, tried, config.confidence)),
        "exact_interval": list(clopper_pearson(won, tried, config.confidence)),
        "posterior_interval": list(posterior_interval(won, tried, config.confidence)),
        "mean_seconds": sum(entry["seconds"] for entry in trials) / tried,
        "safety_stops": sum(entry["ending"] == "safety" for entry in trials),
    }


def _judges(trials: Sequence[Entry], confidence: float, threshold: float) -> dict[str, Any] | None:
    """How the GRM agrees with the operator; None without a GRM."""
    judged = [entry for entry in trials if entry.get("progress") is not None]
    if not judged:
        return None
    human = [entry["outcome"] == "success" for entry in judged]
    final = [float(entry["progress"]) for entry in judged]
    found = plain(agreement(human, [p >= threshold for p in final], confidence))
    both_kinds = 0 < sum(human) < len(human)
    return {
        **found,
        "threshold": threshold,
        "auc": success_auc(final, human) if both_kinds else None,
    }
