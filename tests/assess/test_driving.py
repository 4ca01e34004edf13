"""Reports of driven routes, on synthetic episodes; and their pictures."""

from __future__ import annotations

import numpy as np
import pytest

from robo.assess.driving import driving_report, driving_table, route_summary
from robo.commands.driving import raster_scale
from robo.errors import RoboError, StoreError
from robo.media.driving_video import RASTER, signal_trace, with_raster
from robo.media.video import VideoError
from robo.policies.presets import CARL_SMOKE
from robo.rewards.route_completion import RouteCompletionReward
from robo.rollout import Episode, EpisodeInfo
from robo.sim.carla.birdseye_picture import EGO_COLOR
from robo.sim.carla.signals import SIGNAL_NAMES


def episode(steps: int = 40, red_light: bool = False) -> Episode:
    """A straight drive over half a route, 1 m a step, perhaps through a red light at its end."""
    signals = {name: np.zeros(steps, np.float32) for name in SIGNAL_NAMES}
    signals["route_completion"] = np.linspace(50 / steps, 50, steps, dtype=np.float32)
    signals["delta_route_completion"][:] = 50 / steps
    signals["distance"][:] = 1.0
    signals["speed"][:] = 10.0
    signals["speed_limit"][:] = 12.0
    signals["lane_width"][:] = 3.5
    signals["red_light"][-1] = float(red_light)
    return Episode(
        info=EpisodeInfo("carla-standin/Grid", seed=7),
        observation={"birdseye": np.zeros((steps + 1, 10, 64, 64), np.uint8)},
        action=np.zeros((steps, 2), np.float32),
        reward=np.full(steps, 0.5 / steps, np.float32),
        success=False,
        terminated=red_light,
        signals=signals,
    )


def test_a_route_is_summed_up_from_the_signals_of_its_episode() -> None:
    summary = route_summary(episode(red_light=True))
    assert summary.route_completion == pytest.approx(50)
    assert summary.red_lights == 1 and summary.collisions == 0
    assert summary.distance == pytest.approx(40) and summary.time == pytest.approx(4)
    assert summary.score == pytest.approx(50 * 0.7)


def test_report_and_table_hold_every_route_and_the_mean() -> None:
    summaries = [route_summary(episode()), route_summary(episode(red_light=True))]
    report = driving_report([7, 8], ["carla-standin/Grid"] * 2, summaries)
    assert [row["seed"] for row in report["routes"]] == [7, 8]
    assert report["mean"]["score"] == pytest.approx((50 + 35) / 2)
    assert report["mean"]["red_lights"] == pytest.approx(0.5)
    lines = driving_table(report)
    assert len(lines) == 4 and "42.50" in lines[-1]


def test_the_table_tells_walkers_from_vehicles_and_every_ending() -> None:
    ended = {
        "collision_walker": "hit walker",
        "collision_vehicle": "hit vehicle",
        "collision_static": "hit other",
        "off_road": "off road",
        "route_deviation": "off route",
        "blocked": "blocked",
    }
    for signal, title in ended.items():
        driven = episode()
        driven.signals[signal][-1] = 1.0
        report = driving_report([7], ["carla-standin/Grid"], [route_summary(driven)])
        head, route, mean = driving_table(report)
        end = head.index(title) + len(title)
        assert route[:end].endswith(" 1.00") and mean[:end].endswith(" 1.00")
        assert route.count(" 1.00") == 1


def test_an_episode_of_another_task_has_no_route() -> None:
    other = Episode(EpisodeInfo("gym/Pendulum-v1"), {}, np.zeros((1, 1)), np.zeros(1), False, False)
    with pytest.raises(RoboError, match="no signal route_completion"):
        route_summary(other)


def test_the_video_shows_completion_and_every_term_of_the_reward() -> None:
    driven = episode(red_light=True)
    trace = signal_trace(driven, RouteCompletionReward()).check(len(driven))
    assert trace.progress is not None and trace.progress[-1] == pytest.approx(0.5)
    assert sum(term for term in trace.terms.values()) == pytest.approx(trace.total, abs=1e-5)
    assert trace.total[-1] == pytest.approx(50 / 40 - 1)
    shown = with_raster(driven, 0.5, 50.0)
    assert shown.frames[RASTER].shape[0] == len(driven) + 1 and shown.frames[RASTER].shape[-1] == 3
    with pytest.raises(VideoError, match="no birdseye"):
        driven.observation = {}
        with_raster(driven, 0.5, 50.0)


def test_the_video_draws_the_car_where_the_options_put_it() -> None:
    smoke = CARL_SMOKE.options
    shown = with_raster(episode(2), *raster_scale(smoke)).frames[RASTER][0]
    white = (shown == EGO_COLOR).all(-1)
    row = 64 - 14  # pixels at 1 px/m, from the top
    assert white[row, 32] and not white[: row - 4].any() and not white[row + 4 :].any()
    # Without options it is CaRL's picture.
    assert raster_scale({}) == (2.0, 50.0)


def test_the_video_of_a_reward_that_looks_at_frames(tiny_clip) -> None:
    from robo.perception.clip_config import ClipConfig
    from robo.rewards.language_baselines import FrameBaselineReward
    from robo.rewards.language_config import LanguageGoalConfig

    config = LanguageGoalConfig(clip=ClipConfig(model=str(tiny_clip)))
    reward, driven = FrameBaselineReward("roboclip", config), episode()
    with pytest.raises(StoreError, match="camera views"):
        signal_trace(driven, reward)
    states = len(driven) + 1
    assert reward.camera is not None
    size = (states, reward.camera.height, reward.camera.width, 3)
    pictures = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    driven.frames, driven.frame_step = {"bird": pictures}, np.arange(states)
    trace = signal_trace(driven, reward).check(len(driven))
    wanted = reward.encoder.images(pictures[1:]) @ reward.positive
    assert trace.total == pytest.approx(wanted.numpy(), abs=1e-5)
