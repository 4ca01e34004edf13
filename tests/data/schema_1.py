"""Writes stores of schema 1, as robo 0.1 did before shards: the migration's tests start there."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path

import zarr
from zarr.codecs import ZstdCodec
from zarr.storage import ZipStore

from robo.data.archive import HEADER_ATTRIBUTE, array_path
from robo.data.layout import checksum, disassemble
from robo.rollout import Episode

_ARRAY = ("name", "shape", "dtype", "crc32")


def write_store(path: Path, episodes: list[Episode]) -> None:
    """A whole store of schema 1 at the new folder ``path``."""
    path.mkdir(parents=True)
    group = {"zarr_format": 3, "node_type": "group"}
    schema = {"robo_episode_store": {"schema": 1}}
    (path / "zarr.json").write_text(json.dumps({**group, "attributes": schema}))
    with (path / "manifest.jsonl").open("wb") as manifest:
        for index, episode in enumerate(episodes):
            header, arrays = disassemble(episode)
            values = dataclasses.asdict(
                dataclasses.replace(header, file=f"episode-{index:08d}.zip")
            )
            values["arrays"] = [
                dict(zip(_ARRAY, (n, a.shape, a.dtype.name, checksum(a)), strict=True))
                for n, a in arrays.items()
            ]
            values = json.loads(json.dumps(values))
            with ZipStore(path / values["file"], mode="w") as store:
                zarr.create_group(store, attributes={HEADER_ATTRIBUTE: values})
                for name, array in arrays.items():
                    target = zarr.create_array(
                        store,
                        name=array_path(name),
                        shape=array.shape,
                        dtype=array.dtype,
                        chunks=(max(1, array.shape[0] // 2), *array.shape[1:]),
                        compressors=ZstdCodec(level=1),
                        config={"write_empty_chunks": True},
                    )
                    target[...] = array
            body = json.dumps(values).encode()
            manifest.write(b'["%08x", %s]\n' % (zlib.crc32(body), body))
