"""MuJoCo's names come from compiled modules that ship no types; all of them count as Any."""

from typing import Any

def __getattr__(name: str) -> Any: ...
