"""The members of a tar archive: where each one's bytes are, read from headers alone.

The standard library's reader ends in silence at a header it does not understand, keeps every
member in memory, and reads extended headers of any size. This one says why it ended, yields as it
goes, and bounds what it holds. Nothing is ever extracted: a member's name is a key, never a path.

Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from zlib import crc32

BLOCK = 512
MAX_EXTENDED_BYTES = 1 << 20
"""Largest extended header or long name that is read."""
_MAX_TRAILER_BYTES = 1 << 20

_KINDS = {
    b"1": "link",
    b"2": "link",
    b"3": "device",
    b"4": "device",
    b"5": "folder",
    b"6": "device",
    b"S": "sparse file",
}
_EXTENDED = (b"x", b"X", b"g", b"L", b"K")
"""Of the next member; global ones (`g`) and link names (`K`) say nothing that is needed here."""
_WITHOUT_DATA = ("link", "device", "folder")


class TarError(Exception):
    """The archive ends or breaks here; members before are good.

    Attributes:
        code: `empty`, `truncated` or `undecodable`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive.

    Attributes:
        name: Raw, as it stands in the archive.
        kind: `file`, `link`, `device`, `folder` or `sparse file`.
        offset: First byte of its data.
        length: Bytes of data.
        head: First bytes of the data, at most 512.
        crc: `head_crc` of the header and `head`.
    """

    name: bytes
    kind: str
    offset: int
    length: int
    head: bytes
    crc: str


def head_crc(data: bytes, length: int) -> str:
    """Return a check sum over a member's header and the first block of its data.

    The header holds the member's own time, so this tells a member that was replaced in place from
    one that stayed while others were added.

    Args:
        data: From the header on, 512 bytes before the member's data.
        length: Bytes of the member's data.
    """
    return f"{crc32(data[: BLOCK + min(length, BLOCK)]):08x}"


def read_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the members of an archive in its own order, holding one at a time.

    Raises:
        TarError: The archive is no tar or ends without its end mark; after the last good member.
        OSError: It cannot be read.
    """
    size = file.seek(0, 2)
    if size == 0:
        raise TarError("empty")
    offset = 0
    extended: dict[bytes, bytes] = {}
    while True:
        file.seek(offset)
        block = file.read(2 * BLOCK)
        header = block[:BLOCK]
        if len(header) < BLOCK:
            raise TarError("truncated")
        if not header.strip(b"\0"):
            _check_trailer(file, offset, size)
            return
        if not _has_good_checksum(header):
            raise TarError("undecodable")
        if header[156:157] in _EXTENDED:
            offset = _read_extended(file, offset, header, size, extended)
            continue
        member = _member(file, offset, block, extended)
        if member.offset + member.length > size:
            raise TarError("truncated")
        yield member
        extended.clear()
        offset = member.offset + _padded(member.length)


def _member(file: IO[bytes], offset: int, block: bytes, extended: dict[bytes, bytes]) -> Member:
    """Read the header at `offset`, with what the extended headers before it say."""
    header = block[:BLOCK]
    flag = header[156:157]
    kind = _KINDS.get(flag, "file")
    name = extended.get(b"path", _name(header))
    if any(key.startswith(b"GNU.sparse.") for key in extended):
        kind = "sparse file"
    if kind == "file" and name.endswith(b"/"):
        kind = "folder"
    length = _decimal(extended[b"size"]) if b"size" in extended else _number(header[124:136])
    if kind in _WITHOUT_DATA:
        length = 0
    start = offset + BLOCK
    if flag == b"S":
        start = _after_sparse_map(file, header, start)
    return Member(name, kind, start, length, block[BLOCK:][:length], head_crc(block, length))


def _read_extended(
    file: IO[bytes], offset: int, header: bytes, size: int, extended: dict[bytes, bytes]
) -> int:
    """Read what a header says of the next member into `extended`; return where that comes."""
    flag = header[156:157]
    length = _number(header[124:136])
    if length > MAX_EXTENDED_BYTES:
        raise TarError("undecodable")
    if offset + BLOCK + length > size:
        raise TarError("truncated")
    file.seek(offset + BLOCK)
    data = file.read(length)
    if flag == b"L":
        extended[b"path"] = data.split(b"\0")[0]
    elif flag in (b"x", b"X"):
        extended.update(_pax_records(data))
    return offset + BLOCK + _padded(length)


def _check_trailer(file: IO[bytes], offset: int, size: int) -> None:
    """Refuse archives that were put one behind the other: what follows the end mark is not read."""
    file.seek(offset)
    if file.read(min(size - offset, _MAX_TRAILER_BYTES)).strip(b"\0"):
        raise TarError("undecodable")


def _has_good_checksum(header: bytes) -> bool:
    try:
        stated = _number(header[148:156])
    except TarError:
        return False
    unsigned = sum(header[:148]) + sum(header[156:]) + 8 * ord(" ")
    if stated == unsigned:
        return True
    # Some old writers summed signed bytes.
    high = sum(byte > 127 for byte in header[:148]) + sum(byte > 127 for byte in header[156:])
    return stated == unsigned - 256 * high


def _number(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0")[0].strip()
    try:
        value = int(text or b"0", 8)
    except ValueError as error:
        raise TarError("undecodable") from error
    if value < 0:
        raise TarError("undecodable")
    return value


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise TarError("undecodable")
    return int(text)


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0]
    # GNU's own format has other things where POSIX has the prefix.
    if header[257:263] == b"ustar\0" and prefix:
        return prefix + b"/" + name
    return name


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Read `<length> <key>=<value>` lines, where the length counts the whole line."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data) and data[position : position + 1] != b"\0":
        digits, _, _ = data[position : position + 20].partition(b" ")
        end = position + _decimal(digits)
        line = data[position + len(digits) + 1 : end]
        key, equals, value = line.partition(b"=")
        if not equals or end > len(data) or not value.endswith(b"\n"):
            raise TarError("undecodable")
        records[key] = value[:-1]
        position = end
    return records


def _after_sparse_map(file: IO[bytes], header: bytes, start: int) -> int:
    """Return where the data of GNU's old sparse format begins: more of its map may come first."""
    more = header[482:483]
    while more == b"\1":
        file.seek(start)
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise TarError("truncated")
        more = block[504:505]
        start += BLOCK
    return start


def _padded(length: int) -> int:
    return -(-length // BLOCK) * BLOCK
