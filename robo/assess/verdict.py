"""What a comparison of two policies says, in words that do not promise more than the trials do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robo.assess.sequential import evidence, win_share_interval
from robo.assess.statistics import barnard, mcnemar, newcombe
from robo.assess.trial_count import required_trials

Word = Literal["better", "worse", "not shown", "underpowered"]


@dataclass(frozen=True)
class PairedCounts:
    """Outcomes of pairs: one trial of A and one of B from the same initial state."""

    both: int
    """Pairs in which both succeeded."""
    only_a: int
    """Pairs in which only A succeeded."""
    only_b: int
    """Pairs in which only B succeeded."""
    neither: int
    """Pairs in which both failed."""

    def __post_init__(self) -> None:
        """Refuse negative counts and no pair at all."""
        counts = (self.both, self.only_a, self.only_b, self.neither)
        if min(counts) < 0 or sum(counts) == 0:
            raise ValueError(f"pair counts are {counts}, expected at least one pair, none negative")

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def successes(self) -> tuple[int, int]:
        """Successes of A and of B."""
        return self.both + self.only_a, self.both + self.only_b


@dataclass(frozen=True)
class Comparison:
    """A against B, with every figure that the verdict rests on."""

    verdict: Word
    """better or worse (A than B), not shown, or underpowered."""
    sentence: str
    """The verdict for a reader."""
    difference: float
    """Success rate of A minus that of B."""
    interval: tuple[float, float]
    """Newcombe's interval of the difference; for a number of pairs fixed beforehand."""
    barnard_p: float
    """Barnard's exact p-value, unpaired; for a number of pairs fixed beforehand."""
    mcnemar_p: float
    """McNemar's exact p-value, paired; for a number of pairs fixed beforehand."""
    evidence: float
    """Of the sequential test, valid at every look; 1/(1 - confidence) decides."""
    win_share: tuple[float, float]
    """Interval of A's share of the pairs that ended differently, valid at every look."""
    pairs: int
    """Number of pairs."""
    more_pairs: int | None
    """About how many more pairs an underpowered comparison needs; None where it is not that."""


def compare(
    counts: PairedCounts,
    names: tuple[str, str] = ("A", "B"),
    *,
    confidence: float = 0.95,
    smallest_difference: float = 0.2,
    sequential: bool = True,
) -> Comparison:
    """Judge A against B.

    "better" and "worse" take the sequential test's evidence or, with ``sequential`` False,
    McNemar's exact test (then the number of pairs must have been fixed beforehand). Otherwise the
    verdict is "not shown" where the interval of the difference excludes ``smallest_difference``
    in both directions, and "underpowered" where it does not: too few trials to tell.

    Args:
        counts: outcomes of the pairs.
        names: of A and B, for the sentence.
        confidence: one minus the type-1 error, in (0, 1).
        smallest_difference: in success rate, below which a difference does not matter, in (0, 1].
        sequential: whether someone looked before the last trial.

    Raises:
        ValueError: a number is out of range.
    """
    if not 0 < smallest_difference <= 1 or not 0 < confidence < 1:
        raise ValueError(
            f"smallest_difference is {smallest_difference} and confidence {confidence}, expected "
            "numbers between 0 and 1"
        )
    won, pairs = counts.successes, counts.pairs
    low, high = newcombe(won[0], pairs, won[1], pairs, confidence)
    strength = evidence(counts.only_a, counts.only_b)
    p_value = mcnemar(counts.only_a, counts.only_b)
    level = 1 - confidence
    shown = strength >= 1 / level * (1 - 1e-12) if sequential else p_value <= level
    more = None
    word: Word
    if shown:
        word = "better" if counts.only_a > counts.only_b else "worse"
    elif -smallest_difference < low and high < smallest_difference:
        word = "not shown"
    else:
        word = "underpowered"
        more = _more_pairs(won, pairs, smallest_difference, level)
    difference = (won[0] - won[1]) / pairs
    return Comparison(
        verdict=word,
        sentence=_sentence(word, names, won, pairs, (low, high), smallest_difference, more),
        difference=difference,
        interval=(low, high),
        barnard_p=barnard(won[0], pairs, won[1], pairs),
        mcnemar_p=p_value,
        evidence=strength,
        win_share=win_share_interval(counts.only_a, counts.only_b, confidence),
        pairs=pairs,
        more_pairs=more,
    )


def _more_pairs(won: tuple[int, int], pairs: int, difference: float, level: float) -> int | None:
    """Pairs that Barnard's test at power 0.8 still needs, around the rate seen so far."""
    middle = min(max(sum(won) / (2 * pairs), difference / 2), 1 - difference / 2)
    needed = required_trials(middle - difference / 2, middle + difference / 2, 0.8, level)
    return None if needed is None else max(needed - pairs, 1)


def _sentence(
    word: Word,
    names: tuple[str, str],
    won: tuple[int, int],
    pairs: int,
    interval: tuple[float, float],
    smallest: float,
    more: int | None,
) -> str:
    a, b = names
    seen = f"{won[0]} against {won[1]} successes of {pairs} each"
    bounds = f"{interval[0]:+.0%} to {interval[1]:+.0%}"
    if word in ("better", "worse"):
        return f"{a} is {word} than {b}: {seen}, a difference of {bounds}."
    if word == "not shown":
        return (
            f"No difference shown between {a} and {b}: {seen}; one of {smallest:.0%} or more is "
            f"excluded ({bounds})."
        )
    wanted = "many more" if more is None else f"about {more} more"
    return (
        f"Underpowered: {seen} are not enough to tell {a} from {b} ({bounds} by the interval). To "
        f"find a difference of {smallest:.0%}, {wanted} trials of each are needed; fewer where it "
        "is larger."
    )
