"""A headless Chromium that is clicked, dragged and typed into, by the WebDriver protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which WebDriver names an element."""
KEYS = {"Left": "\ue012", "Right": "\ue014", "Home": "\ue011", "End": "\ue010", "Tab": "\ue004"}


def missing() -> str | None:
    """What is not installed, in a sentence; None where a browser can be started."""
    if not shutil.which("chromedriver"):
        return "chromedriver is not installed (Debian: apt-get install chromium chromium-driver)"
    if not any(map(shutil.which, CHROMIUM_NAMES)):
        return f"none of {', '.join(CHROMIUM_NAMES)} is installed"
    return None


class Browser:
    """One window; use it in a ``with`` block."""

    def __init__(self, width: int = 1500, height: int = 1100) -> None:
        """Start chromedriver on a free port, and a window of that size."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._profile = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            ["chromedriver", f"--port={port}", "--log-level=SEVERE"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._root = f"http://127.0.0.1:{port}"
        try:
            self._wait()
            self._session = self._open(width, height)
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        until = time.monotonic() + 30
        while True:
            try:
                self._call("GET", "/status")
                return
            except OSError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def _open(self, width: int, height: int) -> str:
        binary = next(path for name in CHROMIUM_NAMES if (path := shutil.which(name)))
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        arguments += [f"--window-size={width},{height}", f"--user-data-dir={self._profile.name}"]
        options = {"binary": binary, "args": arguments}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        found = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        return found["sessionId"]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._root + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.loads(reply.read())["value"]
        except urllib.error.HTTPError as error:
            reason = json.loads(error.read())["value"]
            raise RuntimeError(f"{reason['error']}: {reason['message'][:500]}") from None

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One command of the session, such as ``POST /url``."""
        return self._call(method, f"/session/{self._session}{path}", body)

    def open(self, url: str) -> None:
        """Load a page."""
        self.call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns; it may use ``await``."""
        body = (
            "const done = arguments[arguments.length - 1]; const given = [...arguments];"
            f"(async () => {{ {script} }})().then(done, (e) => done('failed: ' + e));"
        )
        return self.call("POST", "/execute/async", {"script": body, "args": list(arguments)})

    def wait(self, condition: str, seconds: float = 30.0) -> None:
        """Wait until the expression ``condition`` holds in the page.

        Raises:
            TimeoutError: it does not.
        """
        until = time.monotonic() + seconds
        while self.run(f"return Boolean({condition})") is not True:
            if time.monotonic() > until:
                raise TimeoutError(f"{condition} did not come true within {seconds} s")
            time.sleep(0.05)

    def find(self, selector: str) -> str:
        """The id of the first element of a CSS selector."""
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def click(self, selector: str) -> None:
        """Click as a person would: the element must be visible."""
        self.call("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into an element."""
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, where the focus is; ``Left`` and so on by name."""
        actions = []
        for key in keys:
            value = KEYS.get(key, key)
            actions += [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self.call("POST", "/actions", {"actions": [source]})

    def drag(self, selector: str, start: float, end: float, moves: int, each: int = 16) -> None:
        """Drag the mouse across an element.

        Args:
            selector: of the element.
            start: where the button goes down, as a share of the width.
            end: where it comes up.
            moves: in how many movements.
            each: milliseconds of a movement.
        """
        box = self.run(
            "const b = document.querySelector(given[0]).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height];",
            selector,
        )
        y = round(box[1] + box[3] / 2)

        def at(share: float) -> int:
            return round(box[0] + share * box[2])

        path = [
            {"type": "pointerMove", "duration": each, "x": at(start + (end - start) * i / moves),
             "y": y}
            for i in range(1, moves + 1)
        ]  # fmt: skip
        actions = [
            {"type": "pointerMove", "duration": 0, "x": at(start), "y": y},
            {"type": "pointerDown", "button": 0},
            *path,
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": actions}
        self.call("POST", "/actions", {"actions": [mouse]})

    def screenshot(self, path: Path) -> Path:
        """The window as PNG."""
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))
        return path

    def errors(self) -> list[str]:
        """What the page wrote to the console since the last call, but for plain messages."""
        entries = self.call("POST", "/se/log", {"type": "browser"})
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]

    def close(self) -> None:
        """End window and driver."""
        if hasattr(self, "_session"):
            with contextlib.suppress(OSError, RuntimeError):
                self.call("DELETE", "")
        self._process.terminate()
        self._process.wait(timeout=20)
        self._profile.cleanup()

    def __enter__(self) -> Browser:
        """The browser itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
