"""How often a policy succeeds over given seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robo.errors import RoboError
from robo.policies.recorder import PolicyActor, stream_episodes
from robo.rollout import Episode
from robo.sim.contract import VectorEnvironment


def parse_seeds(text: str) -> list[int]:
    """Seeds of the text ``A-B`` (both included), ``A``, or several of these joined by commas.

    A seed that comes again counts once: a second episode from it is no independent trial.

    Raises:
        RoboError: for any other text.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last.isdecimal() or part.strip() == first):
            raise RoboError(f"seeds {text!r} must be A-B such as 5000-5099, with A not above B")
        low, high = int(first), int(last or first)
        if high < low:
            raise RoboError(f"seeds {text!r} must be A-B such as 5000-5099, with A not above B")
        seeds.extend(range(low, high + 1))
    return list(dict.fromkeys(seeds))


def evaluate(
    actor_critic: Any,
    env: VectorEnvironment,
    seeds: Sequence[int],
    deterministic: bool = True,
    seed: int = 0,
    on_episode: Callable[[Episode], None] | None = None,
) -> dict[str, Any]:
    """Play one episode per seed.

    Args:
        actor_critic: the policy; it is not changed.
        env: environments of the evaluation's own (their state is lost).
        seeds: of the initial states.
        deterministic: the mode of the distribution in place of a sample.
        seed: of the samples, where not deterministic.
        on_episode: called with each episode (without observations), in the order of ``seeds``.

    Returns:
        What :func:`summarise` gives, and ``outcomes``: per seed ``seed``, ``success``,
        ``return``, ``length``, and ``signals``, the last value of each of the episode.

    Raises:
        RoboError: no seeds, or an action that is not finite.
    """
    if not seeds:
        raise RoboError("an evaluation needs at least one seed; give --seeds A-B")
    actor = PolicyActor(actor_critic, deterministic, seed)
    outcomes = []
    for episode in stream_episodes(env, actor, seeds, keep_observations=False):
        if on_episode is not None:
            on_episode(episode)
        outcomes.append(
            {
                "seed": episode.info.seed,
                "success": bool(episode.success),
                "return": float(episode.reward.sum()),
                "length": len(episode),
                "signals": {name: float(values[-1]) for name, values in episode.signals.items()},
            }
        )
    return {**summarise(outcomes), "outcomes": outcomes}


def summarise(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over episodes.

    Returns:
        ``success_rate``, ``episodes``, ``successes``, ``mean_return`` (of the environment's own
        reward, undiscounted), ``mean_length`` (steps), and ``signals``: of each signal, such as a
        driven share of the route, the mean of its values at the end of episodes.
    """
    count = len(outcomes)
    successes = sum(outcome["success"] for outcome in outcomes)
    return {
        "success_rate": successes / count,
        "episodes": count,
        "successes": successes,
        "mean_return": sum(outcome["return"] for outcome in outcomes) / count,
        "mean_length": sum(outcome["length"] for outcome in outcomes) / count,
        "signals": {
            name: sum(outcome["signals"][name] for outcome in outcomes) / count
            for name in outcomes[0]["signals"]
        },
    }
