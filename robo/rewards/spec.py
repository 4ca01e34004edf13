"""Rewards by a line of text, for commands that take several of them.

``KIND``, ``KIND:ARGUMENT`` or ``KIND:ARGUMENT,option=value,...``. Kinds and options are those of
:class:`~robo.rewards.config.RewardConfig`; the argument is the kind's main one (the GRM's
folder), and an option of several numbers has colons between them. Further kinds, for comparisons,
take a signal of the simulator or a GRM's folder as their progress:

* ``naive:progress``: success plus raw progress at every step;
* ``raw:progress``: raw progress alone, the dense part of a wrapper;
* ``difference:progress``: success plus the plain difference of progress;
* ``shaped:progress``: success shaped by it (for a GRM that is kind ``grm``);
* ``route_completion:progress``: CaRL's reward with it as the route (signals only).

Wrappers of :mod:`robo.rewards.robust` stand around a spec: ``delta(raw:progress)``,
``gated[limit=1](raw:runs/grm)``, ``ensemble[rule=worst](grm:runs/a; grm:runs/b)``. The options of
``hierarchy[success=1,raw_progress=0.1](naive:progress)`` are terms and their weights.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from robo.rewards.config import LANGUAGE_KINDS, RewardConfig, RewardConfigError, make_reward

if TYPE_CHECKING:
    from robo.rewards.base import Reward
    from robo.rewards.potential import Potential
    from robo.rewards.shaping import TimeoutRule

MAIN_ARGUMENT = {
    "grm": "grm",
    "srpo": "srpo.encoder",
    **dict.fromkeys(LANGUAGE_KINDS, "language.clip.model"),
}
"""Kind of RewardConfig to the field that ``KIND:ARGUMENT`` sets."""
PROGRESS_KINDS = ("naive", "raw", "difference", "shaped")
WRAPPERS = (
    "gated",
    "attributed",
    "squashed",
    "clipped",
    "delta",
    "ensemble",
    "filtered",
    "hierarchy",
)


@dataclass(frozen=True)
class Learner:
    """What a reward may depend on of the learner that it is for."""

    gamma: float = 0.99
    """Discount."""
    timeout: TimeoutRule = "bootstrap"
    """Time-out rule."""
    gather: Callable[[Any], list[Any]] | None = None
    """The values of all ranks on every rank; None in a run of one process."""
    rank: int = 0
    """Which of them is this one's."""


def reward_from_spec(
    text: str,
    gamma: float = 0.99,
    timeout: TimeoutRule = "bootstrap",
    stride: int | None = None,
    gather: Callable[[Any], list[Any]] | None = None,
    rank: int = 0,
) -> Reward:
    """Build the reward that a line of text names.

    Args:
        text: see the module.
        gamma: the learner's discount, for shaped rewards.
        timeout: the learner's time-out rule.
        stride: steps between two readings where the text does not say; None for 5 (frames) and
            1 (signals).
        gather: the values of all ranks on every rank; None in a run of one process.
        rank: which of them is this one's.

    Raises:
        RewardConfigError: the text cannot be read, or names what does not exist, or what a run of
            several processes cannot have (see :func:`~robo.rewards.config.make_reward`).
        CheckpointError: a model's folder is missing or damaged.
    """
    learner = Learner(gamma, timeout, gather, rank)
    head, inner, options = _parse(text)
    if inner is not None:
        return _wrapped(head, inner, options, learner, stride, text)
    kind, _, argument = head.partition(":")
    if kind in PROGRESS_KINDS:
        return _on_progress(kind, argument, options, learner, stride, text)
    if kind == "route_completion" and argument and not options:
        from robo.rewards.progress_route import ProgressRouteReward

        return ProgressRouteReward(argument)
    given = dict(options)
    if argument:
        if kind not in MAIN_ARGUMENT:
            raise RewardConfigError(
                f"reward {text!r}: kind {kind!r} takes no argument after a colon, only options "
                "as name=value after a comma"
            )
        given[MAIN_ARGUMENT[kind]] = argument
    if stride is not None and "stride" in {field.name for field in fields(RewardConfig)}:
        given.setdefault("stride", str(stride))
    return make_reward(_config(kind, given, text), gamma, timeout, gather, rank)


def _config(kind: str, options: dict[str, str], text: str) -> RewardConfig:
    """The configuration, its values read as the command line would read them."""
    import tyro

    arguments = ["--kind", kind]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", *_values(value)]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return tyro.cli(RewardConfig, args=arguments)
    except SystemExit:
        kinds = ", ".join(get_args(get_type_hints(RewardConfig)["kind"]))
        raise RewardConfigError(
            f"reward {text!r} cannot be read: expected KIND[:ARGUMENT][,option=value] with a kind "
            f"of {kinds}, {', '.join(PROGRESS_KINDS)}, or a wrapper of {', '.join(WRAPPERS)} "
            "around another reward; options are those of robo train --help under reward"
        ) from None


def _values(value: str) -> list[str]:
    """Several numbers between colons, or the one value."""
    parts = value.split(":")
    numbers = all(part.replace(".", "", 1).removeprefix("-").isdigit() for part in parts)
    return parts if numbers else [value]


def _parse(text: str) -> tuple[str, list[str] | None, dict[str, str]]:
    """Head, inner specs (None without parentheses) and options."""
    text = text.strip()
    if text.endswith(")") and "(" in text:
        head, _, body = text[:-1].partition("(")
        name, _, given = head.strip().removesuffix("]").partition("[")
        inner = [part.strip() for part in _split(body, ";")]
        return name.strip(), inner, _options(given.split(",") if given else [], text)
    head, *rest = text.split(",")
    return head.strip(), None, _options(rest, text)


def _options(parts: list[str], text: str) -> dict[str, str]:
    """``name=value`` each."""
    options = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals:
            raise RewardConfigError(f"reward {text!r}: {part!r} is no option, expected name=value")
        options[name.strip()] = value.strip()
    return options


def _split(text: str, separator: str) -> list[str]:
    """Split outside parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _potential(argument: str, options: dict[str, str], stride: int | None, text: str) -> Potential:
    """A GRM's potential where the argument is a folder, otherwise a signal's."""
    unknown = set(options) - {"stride", "mode", "device"}
    if not argument or unknown:
        raise RewardConfigError(
            f"reward {text!r}: expected KIND:SIGNAL or KIND:GRM_FOLDER, and no options but "
            f"stride, mode and device{f' (got {sorted(unknown)})' if unknown else ''}"
        )
    every = stride
    if (given := options.get("stride")) is not None:
        if not given.isdigit():
            raise RewardConfigError(f"reward {text!r}: stride is {given!r}, expected a number")
        every = int(given)
    if Path(argument).is_dir():
        from robo.rewards.grm.potential import GRMPotential

        mode, device = options.get("mode", "backward"), options.get("device", "cpu")
        return GRMPotential.load(argument, mode, every or 5, device)
    from robo.rewards.potential import SignalPotential

    return SignalPotential(argument, every or 1)


def _on_progress(
    kind: str,
    argument: str,
    options: dict[str, str],
    learner: Learner,
    stride: int | None,
    text: str,
) -> Reward:
    from robo.rewards.naive import NaiveProgressReward
    from robo.rewards.potential import ProgressDifferenceReward
    from robo.rewards.shaping import ShapedReward
    from robo.rewards.success import NoReward, SuccessReward

    potential = _potential(argument, options, stride, text)
    if kind == "naive":
        return NaiveProgressReward(potential)
    if kind == "raw":
        return NaiveProgressReward(potential, NoReward())
    if kind == "difference":
        return ProgressDifferenceReward(SuccessReward(), potential)
    return ShapedReward(SuccessReward(), potential, learner.gamma, learner.timeout)


def _wrapped(
    name: str,
    inner: list[str],
    options: dict[str, str],
    learner: Learner,
    stride: int | None,
    text: str,
) -> Reward:
    from robo.rewards.robust.attribution import AttributedReward
    from robo.rewards.robust.clip_delta import ClippedReward, DeltaReward
    from robo.rewards.robust.ensemble import EnsembleReward
    from robo.rewards.robust.filtering import FilteredReward
    from robo.rewards.robust.gated import GatedReward
    from robo.rewards.robust.squash import SquashedReward

    if name not in WRAPPERS or (len(inner) > 1 and name != "ensemble"):
        raise RewardConfigError(
            f"reward {text!r}: {name!r} around {len(inner)} rewards; there are the wrappers "
            f"{', '.join(WRAPPERS)}, and only ensemble takes several, parted by ';'"
        )
    settings = {key: _number(value) for key, value in options.items()}
    makers: dict[str, Callable[..., Reward]] = {
        "gated": GatedReward,
        "squashed": lambda reward, **settings: SquashedReward(
            reward, gather=learner.gather, **settings
        ),
        "clipped": ClippedReward,
        "delta": DeltaReward,
    }
    try:
        if name == "attributed":
            head, _, extra = _parse(inner[0])
            return AttributedReward(_potential(head, extra, stride, text))
        shared = (learner.gamma, learner.timeout, stride, learner.gather, learner.rank)
        parts = [reward_from_spec(part, *shared) for part in inner]
        if name == "ensemble":
            return EnsembleReward(parts, **settings)
        if name == "filtered":
            settings.setdefault("term", "inner.deviation")
            return FilteredReward(parts[0], **settings)
        if name == "hierarchy":
            return _hierarchy(parts[0], settings, text)
        return makers[name](parts[0], **settings)
    except TypeError as error:
        raise RewardConfigError(f"reward {text!r}: {error}") from error


def _hierarchy(inner: Reward, weights: dict[str, Any], text: str) -> Reward:
    """The terms of a reward, each by its weight."""
    from robo.rewards.robust.hierarchy import HierarchicalReward

    wrong = [name for name, weight in weights.items() if isinstance(weight, str)]
    if wrong or not weights:
        raise RewardConfigError(
            f"reward {text!r}: hierarchy needs a number for every term that counts"
            f"{f' (not for {wrong})' if wrong else ''}, as hierarchy[success=1,raw_progress=0.1]"
            "(naive:progress)"
        )
    return HierarchicalReward(inner, list(weights), list(weights.values()))


def _number(value: str) -> Any:
    """A number where the text is one."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value
