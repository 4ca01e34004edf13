"""The reward explorer in headless Chromium: time to open a store, pictures a second in scrubbing.

A store of 200 episodes of `mujoco/Lift` is recorded once (about a minute). `robo explore` serves
it with three rewards; a page is opened afresh each time, the mouse is dragged to and fro over the
curves, an arrow key is held. What counts: the time from the command to the first episode drawn,
while the store is being scored; how many different steps were drawn, views, curves and numbers
together; and that nothing was written to the browser's console. Exits with 1 beyond a limit.

    python benchmarks/explorer_speed.py --out benchmarks/results/explorer_speed.json
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _browser import Browser, missing
from _study import machine, one_thread, publish

from robo.commands.collect import Collect
from robo.data import open_store
from robo.errors import RoboError

OPEN_LIMIT, SCRUB_LIMIT = 2.0, 20.0
"""Seconds, and pictures a second, that the claim allows."""


@dataclass(frozen=True)
class Options:
    """Measure the explorer."""

    episodes: int = 200
    """Of the store; half of them fail."""
    store: Path | None = None
    """An episode store in place of the recorded one."""
    rewards: tuple[str, ...] = ("success", "naive:progress", "shaped:progress")
    """What `robo explore` draws."""
    starts: int = 3
    """Times that the command is started and its page opened; the median counts."""
    opens: int = 5
    """Times that the page is opened once all is scored; the median counts."""
    drags: int = 5
    """Times that the mouse is dragged over the curves, and back."""
    work: Path = Path("runs/benchmarks/explorer_speed")
    """Where the store is recorded."""
    out: Path | None = None
    """JSON file to write."""


def recorded(options: Options) -> Path:
    """The store, recorded where it is missing."""
    if options.store is not None:
        return options.store
    folder = options.work / f"collect_{options.episodes}"
    if not (folder / "done").exists():
        half = options.episodes // 2
        failures = (f"hover:{options.episodes - half}",)
        Collect(demonstrations=half, failures=failures, out=folder).run()
        (folder / "done").touch()
    return folder


class Server:
    """``robo explore`` in a process of its own, as a user starts it."""

    def __init__(self, options: Options, store: Path) -> None:
        """Start it and wait for its address."""
        command = [sys.executable, "-m", "robo.cli", "explore", str(store), "--rewards"]
        command += [*options.rewards, "--out", str(options.work / "explore")]
        began = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                self.seconds = time.perf_counter() - began
                return
        raise RoboError(f"robo explore did not start: {''.join(said)}")

    def close(self) -> None:
        """Interrupt it."""
        self.process.terminate()
        self.process.wait(timeout=30)


def started(options: Options, store: Path, browser: Browser) -> tuple[Server, list[list[float]]]:
    """The last server, and per start the seconds of the command and of its page."""
    seconds: list[list[float]] = []
    while True:
        server = Server(options, store)
        try:
            seconds.append([server.seconds, opened(browser, server.url)])
        except BaseException:
            server.close()
            raise
        if len(seconds) >= options.starts:
            return server, seconds
        browser.open("about:blank")  # the page would go on asking a server that is gone
        server.close()


def holds(open_seconds: float, rate: float, errors: list[str]) -> bool:
    """Whether the store opened fast enough, command and page, and scrubbed so without errors."""
    return open_seconds <= OPEN_LIMIT and rate >= SCRUB_LIMIT and not errors


def opened(browser: Browser, url: str) -> float:
    """Seconds from navigation until the list and the first episode's views and curves are drawn."""
    browser.open("about:blank")
    browser.open(url)
    browser.wait("document.body.dataset.ready !== undefined && state.drawn > 0")
    # The page's own clock: what WebDriver takes to answer is not the page's.
    return float(browser.run("return readyAt / 1000"))


def scrubbed(browser: Browser, drags: int) -> list[float]:
    """Different steps drawn per second, of each drag there and back."""
    rates = []
    for _ in range(drags):
        before = browser.run("return [state.drawn, performance.now()]")
        browser.drag(".plot.wide canvas", 0.08, 0.98, 60)
        browser.drag(".plot.wide canvas", 0.98, 0.08, 60)
        after = browser.run("return [state.drawn, performance.now()]")
        rates.append(1000 * (after[0] - before[0]) / (after[1] - before[1]))
    return rates


def keyed(browser: Browser) -> float:
    """Steps drawn per second while an arrow key repeats."""
    browser.press("Home")
    browser.wait("state.step === 0")
    before = browser.run("return [state.drawn, performance.now()]")
    browser.press(*["Right"] * 50)
    after = browser.run("return [state.drawn, performance.now()]")
    return 1000 * (after[0] - before[0]) / (after[1] - before[1])


def main(options: Options) -> dict[str, Any]:
    """Open, scrub, press.

    Raises:
        RoboError: no Chromium, or a server that does not start.
    """
    if lacking := missing():
        raise RoboError(f"this benchmark needs headless Chromium: {lacking}")
    folder = recorded(options)
    store = open_store(folder)
    longest = max(range(len(store)), key=lambda i: store.info(i).length)
    with Browser() as browser:
        server, starts = started(options, folder, browser)
        try:
            browser.wait(f"state.scores && state.scores.done === {len(store)}", 600)
            times = [opened(browser, server.url) for _ in range(options.opens)]
            browser.run("await select(given[0])", longest)
            rates = scrubbed(browser, options.drags)
            keys = keyed(browser)
            errors = browser.errors()
        finally:
            server.close()
    seconds, rate = statistics.median(times), statistics.median(rates)
    command, first = (statistics.median(part) for part in zip(*starts, strict=True))
    whole = [sum(pair) for pair in starts]
    return {
        "name": "explorer_speed",
        "episodes": len(store),
        "rewards": list(options.rewards),
        "command_seconds": round(command, 2),
        "open_seconds_while_scoring": round(first, 2),
        "command_to_drawn_seconds": round(statistics.median(whole), 2),
        "command_to_drawn_seconds_range": [round(min(whole), 2), round(max(whole), 2)],
        "open_seconds": round(seconds, 2),
        "open_seconds_range": [round(min(times), 2), round(max(times), 2)],
        "scrub_per_second": round(rate, 1),
        "scrub_per_second_range": [round(min(rates), 1), round(max(rates), 1)],
        "key_per_second": round(keys, 1),
        "steps_of_episode": store.info(longest).length,
        "console_errors": errors,
        "limits": {"command_to_drawn_seconds": OPEN_LIMIT, "scrub_per_second": SCRUB_LIMIT},
        "within_limits": holds(statistics.median(whole), rate, errors),
        "machine": machine(),
    }


if __name__ == "__main__":
    one_thread()
    chosen = tyro.cli(Options)
    try:
        measured = main(chosen)
    except RoboError as error:
        raise SystemExit(f"explorer_speed: {error}") from error
    publish(measured, chosen.out)
    raise SystemExit(not measured["within_limits"])
