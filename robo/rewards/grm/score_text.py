"""The score grammar of the General Reward Model's answers, as text.

An answer is ``<score>+37%</score>``: a signed percentage between two tags (Robo-Dopamine, arXiv
2512.23703, figure 8; its labels carry one decimal, its prompt asks for whole numbers). Reading is
lenient about what the number looks like, and strict about there being one: what cannot be read is
NaN, never 0.
"""

from __future__ import annotations

import math
import re

OPEN, CLOSE = "<score>", "</score>"
ALPHABET = frozenset(OPEN + CLOSE + "+-0123456789.%")
"""Every character that an answer may hold."""

_ANSWER = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))\s*%?\s*", re.ASCII)
_WHOLE = re.compile(r"[+-]?(?:100(?:\.0{1,4})?|(?:0|[1-9][0-9]?)(?:\.[0-9]{1,4})?)")
_BEGUN = re.compile(r"[+-]?(?:100(?:\.0{0,4})?|(?:(?:0|[1-9][0-9]?)(?:\.[0-9]{0,4})?)?)")


def parse_score(text: str) -> float:
    """Signed hop of an answer.

    The last ``<score>`` counts; the percentage is clipped to [-100, 100].

    Returns:
        The hop in [-1, 1]; NaN for an answer without a closing tag, or with anything but one
        decimal number between the tags.
    """
    start = text.rfind(OPEN)
    end = text.find(CLOSE, start + len(OPEN)) if start >= 0 else -1
    if end < 0:
        return math.nan
    found = _ANSWER.fullmatch(text, start + len(OPEN), end)
    if found is None:
        return math.nan
    return min(1.0, max(-1.0, float(found[1]) / 100.0))


def format_score(hop: float, decimals: int = 0) -> str:
    """The answer that says ``hop``, with a sign unless it rounds to 0; NaN gives ``invalid``.

    Args:
        hop: in [-1, 1].
        decimals: of the percentage; 0 as the prompt asks, 1 as the published labels have.
    """
    if not math.isfinite(hop):
        return f"{OPEN}invalid{CLOSE}"
    percent = f"{100.0 * hop:+.{decimals}f}"
    if float(percent) == 0.0:
        percent = percent[1:]
    return f"{OPEN}{percent}%{CLOSE}"


def may_go_on(text: str) -> bool:
    """Whether some answer of the grammar begins with ``text``.

    The grammar is ``<score>``, an optional sign, a number from 0 to 100 with at most four
    decimals and no leading zero, an optional ``%``, ``</score>``.
    """
    if len(text) <= len(OPEN):
        return OPEN.startswith(text)
    if not text.startswith(OPEN):
        return False
    body = text[len(OPEN) :]
    cut = next((at for at, character in enumerate(body) if character in "%<"), len(body))
    number, tail = body[:cut], body[cut:]
    if not tail:
        return _BEGUN.fullmatch(number) is not None
    return _WHOLE.fullmatch(number) is not None and CLOSE.startswith(tail.removeprefix("%"))


def is_answer(text: str) -> bool:
    """Whether ``text`` is a whole answer of the grammar."""
    return text.endswith(CLOSE) and may_go_on(text)
