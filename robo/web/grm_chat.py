"""A reward model's question and answer in the shape of the OpenAI chat protocol."""

from __future__ import annotations

import base64
import io
import secrets
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo.rewards.grm.prompt import IMAGES

LARGEST_IMAGE = 4096 * 4096
"""Pixels."""


class RefusedError(Exception):
    """A request that is not answered: an HTTP code with a sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        """``code`` is the HTTP status."""
        super().__init__(sentence)
        self.code = code


def chat_of(body: dict[str, Any]) -> list[str | Tensor]:
    """Texts and images of a chat request's last user message.

    Raises:
        RefusedError: a request of another shape, or images that cannot be read.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise RefusedError(400, "the request has no list of messages")
    asked = [m for m in messages if isinstance(m, dict) and m.get("role") == "user"]
    content = asked[-1].get("content") if asked else None
    if not isinstance(content, list):
        raise RefusedError(400, f"expected a user message with texts and {IMAGES} images")
    chat: list[str | Tensor] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            chat.append(part["text"])
        elif kind == "image_url" and isinstance(part.get("image_url"), dict):
            chat.append(picture_of(part["image_url"].get("url")))
        else:
            raise RefusedError(400, f"a part of the message is no text and no image_url: {kind!r}")
    images = sum(isinstance(part, Tensor) for part in chat)
    if images != IMAGES:
        raise RefusedError(400, f"the question has {images} images, expected {IMAGES}")
    return chat


def picture_of(url: Any) -> Tensor:
    """uint8 ``[H, W, 3]`` of a data address; other addresses are never fetched.

    Raises:
        RefusedError: no whole picture of a usual size.
    """
    from PIL import Image

    head, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise RefusedError(400, "images must be data addresses: data:image/png;base64,...")
    try:
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
            if image.width * image.height > LARGEST_IMAGE or min(image.size) < 2:
                raise RefusedError(400, f"an image has {image.width}x{image.height} pixels")
            return torch.from_numpy(np.array(image.convert("RGB")))
    except RefusedError:
        raise
    except Exception as error:  # pillow raises many kinds, over a bomb for one
        raise RefusedError(400, f"an image cannot be read ({error})") from error


def completion(model: str, text: str) -> dict[str, Any]:
    """A chat completion with one answer."""
    message = {"role": "assistant", "content": text}
    return {
        "id": f"grm-{secrets.token_hex(8)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
