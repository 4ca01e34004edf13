"""The explorer in a real browser: click, scrub, type, look; skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks._browser import Browser, missing
from robo.data import EpisodeStore
from robo.rewards.potential import ProgressDifferenceReward, SignalPotential
from robo.rewards.success import SuccessReward
from robo.web.explorer import Explorer
from tests.web.conftest import episode

LACKING = missing()
pytestmark = [
    pytest.mark.skipif(LACKING is not None, reason=LACKING or ""),
    pytest.mark.slow,
]


@pytest.fixture
def page(store: EpisodeStore, tmp_path: Path) -> Iterator[Browser]:
    difference = ProgressDifferenceReward(SuccessReward(), SignalPotential("progress"))
    rewards = {"success": SuccessReward(), "difference": difference}
    explorer = Explorer(store, rewards, tmp_path / "out")
    try:
        with Browser() as browser:
            browser.open(explorer.url)
            browser.wait("document.body.dataset.ready === '0'")
            yield browser
    finally:
        explorer.close()


def test_explorer(page: Browser, tmp_path: Path) -> None:
    # The list, its filters, and another episode by a click.
    assert page.run("return state.shown.length") == 5
    page.wait("state.scores && state.scores.done === 5")
    page.run("element('outcome').value = 'failure'; refreshList()")
    assert page.run("return state.shown.map((e) => e.index)") == [1, 3]
    page.click("#episode-3")
    page.wait("document.body.dataset.ready === '3'")
    page.click("#filters button[type=reset]")
    page.wait("state.shown.length === 5")

    # Scrubbing by mouse moves time, views and numbers together.
    red = (
        "const copy = new OffscreenCanvas(32, 24);"
        "const pen = copy.getContext('2d', {willReadFrequently: true});"
        "pen.drawImage(views.views[0].canvas, 0, 0);"
        "return [...pen.getImageData(0, 0, 32, 24).data]"
        ".findIndex((v, i) => i % 4 === 0 && v > 200)"
    )
    before = page.run(red)
    page.drag(".plot.wide canvas", 0.1, 0.98, 12)
    page.wait("state.step > 25")
    page.wait(f"(() => {{ {red} }})() > {before}")
    assert page.run("return element('clock').textContent").startswith("step ")
    assert page.run("return Number(element('timeline').value) === state.step")

    # Keys: ends, steps, play, neighbours.
    page.press("Home")
    page.wait("state.step === 0")
    page.press("Right", "Right", "Left")
    page.wait("state.step === 1")
    page.press("n")
    page.wait("state.step === 18")
    page.press("End", "k")
    page.wait("document.body.dataset.ready === '2'")
    page.run("document.activeElement.blur()")
    page.press(" ")
    page.wait("state.step > 2")
    page.press(" ")
    assert page.run("return state.playing") is False

    # A bookmark and a clip; the clip's file plays.
    page.type("#note", "look here")
    page.click("#bookmark-form button")
    page.wait("state.bookmarks.length === 1 && document.querySelector('#bookmarks li')")
    page.click("#clip-form button")
    page.wait("document.querySelector('#message a')", 60)
    decoded = page.run(
        "const video = document.createElement('video'); video.muted = true;"
        "video.src = document.querySelector('#message a').href;"
        "await video.play(); await new Promise((r) => video.requestVideoFrameCallback(r));"
        "return [video.videoWidth, video.videoHeight, video.error];"
    )
    assert decoded == [1920, 1080, None]
    assert page.screenshot(tmp_path / "page.png").stat().st_size > 20_000
    assert page.errors() == []


def test_long_episodes_are_loaded_where_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four sheets a view, of which two fit: every frame is right, and memory stays bounded."""
    monkeypatch.setattr("robo.web.sheets.SHEET", 64)
    shown = episode(0)
    shown.frames = {"cam.top": shown.frames["front"], "a/b": shown.frames["left_wrist"]}
    with EpisodeStore(tmp_path / "store") as made:
        made.extend([shown, shown])
    explorer = Explorer(EpisodeStore(tmp_path / "store", mode="r"), {}, tmp_path / "out")
    sheet = 64 * 48
    left = (
        "(view) => { const pen = new OffscreenCanvas(32, 24).getContext('2d');"
        "pen.drawImage(view.canvas, 0, 0);"
        "return [...pen.getImageData(0, 12, 32, 1).data].findIndex((v, i) => i % 4 === 0"
        " && v > 200) / 4; }"
    )
    try:
        with Browser() as browser:
            browser.open(explorer.url)
            browser.wait("document.body.dataset.ready === '0'")
            browser.run("views.sheets.most = given[0]", 4 * sheet)
            for step in (24, 0, 10, 3, 18, 24, 7):
                browser.run("seek(given[0])", step)
                browser.wait(f"views.views.every((v) => v.drawn === {step // 2})")
                assert browser.run(f"return views.views.map({left})")[0] == step // 2
                assert browser.run("return views.sheets.pixels") <= 4 * sheet
            held = browser.run("return [...views.sheets.kept.values()].map((s) => s.pixels)")
            assert sum(held) == browser.run("return views.sheets.pixels")
            browser.run("await select(1, 24)")
            browser.wait("views.views.every((v) => v.drawn === 12)")
            assert browser.run("return document.querySelectorAll('figure.late').length") == 0
            assert browser.errors() == []
    finally:
        explorer.close()


def test_every_control_has_a_name_and_can_be_reached(page: Browser) -> None:
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, select, canvas[role]')].filter("
        "(e) => !(e.textContent.trim() || e.ariaLabel || e.labels && e.labels.length))"
        ".map((e) => e.outerHTML)"
    )
    assert nameless == []
    reached = set()
    for _ in range(40):
        page.press("Tab")
        reached.add(page.run("return document.activeElement.id"))
    assert {"search", "outcome", "episodes", "play", "timeline", "note"} <= reached
    option = page.run(
        "return document.querySelector('#episodes').getAttribute('aria-activedescendant')"
    )
    assert option == "episode-0"


def test_an_episode_of_another_store_cannot_be_asked_for(page: Browser) -> None:
    assert page.run("return (await fetch('/api/episode/77')).status") == 400
    assert page.run(
        "return (await fetch('/api/clip', {method: 'POST', body: '{}'})).status"
    ) == 403  # fmt: skip
