"""Who is who, sealed until the last trial is judged.

The seal keeps eyes and searches from meeting a policy's name by accident. It is no secret: who
wants to open it can.
"""

from __future__ import annotations

import json
import re
import secrets
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from robo.robots.robot import RobotError
from robo.storage import write_bytes

KEY = 32
COMMON = {"..", "runs", "policy", "checkpoints", "best"}
"""Parts of paths that tell nothing."""


def seal(path: Path, codes: Mapping[str, str]) -> None:
    """Write code to policy in a form that no reader of text meets."""
    content = zlib.compress(json.dumps(dict(codes)).encode())
    key = secrets.token_bytes(KEY)
    write_bytes(path, key + bytes(b ^ key[i % KEY] for i, b in enumerate(content)))


def unseal(path: Path) -> dict[str, str]:
    """Code to policy.

    Raises:
        RobotError: where the file is missing or damaged.
    """
    try:
        content = path.read_bytes()
        key, body = content[:KEY], content[KEY:]
        found = json.loads(zlib.decompress(bytes(b ^ key[i % KEY] for i, b in enumerate(body))))
        return {str(code): str(spec) for code, spec in found.items()}
    except (OSError, ValueError, zlib.error, AttributeError) as error:
        raise RobotError(
            f"cannot open {path} ({error}): without it no trial can be told to a policy; restore "
            "it from a copy, or start anew in another --out"
        ) from error


def redacted(text: str, names: Iterable[str]) -> str:
    """``text`` without any of the policies' names, whole or in parts (folders, module, class)."""
    parts = set()
    for name in names:
        parts |= {name, *re.split(r"[/\\:]", name)}
    telling = {part for part in parts if len(part) > 1 and part not in COMMON}
    for part in sorted(telling, key=len, reverse=True):
        text = text.replace(part, "(policy)")
    return text
