from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.rewards.grm.score_text import (
    ALPHABET,
    format_score,
    is_answer,
    may_go_on,
    parse_score,
)

MALFORMED = [
    "",
    "I think it went well",
    "<score>",
    "<score></score>",
    "<score>%</score>",
    "<score>+</score>",
    "<score>abc%</score>",
    "<score>+50%",
    "+50%",
    "<score>nan%</score>",
    "<score>inf</score>",
    "<score>1e2%</score>",
    "<score>5 0%</score>",
    "<score>+-5%</score>",
    "<score>50%%</score>",
    "<score>1,5%</score>",
    "<score>0x10%</score>",
    "<score>\u0665%</score>",
    "<score>+" + "1" * 5000,
    "</score>50%<score>",
    "<score>invalid</score>",
    "<score>+50%</score> or rather <score>?</score>",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_answers_are_invalid_and_never_zero(text):
    assert math.isnan(parse_score(text))


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("<score>+37%</score>", 0.37),
        ("<score>-15.3%</score>", -0.153),
        ("<score>0%</score>", 0.0),
        ("<score>0.0%</score>", 0.0),
        ("well: <score> 12.5 </score>.", 0.125),
        ("<score>+150%</score>", 1.0),
        ("<score>-999</score>", -1.0),
        ("<score>.5%</score>", 0.005),
        ("<score>+5%</score> no, <score>-5%</score>", -0.05),
    ],
)
def test_scores_are_read_and_clipped_and_the_last_counts(text, hop):
    assert parse_score(text) == pytest.approx(hop)


@given(st.floats(-1, 1), st.integers(0, 6))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_again(hop, decimals):
    text = format_score(hop, decimals)
    assert parse_score(text) == pytest.approx(hop, abs=0.0051 / 10**decimals)
    if decimals <= 4:
        assert is_answer(text)


def test_written_scores_have_a_sign_unless_they_are_zero():
    assert format_score(0.5) == "<score>+50%</score>"
    assert format_score(-0.153, 1) == "<score>-15.3%</score>"
    assert format_score(0.0) == format_score(-0.001) == "<score>0%</score>"
    assert math.isnan(parse_score(format_score(float("nan"))))


@given(st.sampled_from(["+37", "-100", "0", "12.5", "+99.9999", "100.0"]), st.booleans())
@settings(max_examples=20, deadline=None)
def test_every_beginning_of_an_answer_may_go_on(number, percent):
    text = f"<score>{number}{'%' if percent else ''}</score>"
    assert all(may_go_on(text[:end]) for end in range(len(text) + 1))
    assert is_answer(text) and not is_answer(text[:-1])


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_whoever_stays_in_the_grammar_gives_a_readable_answer_in_few_characters(data):
    text = ""
    while not is_answer(text):
        allowed = sorted(c for c in ALPHABET if may_go_on(text + c))
        assert allowed
        text += data.draw(st.sampled_from(allowed))
        assert len(text) <= len("<score>+100.0000%</score>")
    assert abs(parse_score(text)) <= 1


@pytest.mark.parametrize("text", ["x", "<score>x", "<score>101", "<score>00", "<score>+5%%", "<s<"])
def test_what_leaves_the_grammar_may_not_go_on(text):
    assert not may_go_on(text)
