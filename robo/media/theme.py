"""Colours and text of every picture that robo draws: a dark ground and one typeface."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

Colour = tuple[int, int, int]

BACKGROUND: Colour = (14, 17, 23)
PANEL: Colour = (22, 27, 35)
GRID: Colour = (42, 49, 60)
AXIS: Colour = (84, 94, 110)
MUTED: Colour = (150, 160, 176)
TEXT: Colour = (235, 239, 245)
ACCENT: Colour = (88, 166, 255)
TOTAL: Colour = (196, 203, 214)
THRESHOLD: Colour = (214, 170, 84)
SUCCESS: Colour = (63, 185, 110)
FAILURE: Colour = (240, 96, 88)
POTENTIAL: Colour = (126, 211, 133)
EVENT: Colour = (214, 170, 84)
LINES: tuple[Colour, ...] = (
    (88, 166, 255),
    (255, 166, 87),
    (126, 211, 133),
    (210, 140, 255),
    (255, 123, 143),
    (86, 211, 220),
    (230, 205, 90),
    (160, 150, 255),
    (200, 145, 110),
    (240, 150, 215),
)


def line_colour(index: int) -> Colour:
    """Colour of the ``index``-th line; each round through ``LINES`` is paler than the last."""
    paler = 1.0 - 0.5 ** (index // len(LINES))
    red, green, blue = (round(part + (255 - part) * paler) for part in LINES[index % len(LINES)])
    return red, green, blue


# Only for text that Pillow's own font (basic Latin) cannot show.
_WIDER_FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "Arial.ttf")


@lru_cache(maxsize=256)
def font(size: int, name: str | None = None) -> Any:
    """The typeface at ``size`` pixels: Pillow's own, or the installed font file ``name``.

    Raises:
        OSError: if ``name`` is not installed.
    """
    from PIL import ImageFont

    if name is not None:
        return ImageFont.truetype(name, size)
    return ImageFont.load_default(size=size)


@lru_cache(maxsize=4096)
def _drawable(character: str, name: str | None) -> bool:
    if character.isspace():
        return True
    try:
        face = font(24, name)
    except OSError:
        return False
    return bytes(face.getmask(character)) != bytes(face.getmask("\uffff"))


@lru_cache(maxsize=1024)
def typeset(text: str) -> tuple[str, str | None]:
    """The text as it can be drawn, and the font that draws it.

    Pillow's own font shows basic Latin. Other text takes the first installed font that has all
    its characters; where there is none, accents are dropped and what remains unknown becomes
    a question mark.
    """
    for name in (None, *_WIDER_FONTS):
        if all(_drawable(character, name) for character in text):
            return text, name
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return "".join(c if _drawable(c, None) else "?" for c in plain), None


def text_width(text: str, size: int) -> int:
    """Width of ``text`` in pixels at ``size`` pixels."""
    shown, name = typeset(text)
    return round(font(size, name).getlength(shown))


def draw_text(
    draw: Any, at: tuple[float, float], text: str, size: int, colour: Colour, anchor: str = "ls"
) -> None:
    """Draw one line of text on Pillow's ``draw``; ``anchor`` as Pillow's, left baseline first."""
    shown, name = typeset(text)
    draw.text(at, shown, fill=colour, font=font(size, name), anchor=anchor)


@lru_cache(maxsize=4096)
def _stencil(text: str, size: int) -> tuple[Any, int]:
    """Coverage of a line of text, uint16 ``[h, w, 1]`` in 0 ... 256, and its baseline's row."""
    import numpy as np
    from PIL import Image, ImageDraw

    shown, name = typeset(text)
    face = font(size, name)
    _, top, right, bottom = face.getbbox(shown, anchor="ls")
    width, rise = max(1, int(right) + 1), max(1, -int(top) + 1)
    image = Image.new("L", (width, rise + max(1, int(bottom) + 1)), 0)
    ImageDraw.Draw(image).text((0, rise), shown, fill=255, font=face, anchor="ls")
    cover = np.asarray(image, dtype=np.uint16)[..., None]
    return cover + (cover >> 7), rise


def stamp_text(
    frame: Any, at: tuple[float, float], text: str, size: int, colour: Colour, anchor: str = "ls"
) -> None:
    """Draw one line of text on a uint8 ``[H, W, 3]`` array: :func:`draw_text`, remembered.

    The same text at the same size is typeset once, which makes a video's numbers cheap. Anchors:
    l, m or r across; s (baseline) or m (middle of capital letters) along.
    """
    import numpy as np

    if not text:
        return
    cover, rise = _stencil(text, size)
    height, width = cover.shape[:2]
    left = round(at[0]) - {"l": 0, "m": width // 2, "r": width}[anchor[0]]
    base = round(at[1]) + (round(0.36 * size) if anchor[1] == "m" else 0)
    top = base - rise
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(frame.shape[0], top + height), min(frame.shape[1], left + width)
    if y0 >= y1 or x0 >= x1:
        return
    alpha = cover[y0 - top : y1 - top, x0 - left : x1 - left]
    part = frame[y0:y1, x0:x1]
    ink = np.array(colour, np.uint16)
    part[...] = (part * (256 - alpha) + ink * alpha) >> 8


def wrap(text: str, size: int, width: int) -> list[str]:
    """Break text into lines at most ``width`` pixels wide, inside words only where it must."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] = f"{lines[-1]} {word}"
            continue
        rest = word
        while len(rest) > 1 and text_width(rest, size) > width:
            cut = next(
                n
                for n in range(len(rest) - 1, 0, -1)
                if n == 1 or text_width(rest[:n], size) <= width
            )
            lines.append(rest[:cut])
            rest = rest[cut:]
        lines.append(rest)
    return lines or [""]


def fit_text(text: str, sizes: range, width: int, height: int) -> tuple[int, list[str]]:
    """The largest size at which wrapped text fits a box, and its lines.

    Args:
        text: any length.
        sizes: sizes to try in pixels, largest first.
        width: of the box in pixels.
        height: of the box in pixels; a line takes 1.25 times the size.

    Returns:
        Size and lines. Text too long even at the smallest size ends in a visible "...".
    """
    for size in sizes:
        lines = wrap(text, size, width)
        if len(lines) * size * 1.25 <= height:
            return size, lines
    size = sizes[-1]
    lines = wrap(text, size, width)[: max(1, int(height / (size * 1.25)))]
    last = lines[-1]
    while last and text_width(f"{last}...", size) > width:
        last = last[:-1]
    return size, [*lines[:-1], f"{last.rstrip()}..."]
