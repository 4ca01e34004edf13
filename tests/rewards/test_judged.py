from __future__ import annotations

import pytest
import torch

from robo.errors import RoboError
from robo.rewards.base import Reward
from robo.rewards.judged import JudgedReward
from robo.rollout import CameraSchedule
from tests.rewards.grm.conftest import Synthetic
from tests.rewards.grm.test_grm_potential import Stream


def test_every_ended_episode_is_judged_once_by_its_last_pictures():
    stream, seen = Stream(Synthetic.draw, steps=20), []

    def judge(pictures, info):
        seen.append({view: image.clone() for view, image in pictures.items()})
        assert info.task == "synthetic/Reach"
        return len(seen) % 2 == 1

    reward = JudgedReward(judge, CameraSchedule(height=32, width=32, stride=3))
    assert isinstance(reward, Reward)
    parts = [reward(stream.cut(first, first + 5)).total for first in range(0, 20, 5)]
    total = torch.cat(parts)
    done = torch.from_numpy(stream.done)
    assert len(seen) == int(done.sum()) == reward.counts["judged"] > 4
    assert int(total.sum()) == reward.counts["judged_successes"] == (len(seen) + 1) // 2
    assert bool((total[~done] == 0).all())
    step, env = (int(i) for i in torch.nonzero(done)[0])
    shown = stream.shot(int(stream.episode[step, env]), int(stream.age[step, env]) + 1)
    assert any(bool((one["side"].numpy() == shown["side"]).all()) for one in seen)
    other = JudgedReward(judge, CameraSchedule())
    other.load_state_dict(reward.state_dict())
    assert other.counts == reward.counts


def test_without_frames_there_is_nothing_to_judge():
    rollout = Stream(Synthetic.draw).cut(0, 3)
    rollout.frames = None
    with pytest.raises(RoboError, match="no camera frames"):
        JudgedReward(lambda pictures, info: True, CameraSchedule())(rollout)
