"""The same small images as a source of each kind, to hold the kinds against one contract."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.config import validate
from curation.ingest.config import SourceConfig
from curation.ingest.kinds import SOURCES
from tests.fakes.lake import TIME_NS
from tests.fakes.web import Answer, Web, serve_for_ever

Images = Mapping[str, bytes]


@dataclass(frozen=True)
class FakeSource:
    """How images become a source of one kind.

    Attributes:
        write: Writes images below a folder, replacing what an earlier call wrote.
        section: The `source:` section of what was written there.
    """

    write: Callable[[Path, Images, int], None]
    section: Callable[[Path], dict[str, Any]]


def config_of(kind: str, folder: Path, **settings: Any) -> SourceConfig:
    """Return the configuration of the source of `kind` below a folder."""
    section = {"name": "lake", "kind": kind, **FAKES[kind].section(folder), **settings}
    return validate(SOURCES[kind].config_type, section, "source")


def write_tar(path: Path, members: list[tuple[str, bytes]], time_ns: int = TIME_NS) -> None:
    """Write an archive whose members have a time each of their own."""
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    os.utime(path, ns=(time_ns, time_ns))


def _touch(path: Path, time_ns: int) -> None:
    os.utime(path, ns=(time_ns, time_ns))


def _clear(folder: Path) -> Path:
    lake = folder / "lake"
    lake.mkdir(parents=True, exist_ok=True)
    for path in sorted(lake.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return lake


def _write_folder(folder: Path, images: Images, time_ns: int) -> None:
    lake = _clear(folder)
    for name, data in images.items():
        (lake / name).write_bytes(data)
        _touch(lake / name, time_ns)


def _write_list(folder: Path, images: Images, time_ns: int) -> None:
    _write_folder(folder, images, time_ns)
    rows = [
        json.dumps({"path": name, "caption": f"a {name}"}) for name in sorted(images, reverse=True)
    ]
    (folder / "list.jsonl").write_text("\n".join(rows))


def _write_webdataset(folder: Path, images: Images, time_ns: int) -> None:
    lake = _clear(folder)
    for archive, names in _halves(images).items():
        members = [(name, images[name]) for name in reversed(names)]
        write_tar(lake / f"{archive}.tar", members, time_ns)


def _write_parquet(folder: Path, images: Images, time_ns: int) -> None:
    lake = _clear(folder)
    for file, names in _halves(images).items():
        column = [{"bytes": images[name], "path": None} for name in names]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table({"image": pa.array(column, kind), "id": names})
        pq.write_table(table, lake / f"{file}.parquet", row_group_size=3)
        _touch(lake / f"{file}.parquet", time_ns)


@cache
def _web() -> Web:
    return serve_for_ever()


def _answer_with(data: bytes) -> Answer:
    return lambda request, wire: wire.answer(data)


def _write_urls(folder: Path, images: Images, time_ns: int) -> None:
    lake = _clear(folder)
    _web().routes = {f"/{name}": _answer_with(data) for name, data in images.items()}
    for half, names in _halves(images).items():
        rows = [json.dumps({"url": _web().url(f"/{name}")}) for name in reversed(names)]
        (lake / f"{half}.jsonl").write_text("\n".join(rows))


def _url_settings(folder: Path) -> dict[str, Any]:
    download = {
        "contact": "https://example.org/crawl",
        "host_delay_s": 0.0,
        "allow_addresses": ["127.0.0.0/8"],
    }
    return {**_roots(folder), "download": download}


def _halves(images: Images) -> dict[str, list[str]]:
    """Share the images between two files by name, so that more images leave the others there."""
    return {
        half: [name for name in images if (sum(name.encode()) % 2 == 1) == odd]
        for half, odd in (("a", False), ("b", True))
    }


def _roots(folder: Path) -> dict[str, Any]:
    return {"roots": [str(folder / "lake")]}


FAKES: dict[str, FakeSource] = {
    "folder": FakeSource(_write_folder, _roots),
    "list": FakeSource(
        _write_list,
        lambda folder: {
            **_roots(folder),
            "lists": [str(folder / "list.jsonl")],
            "caption_column": "caption",
        },
    ),
    "parquet": FakeSource(_write_parquet, lambda folder: {**_roots(folder), "key_column": "id"}),
    "urls": FakeSource(_write_urls, _url_settings),
    "webdataset": FakeSource(_write_webdataset, _roots),
}
