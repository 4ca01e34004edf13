"""What reading and writing HDF5 demonstrations share: names, attributes, the library."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.data.formats.common import pack, unpack
from robo.errors import MissingExtraError

SIMULATOR_STATE = "simulator_state"
"""Observation that holds the data set ``states``."""
PER_STEP = "per_step/"
"""Prefix of observations that the file holds per step outside of ``obs``."""
COUNTS = ("total", "num_demos")
"""Attributes of ``data`` that count steps and demonstrations."""
OURS = "robo"
"""Group of a demonstration for what the layout has no place for."""


def h5py() -> Any:
    """The library.

    Raises:
        MissingExtraError: where it is not installed.
    """
    try:
        import h5py as library
    except ModuleNotFoundError as error:
        raise MissingExtraError('HDF5 files need h5py; run `pip install -e ".[data]"`') from error
    return library


def attributes_of(group: Any) -> dict[str, Any]:
    """Attributes as JSON values that :func:`set_attributes` writes back with their types."""
    found = {}
    for name, value in group.attrs.items():
        if isinstance(value, bytes):
            found[name] = {"bytes": value.decode("latin-1")}
        elif isinstance(value, str):
            found[name] = pack(value)
        elif isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
            found[name] = {"dtype": value.dtype.str, "value": value.tolist()}
        else:
            found[name] = str(value)
    return found


def set_attributes(group: Any, attributes: dict[str, Any]) -> None:
    """Write attributes that :func:`attributes_of` read, with their types."""
    for name, value in attributes.items():
        value = unpack(value)
        if isinstance(value, dict) and "bytes" in value:
            value = np.bytes_(value["bytes"].encode("latin-1"))
        elif isinstance(value, dict):
            value = np.array(value["value"], dtype=value["dtype"])[()]
        group.attrs[name] = value
