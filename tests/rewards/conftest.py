from __future__ import annotations

from tests.bright_episodes import brightness, make_episode

__all__ = ["brightness", "make_episode"]
