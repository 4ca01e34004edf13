"""Episodes made from episodes."""

from __future__ import annotations

import numpy as np

from robo.assess import edits

UP = np.linspace(0, 1, 11)


def brightness_of(episode, view="front"):
    return (episode.frames[view].mean((1, 2, 3)) / 255).round(2).tolist()


def test_played_backwards(make_episode):
    back = edits.reversed_time(make_episode(UP, True))
    assert len(back) == 10 and not back.success and not back.terminated
    assert brightness_of(back) == UP[::-1].round(2).tolist()
    assert np.allclose(back.observation["state"][:, 0], UP[::-1])
    # Arriving in s_0 has no signal: the first one stands in.
    assert np.allclose(back.signals["progress"], [*UP[9:0:-1], UP[1]])


def test_newest_frame_is_shown_between_frames(make_episode):
    part = edits.resequence(make_episode(UP, stride=5), [0, 3, 4, 5, 7, 9])
    assert part.frame_step.tolist() == [0, 3, 5]
    assert brightness_of(part) == [0, 0.5, 0.5]


def test_counters_do_not_run_backwards(make_episode):
    done = 10 * UP[1:]
    episode = make_episode(UP, route_completion=done, delta_route_completion=np.ones(10))
    episode.signals["delta_height"] = np.diff(UP, prepend=0)[1:].astype(np.float32)
    episode.signals["height"] = np.array([1, 2, 3, 2, 1, 0, 1, 2, 3, 4], np.float32)
    loop = edits.resequence(episode, [2, 3, 4, 3, 2, 3, 4, 5])
    assert np.allclose(loop.signals["delta_route_completion"], [1, 1, 0, 0, 0, 0, 1])
    assert np.allclose(loop.signals["delta_height"], [1, -1, 1, -1, 1, -1, -1])
    assert np.allclose(loop.signals["route_completion"], done[[2, 3, 2, 1, 2, 3, 4]])


def test_pictures(make_episode):
    episode = make_episode(UP, True)
    episode.frames["side"] = 255 - episode.frames["side"]
    assert brightness_of(edits.frozen(episode)) == [0] * 11
    assert brightness_of(edits.blank(episode), "side") == [0] * 11
    assert brightness_of(edits.without_view(episode, "side")) == UP.round(2).tolist()
    assert brightness_of(edits.without_view(episode, "side"), "side") == [0] * 11
    swapped = edits.swapped_views(episode, "front", "side")
    assert brightness_of(swapped) == brightness_of(episode, "side") and swapped.success
    pasted = edits.goal_pasted(make_episode(UP / 2), make_episode(UP, True))
    assert (pasted.frames["front"][0, :4, :4] == 255).all()
    assert (pasted.frames["front"][0, 4:] == 0).all()
    assert brightness_of(episode) == UP.round(2).tolist()  # the original is as it was


def test_cut_and_instructed(make_episode):
    short = edits.cut(make_episode(UP, True), 0.5)
    assert len(short) == 5 and not short.terminated
    assert len(edits.cut(make_episode([0, 1], True), 0.1)) == 1
    told = edits.instructed(make_episode(UP, True), "open the drawer")
    assert told.info.instruction == "open the drawer" and not told.success
