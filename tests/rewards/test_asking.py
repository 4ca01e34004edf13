"""A person at the terminal as the judge of episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.rewards import asking
from robo.rewards.asking import Person
from robo.rewards.config import RewardConfig, make_reward
from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.rewards.grm.refresh_config import RefreshConfig
from robo.rollout import EpisodeInfo
from tests.rewards.grm.conftest import Synthetic, episode
from tests.rewards.grm.test_grm_potential import Stream


def test_it_is_shown_the_end_and_asked_until_it_answers(tmp_path):
    answers, asked = ["", "perhaps", " Y "], []
    file = tmp_path / "end.png"

    def ask(question):
        asked.append(question)
        return answers[len(asked) - 1]

    pictures = {name: torch.full((8, 6, 3), i, dtype=torch.uint8) for i, name in enumerate("ab")}
    assert Person(file, ask)(pictures, EpisodeInfo("mujoco/Lift", "lift the cube"))
    assert len(asked) == 3 and "lift the cube" in asked[0] and str(file) in asked[0]
    shown = np.asarray(Image.open(file))
    assert shown.shape == (8, 12, 3) and shown[0, 0, 0] == 0 and shown[0, -1, 0] == 1
    assert not Person(file, lambda _: "no")(pictures, EpisodeInfo("mujoco/Lift"))

    def nobody(question):
        raise EOFError

    with pytest.raises(RoboError, match="terminal"):
        Person(file, nobody)(pictures, EpisodeInfo("mujoco/Lift"))


def test_gold_of_a_person_is_also_the_label_of_a_refresh(tmp_path, monkeypatch):
    torch.manual_seed(0)
    grm = CompactGRM(CompactGRMConfig(height=32, width=32, channels=(4, 8, 8), embedding=16))
    demos = [episode(seed, stride=4)[0] for seed in range(3)]
    for kind, row in (("start", 0), ("goal", -1)):
        grm.reference[kind] = {v: torch.from_numpy(p[[row]]) for v, p in demos[0].frames.items()}
    grm.save(tmp_path / "grm")
    with EpisodeStore(tmp_path / "store") as store:
        store.extend(demos)
    answers = []

    def answering(picture: Path) -> Person:
        def ask(question):
            answers.append(len(answers) % 3 == 0)
            return "y" if answers[-1] else "n"

        return Person(picture, ask)

    monkeypatch.setattr(asking, "Person", answering)
    config = RewardConfig(
        kind="grm",
        grm=tmp_path / "grm",
        refresh_store=tmp_path / "store",
        refresh=RefreshConfig(fewest_failures=1000),
        stride=3,
        gold="person",
        person_picture=tmp_path / "end.png",
    )
    reward = make_reward(config, 0.99, "keep")
    stream = Stream(Synthetic.draw, steps=20)
    terms = [reward(stream.cut(first, first + 10)).terms["judged"] for first in (0, 10)]
    ended = int(stream.done.sum())
    # The rollout's own success bits are others: every question was asked once.
    assert len(answers) == ended > 4 and sum(answers) != int(stream.terminated.sum())
    assert int(torch.cat(terms).sum()) == sum(answers) == reward.counts["judged_successes"]
    kept = reward.potential.buffer
    assert 0 < kept.count(True) <= sum(answers)
    assert kept.count(False) <= ended - sum(answers)
    assert {"judged", "rows", "invalid"} <= reward.counts.keys()
