"""Tar headers: every dialect that is written, and every way to be broken."""

import io
import random
import tarfile

import pytest

from curation.ingest.tar import BLOCK, MAX_EXTENDED_BYTES, Member, TarError, read_members

NAMES = ["a.jpg", "d/" + "b" * 90 + ".png", "e/" * 60 + "c" * 120 + ".gif", "é/ü.jpg", "empty"]


def tar_of(members, format=tarfile.PAX_FORMAT, **info):
    """Write members with the standard library; return the archive's bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in info.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def read(data):
    """Return the members of an archive, and the code that it ended with."""
    found: list[Member] = []
    try:
        found.extend(read_members(io.BytesIO(data)))
    except TarError as error:
        return found, error.code
    return found, None


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_where_the_standard_library_puts_them(format):
    """Long names, names in other alphabets and empty members, in both dialects."""
    members = [(name, name.encode() * 20 if name != "empty" else b"") for name in NAMES]
    data = tar_of(members, format)

    found, code = read(data)

    assert code is None
    assert [member.name.decode() for member in found] == NAMES
    assert [data[m.offset : m.offset + m.length] for m in found] == [body for _, body in members]
    assert [member.head for member in found] == [body[:BLOCK] for _, body in members]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [m.offset for m in found] == [m.offset_data for m in archive.getmembers()]


def test_the_posix_prefix_is_part_of_the_name():
    """Old archives split long names in two fields."""
    name = "/".join(["folder" * 5] * 4) + "/x.jpg"
    found, _ = read(tar_of([(name, b"1")], tarfile.USTAR_FORMAT))

    assert found[0].name.decode() == name


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "device"),
        (tarfile.DIRTYPE, "folder"),
        (tarfile.CONTTYPE, "file"),
        (tarfile.AREGTYPE, "file"),
        (tarfile.GNUTYPE_SPARSE, "sparse file"),
    ],
)
def test_what_a_member_is_follows_from_its_flag(flag, kind):
    """And the members behind it are found all the same."""
    one = tar_of([("x", b"")], tarfile.USTAR_FORMAT, type=flag)[:BLOCK]
    found, code = read(one + tar_of([("y", b"2")]))

    assert [(m.name.rstrip(b"/"), m.kind) for m in found] == [(b"x", kind), (b"y", "file")]
    assert code is None


def test_pax_sparse_members_are_told():
    """GNU's newer sparse files look like plain ones but for their extended header."""
    data = tar_of([("x", b"1")], pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})

    assert [member.kind for member in read(data)[0]] == ["sparse file"]


def test_a_size_above_the_octal_field_is_read():
    """Members of 8 GiB and more state their size otherwise; here one that is cut."""
    member = tarfile.TarInfo("x")
    member.size = 9 << 30
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert read(member.tobuf(format))[1] == "truncated"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"\x1f\x8b" + bytes(2000), "undecodable"),
        (b"short", "truncated"),
        (bytes(10240), None),
        (tar_of([("a", b"1")])[:BLOCK], "truncated"),
        (tar_of([("a", b"1")])[: 2 * BLOCK], "truncated"),
        (tar_of([("a", b"1")]) + tar_of([("b", b"1")]), "undecodable"),
    ],
    ids=["empty", "gzip", "short", "no members", "no data", "no end", "two archives"],
)
def test_a_broken_archive_says_how(data, code):
    """No end is taken for a good one."""
    assert read(data)[1] == code


def test_members_before_the_break_are_good():
    """An upload that was cut, at every block."""
    members = [(f"{n}.jpg", b"x" * 700) for n in range(4)]
    data = tar_of(members, tarfile.USTAR_FORMAT)
    for end in range(BLOCK, 12 * BLOCK + 1, BLOCK):
        found, code = read(data[:end])
        assert code == "truncated"
        assert len(found) == (end + BLOCK - 700 % BLOCK) // (3 * BLOCK), end


def test_a_huge_extended_header_is_not_read():
    """What a hostile file states is no reason to take memory."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, MAX_EXTENDED_BYTES + 1

    assert read(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4 << 20))[1] == "undecodable"


def test_noise_ends_with_a_code():
    """Flipped bytes never raise anything else, and never go on for ever."""
    generator = random.Random(5)
    data = tar_of([(name, b"x" * 300) for name in NAMES])
    codes = set()
    for _ in range(300):
        noisy = bytearray(data)
        for _ in range(generator.randrange(1, 6)):
            noisy[generator.randrange(len(noisy))] = generator.randrange(256)
        codes.add(read(bytes(noisy))[1])

    assert codes <= {None, "empty", "truncated", "undecodable"}
    assert "undecodable" in codes
