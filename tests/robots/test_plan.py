"""Order, codes, seal and journal: blind, balanced, and the same after a crash."""

from __future__ import annotations

import json
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.robots.journal import Journal, read_journal
from robo.robots.plan import Plan, draw_codes, draw_order, read_plan
from robo.robots.robot import RobotError
from robo.robots.sealing import redacted, seal, unseal


@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 2**32), st.integers(1, 3))
def test_every_block_holds_every_policy_once(
    policies: int, trials: int, seed: int, tasks: int
) -> None:
    names = tuple(f"policy-{i}" for i in range(policies))
    plan = Plan(names, tuple(string.ascii_lowercase[:tasks]), trials)
    generator = np.random.default_rng(seed)
    codes = draw_codes(plan, generator)
    order = draw_order(plan, list(codes), generator)
    assert sorted(codes.values()) == sorted(names)
    assert [trial.index for trial in order] == list(range(policies * trials))
    assert Counter((t.block, t.code) for t in order) == Counter(
        (block, code) for block in range(trials) for code in codes
    )
    for start in range(0, len(order), policies):  # interleaved: whole blocks one after another
        block = order[start : start + policies]
        assert len({(t.block, t.task, t.initial_state) for t in block}) == 1


def test_order_and_codes_are_random() -> None:
    plan = Plan(("a", "b"), trials=20)
    orders, first = set(), Counter()
    for seed in range(40):
        generator = np.random.default_rng(seed)
        codes = draw_codes(plan, generator)
        order = draw_order(plan, list(codes), generator)
        first[codes[order[0].code]] += 1
        orders.add(tuple((t.block, codes[t.code]) for t in order))
    assert len(orders) == 40 and 8 < first["a"] < 32


def test_plan_files(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        'policies = ["runs/a", "runs/b"]\ntask = "pick up the cup"\ninitial_states = "3-6"\n'
        '[descriptions]\n3 = "cup on mark A"\n'
    )
    plan = read_plan(path)
    assert plan.trials == 4 and plan.states == (3, 4, 5, 6)
    assert plan.tasks == ("pick up the cup",) and plan.descriptions == {"3": "cup on mark A"}
    other = tmp_path / "plan.json"
    other.write_text(json.dumps({"policies": ["a"], "trials": 2, "tasks": ["x", "y"]}))
    assert read_plan(other) == Plan(("a",), ("x", "y"), 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policies = [", "cannot read"),
        ("policy = 'a'", "unknown entries"),
        ("policies = []", "0 policies"),
        ("policies = ['a', 'a']", "twice"),
        ("policies = ['a']\ninitial_states = 'x-3'", "not as expected"),
        ("policies = ['a']\ntrials = 0", "0 trials"),
    ],
)
def test_plans_that_compare_nothing_are_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(RobotError, match=words):
        read_plan(path)


def test_seal_hides_names_and_opens(tmp_path: Path) -> None:
    path = tmp_path / "sealed.bin"
    seal(path, {"K": "runs/secret-policy", "R": "expert:0.3"})
    assert b"secret" not in path.read_bytes() and b"expert" not in path.read_bytes()
    assert unseal(path) == {"K": "runs/secret-policy", "R": "expert:0.3"}
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RobotError, match="restore"):
        unseal(path)


def test_names_are_taken_out_of_messages() -> None:
    text = redacted("cannot read /runs/bold/policy of bold", ["/runs/bold", "runs/shy"])
    assert "bold" not in text and "(policy)" in text


@given(share=st.floats(0, 1))
def test_a_journal_cut_anywhere_keeps_its_whole_lines(share, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(path)
    for number in range(4):
        journal.write("trial", {"trial": number, "note": "über\n" * number}, durable=number == 2)
    journal.close()
    content = path.read_bytes()
    cut = round(share * len(content))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    again = Journal(path)
    again.write("trial", {"trial": 9})
    again.close()
    assert [entry["trial"] for entry in read_journal(path)] == [*range(whole), 9]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"kind": "trial"}\n{"kind": "tri\n{"kind": "trial"}\n')
    with pytest.raises(RobotError, match="line 2"):
        Journal(path)
