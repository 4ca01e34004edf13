"""Policies that read camera views, for the launch scripts of robosuite and LIBERO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from robo.policies.learner_config import NetworkConfig


def view_options(views: Sequence[str], size: int) -> dict[str, Any]:
    """Options of environments whose observation holds ``views`` of ``size`` x ``size`` pixels."""
    if not views:
        return {}
    return {"observation_views": tuple(views), "view_height": size, "view_width": size}


def seeing(network: NetworkConfig, views: Sequence[str]) -> NetworkConfig:
    """``network``, or where it reads the state alone and there are views, one that reads both."""
    return replace(network, kind="transformer") if views and network.kind == "mlp" else network
