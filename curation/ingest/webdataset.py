"""`kind: webdataset`: the images in tar archives, with the captions and facts beside them."""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from curation.errors import UsageError
from curation.ingest.archives import SEPARATOR, ArchiveSource
from curation.ingest.config import RootsConfig
from curation.ingest.endings import IMAGES, SIDECARS, ending_of
from curation.ingest.entries import Entry, Line, Taken, facts_json
from curation.ingest.facts import Facts
from curation.ingest.roots import Root
from curation.ingest.spans import Spans
from curation.ingest.take import find_root, too_large
from curation.ingest.tar import BLOCK, Member, TarError, head_crc, read_members
from curation.ingest.texts import MAX_SIDECAR_BYTES, read_sidecars
from curation.pixels.formats import recognise
from curation.storage import Store
from schemas.error_codes import row_error

_log = logging.getLogger(__name__)

_ENDING = b".tar"
_COMPRESSED = tuple(b".tar.gz .tgz .tar.bz2 .tbz2 .tar.xz .txz .tar.zst .tzst .tar.lz4".split())


class WebDatasetConfig(RootsConfig):
    """Tar archives below folders or prefixes.

    Attributes:
        caption_key: Key of a `.json` side-car that holds the caption where there is no `.txt`.
        license_key: Key of a `.json` side-car that holds the licence.
    """

    kind: Literal["webdataset"] = "webdataset"
    caption_key: str = "caption"
    license_key: str = "license"


class WebDatasetSource(ArchiveSource):
    """Every image member of every archive is a row with the key `archive!member`.

    A member is an image if its first bytes or the ending of its name say so. `.txt` and `.json` are
    side-cars, never rows: they belong to the images whose name is the same up to the first point,
    the n-th of a repeated name to the n-th image of it. Other members (`.cls`, `.npy`) are left
    out and counted. A link, device or sparse member, and one whose name leads out of the archive,
    is a row with an error. An archive that is broken has one more row, `archive!`, that says so;
    the members before the break are rows as ever. Compressed archives are refused: a row's bytes
    could only be had by unpacking all that lies before them, again for each shard.

    A member's version is a check sum over its header and the first 512 bytes of its data, with its
    offset. So an archive that only grew has only new rows, and one that did not change at all is
    not opened.
    """

    ending = _ENDING

    def __init__(self, config: WebDatasetConfig, dataset: Store | None = None) -> None:
        super().__init__(config, dataset)
        self._config = config

    # Listing -----------------------------------------------------------------------------------

    def _other(self, file: Entry) -> None:
        if file.key.lower().endswith(_COMPRESSED):
            message = (
                f"{file.uri}: a compressed archive cannot be read in parts; unpack it to a plain "
                ".tar (gunzip, unzstd), or move it out of the source"
            )
            raise UsageError(message)
        super()._other(file)

    def _list_file(self, root: Root, file: Entry) -> Iterator[Entry]:
        index = _Index(file)
        with root.open(file.key) as (_, opened):
            try:
                for member in read_members(opened):
                    index.add(member)
            except TarError as error:
                index.broken(error.code)
        yield from index.entries()
        self._left_out.update(index.left_out)

    # Reading -----------------------------------------------------------------------------------

    def _read_file(self, uri: str, archive: bytes, lines: list[Line]) -> Iterator[Taken]:
        root = find_root(uri, archive, self._roots)
        uri = uri if root is None else root.uri(archive)
        wanted = [self._parts(line) for line in lines]
        flat = [span for parts in wanted for span in parts.values()]
        spans = Spans(
            [(offset - BLOCK, offset + length) for offset, length, _ in flat],
            lambda start, stop: b"" if root is None else root.read_range(archive, start, stop),
        )
        index = 0
        for line, parts in zip(lines, wanted, strict=True):
            numbers = dict(zip(parts, range(index, index + len(parts)), strict=True))
            index += len(parts)
            yield self._take(line, uri, root, parts, numbers, spans)

    def _parts(self, line: Line) -> dict[str, tuple[int, int, str]]:
        """Return what is to be read for a line: role -> offset, length and check sum."""
        if line["error"] is not None or line["length"] > self._config.max_file_bytes:
            return {}
        parts = {"image": (line["offset"], line["length"], line["etag"].rpartition(":")[2])}
        beside = json.loads(line["sidecars"] or "{}")
        small = {ending: (*at,) for ending, at in beside.items() if at[1] <= MAX_SIDECAR_BYTES}
        return parts | small

    def _take(
        self,
        line: Line,
        uri: str,
        root: Root | None,
        parts: Mapping[str, tuple[int, int, str]],
        numbers: Mapping[str, int],
        spans: Spans,
    ) -> Taken:
        if line["error"] is not None:
            return Taken(uri, error=line["error"])
        if not parts:
            return too_large(uri, line["length"], self._config.max_file_bytes)
        found: dict[str, bytes | None] = dict.fromkeys(json.loads(line["sidecars"] or "{}"))
        try:
            for role, (_, length, crc) in parts.items():
                data = spans.get(numbers[role])
                if len(data) != BLOCK + length or head_crc(data, length) != crc:
                    return Taken(uri, error=row_error("changed"))
                found[role] = data[BLOCK:]
        except (FileNotFoundError, NotADirectoryError):
            assert root is not None
            root.check()
            return Taken(uri, error=row_error("changed"))
        except OSError as error:
            _log.warning("%s: cannot be read: %s", uri, error)
            return Taken(uri, error=row_error("unavailable"))
        image = found.pop("image")
        assert image is not None
        texts = read_sidecars(found, self._config.caption_key, self._config.license_key)
        return Taken(
            uri,
            image,
            len(image),
            offset=line["offset"],
            length=line["length"],
            alt_text=texts.alt_text,
            license=texts.license,
            metadata=texts.metadata,
        )


class _Index:
    """The members of one archive, sorted out: about 300 bytes of memory each."""

    def __init__(self, file: Entry) -> None:
        self._file = file
        self._container = facts_json(file.facts)
        self._rows: list[tuple[bytes, int, int, str, str | None]] = []
        self._sidecars: dict[tuple[bytes, str], list[tuple[int, int, str]]] = defaultdict(list)
        self._error: str | None = None
        self.left_out: Counter[str] = Counter()

    def add(self, member: Member) -> None:
        """Take up a member in the archive's order."""
        sample, ending = _split_name(member.name)
        error = _refusal(member)
        if member.kind == "folder":
            return
        if error is None and ending.decode("latin-1") in SIDECARS:
            found = (member.offset, member.length, member.crc)
            self._sidecars[sample, ending.decode("latin-1")].append(found)
            return
        if error is None and not (ending_of(ending) in IMAGES or recognise(member.head)):
            self.left_out["members of archives that are no images"] += 1
            return
        self._rows.append((member.name, member.offset, member.length, member.crc, error))

    def broken(self, code: str) -> None:
        """Note that the archive could not be read to its end."""
        facts = {} if code == "empty" else {"format": "tar"}
        self._error = row_error(code, **facts)

    def entries(self) -> Iterator[Entry]:
        """Yield the rows by place."""
        file, facts = self._file, self._file.facts
        prefix = file.key + SEPARATOR
        ordinals: Counter[bytes] = Counter()
        if self._error is not None:
            whole = Facts(None, None, facts.mtime_ns)
            ordinals[b""] += 1
            yield Entry(prefix, file.uri, whole, container=self._container, error=self._error)
        used: set[tuple[bytes, str]] = set()
        self._rows.sort(key=lambda row: row[:2])
        for name, offset, length, crc, error in self._rows:
            sample = _split_name(name)[0]
            ordinal = ordinals[name]
            ordinals[name] += 1
            sidecars: dict[str, Any] = {}
            for ending in SIDECARS:
                beside = self._sidecars.get((sample, ending), [])
                if error is None and ordinal < len(beside):
                    sidecars[ending] = beside[ordinal]
                    used.add((sample, ending))
            yield Entry(
                prefix + name,
                file.uri,
                Facts(length, f"tar:{offset}:{crc}", facts.mtime_ns),
                ordinal=ordinal,
                offset=offset,
                length=length,
                sidecars=json.dumps(sidecars, separators=(",", ":")) if sidecars else None,
                container=self._container,
                error=error,
            )
        if lonely := len(self._sidecars.keys() - used):
            self.left_out["side-cars without an image"] += lonely


def _split_name(name: bytes) -> tuple[bytes, bytes]:
    """Return a member's sample and ending, which the first point of the file's name parts.

    Source: the WebDataset format, https://github.com/webdataset/webdataset.
    """
    folder, slash, base = name.rpartition(b"/")
    stem, _, ending = base.partition(b".")
    return folder + slash + stem, ending


def _refusal(member: Member) -> str | None:
    if member.kind not in ("file", "folder"):
        return row_error("refused", kind=member.kind)
    if not member.name or member.name.startswith(b"/") or b".." in member.name.split(b"/"):
        return row_error("outside")
    return None
