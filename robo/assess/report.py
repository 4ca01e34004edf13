"""Rewards side by side on the same episodes: figures, probes, language and distances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from robo.assess import edits
from robo.assess.discrimination import operating_threshold
from robo.assess.figures import Evidence, Resampling, all_figures
from robo.assess.language import confusion_intervals, language_confusion
from robo.assess.order import pearson
from robo.assess.probes import ProbeOptions, run_probes
from robo.errors import RoboError
from robo.rewards.replay import Scored, score

if TYPE_CHECKING:
    from robo.rewards.base import Reward
    from robo.rollout import Episode

CURVES = 12
"""Episodes whose curves are kept for the page."""


@dataclass(frozen=True)
class AssessOptions:
    """What is measured, and how."""

    truth: str | None = None
    """Signal of true progress in [0, 1] (mujoco tasks: progress), to compare with."""
    probes: ProbeOptions = field(default_factory=ProbeOptions)
    """How probes are made; its gamma is the learner's."""
    resampling: Resampling = field(default_factory=Resampling)
    """How intervals are made."""


def assess_reward(
    reward: Reward, episodes: Sequence[Episode], options: AssessOptions | None = None
) -> tuple[dict[str, Any], list[Scored]]:
    """All that can be said of one reward.

    Args:
        reward: fresh: not in the middle of a training run.
        episodes: whole episodes, successes and failures.
        options: what is measured.

    Returns:
        A dict of JSON values: ``figures``, ``probes``, ``caught`` (names of the probes that it
        falls for), ``language`` or None, ``threshold``, ``progress_source``, ``scores`` and
        ``curves`` of a few episodes; and what it said of every episode.

    Raises:
        RoboError: the episodes lack what the reward reads, or hold no success.
    """
    options = options or AssessOptions()
    scored = score(reward, episodes)
    successes = [e for e in episodes if e.success]
    backwards = _backwards(reward, episodes)
    evidence = Evidence(
        episodes, scored, backwards, options.truth, options.probes.recall, options.resampling
    )
    usable, success = evidence.usable, evidence.success
    threshold = None
    if success[usable].any():
        threshold = operating_threshold(evidence.score[usable], success[usable], evidence.recall)
    probes = run_probes(reward, episodes, options.probes, scored) if successes else []
    result = {
        "figures": all_figures(evidence),
        "probes": probes,
        "caught": [probe.name for probe in probes if probe.caught],
        "language": language(reward, episodes, options.resampling),
        "threshold": threshold,
        "progress_source": scored[0].source,
        "invalid_scores": len(episodes) - len(usable),
        "mean_paid": {
            "success": _mean([s.paid for s, yes in zip(scored, success, strict=True) if yes]),
            "failure": _mean([s.paid for s, yes in zip(scored, success, strict=True) if not yes]),
        },
        "scores": evidence.score,
        "curves": _curves(episodes, scored),
    }
    return result, scored


def _backwards(reward: Reward, episodes: Sequence[Episode]) -> list[Scored]:
    """What the reward says of every episode played backwards, in their order.

    Outcomes are scored apart: a reward that compares episodes judges each among the successes, and
    not among the others that are played backwards.
    """
    successes = [e for e in episodes if e.success]
    context = successes if getattr(reward, "compares_episodes", False) else []
    found: dict[int, Scored] = {}
    for outcome in (True, False):
        rows = [i for i, e in enumerate(episodes) if bool(e.success) == outcome]
        if rows:
            undone = [edits.reversed_time(episodes[i]) for i in rows]
            found |= dict(zip(rows, score(reward, [*undone, *context]), strict=False))
    return [found[i] for i in range(len(episodes))]


def language(
    reward: Reward, episodes: Sequence[Episode], resampling: Resampling | None = None
) -> dict[str, Any] | None:
    """Confusion of the instructions of the successes; None for fewer than two instructions.

    Args:
        reward: any.
        episodes: successes and failures; the latter do not count here.
        resampling: how intervals are made; None for the default.

    Returns:
        ``instructions``, ``matrix``, ``row_correct``, ``row_margin``, ``accuracy`` and ``margin``
        of :class:`~robo.assess.language.LanguageConfusion`, and ``intervals`` (see
        :func:`~robo.assess.language.confusion_intervals`); or, where a score is not finite,
        ``instructions`` and a ``note``.
    """
    resampling = resampling or Resampling()
    groups: dict[str, list[Episode]] = {}
    for episode in episodes:
        if episode.success and episode.info.instruction:
            groups.setdefault(episode.info.instruction, []).append(episode)
    if len(groups) < 2:
        return None
    names = sorted(groups)
    scores = [[_told(reward, groups[video], told) for video in names] for told in names]
    try:
        found = language_confusion([[part.mean() for part in row] for row in scores])
    except ValueError as error:
        return {"instructions": names, "note": str(error)}
    return {
        "instructions": names,
        "matrix": found.matrix,
        "row_correct": found.row_correct,
        "row_margin": found.row_margin,
        "accuracy": found.accuracy,
        "margin": found.margin,
        "intervals": confusion_intervals(
            scores, resampling.resamples, resampling.confidence, resampling.seed
        ),
    }


def _told(reward: Reward, videos: Sequence[Episode], instruction: str) -> np.ndarray:
    """Scores of videos under an instruction, without the simulator's success bit."""
    shown = [edits.instructed(episode, instruction) for episode in videos]
    return np.array([part.score for part in score(reward, shown)])


def return_distances(scored: Mapping[str, Sequence[Scored]], gamma: float) -> np.ndarray:
    """Episode return correlation distance of all pairs of rewards, ``[R, R]`` in [0, 1].

    ``sqrt((1 - rho) / 2)`` with the Pearson correlation of discounted returns over the episodes
    (Gleave et al. 2021, section 4). Unlike EPIC it is not invariant to shaping: the initial
    potential moves a return. A constant return correlates with nothing (distance 0.71) but
    itself.
    """
    returns = [[part.discounted(gamma) for part in parts] for parts in scored.values()]
    size = len(returns)
    distance = np.zeros((size, size))
    for i in range(size):
        for j in range(i):
            rho = float(pearson(returns[i], returns[j]))
            distance[i, j] = distance[j, i] = np.sqrt((1 - rho) / 2)
    return distance


def assess_rewards(
    rewards: Mapping[str, Reward],
    episodes: Sequence[Episode],
    options: AssessOptions | None = None,
    on_reward: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Assess several rewards on the same episodes.

    Args:
        rewards: by name, at least one.
        episodes: see :func:`assess_reward`.
        options: what is measured.
        on_reward: called with each name before its turn.

    Returns:
        ``rewards`` (name to what :func:`assess_reward` returns, or ``{"refused": sentence}`` where
        the episodes lack what it reads), ``return_distance`` (``names``, ``matrix``), and what
        the episodes are: ``episodes``, ``successes``, ``tasks``, ``actors``.

    Raises:
        RoboError: no reward could be assessed.
    """
    options = options or AssessOptions()
    results: dict[str, Any] = {}
    scored: dict[str, list[Scored]] = {}
    for name, reward in rewards.items():
        on_reward(name)
        try:
            results[name], scored[name] = assess_reward(reward, episodes, options)
        except RoboError as error:
            results[name] = {"refused": str(error)}
    if not scored:
        raise RoboError("; ".join(f"{n}: {r['refused']}" for n, r in results.items()))
    return {
        "episodes": len(episodes),
        "successes": sum(e.success for e in episodes),
        "tasks": sorted({e.info.task for e in episodes}),
        "actors": _counts([str(e.metadata.get("actor", "policy")) for e in episodes]),
        "outcomes": [bool(e.success) for e in episodes],
        "gamma": options.probes.gamma,
        "truth": options.truth,
        "rewards": results,
        "return_distance": {
            "names": list(scored),
            "matrix": return_distances(scored, options.probes.gamma),
        },
    }


def chosen(episodes: Sequence[Episode], limit: int | None) -> list[Episode]:
    """At most ``limit`` episodes, successes and failures in turn as long as there are both."""
    if limit is None or len(episodes) <= limit:
        return list(episodes)
    rows = {yes: [i for i, e in enumerate(episodes) if bool(e.success) == yes] for yes in (1, 0)}
    half = limit // 2
    take = max(limit - len(rows[0]), limit - half)
    kept = rows[1][:take]
    kept += rows[0][: limit - len(kept)]
    return [episodes[i] for i in sorted(kept)]


def _counts(names: Sequence[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _curves(episodes: Sequence[Episode], scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Progress of the first episodes of either outcome."""
    kept = []
    for wanted in (True, False):
        rows = [i for i, e in enumerate(episodes) if bool(e.success) == wanted][: CURVES // 2]
        kept += [
            {"episode": i, "success": wanted, "progress": np.round(scored[i].progress, 4)}
            for i in rows
        ]
    return kept
