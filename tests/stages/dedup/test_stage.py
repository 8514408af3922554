"""Duplicate groups from tables of hashes: what links, and what the layout cannot change."""

import hashlib
import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.errors import ConfigError
from schemas.columns import IDENTITY
from schemas.dedup import DEDUP, DEDUP_EDGES
from stages.dedup.matchers import MIN_PHASH_BITS
from stages.dedup.stage import DedupConfig, DedupStage

SCHEMA = pa.schema(
    [
        *IDENTITY,
        pa.field("images.content_sha256", pa.binary(32)),
        pa.field("inspect.phash", pa.uint64()),
        pa.field("inspect.dhash", pa.uint64()),
        pa.field("inspect.entropy", pa.float32()),
    ]
)
MAX_BYTES_PER_ROW = 90
"""What NumPy and Python may hold at a time while rows are grouped, beside the rows themselves."""

A = 0x0F0F_3C3C_5555_9696
B = 0xF00D_1234_ABCD_7777


def make_rows(*entries, shard_rows=1000):
    """Make rows from (content, phash, dhash, entropy); the n-th has an image_id that ends in n."""
    table: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    for number, (content, phash, dhash, entropy) in enumerate(entries):
        table["shard"].append(number // shard_rows)
        table["row"].append(number % shard_rows)
        table["image_id"].append(bytes(14) + number.to_bytes(2, "big"))
        digest = hashlib.sha256(content.encode()).digest() if content is not None else None
        table["images.content_sha256"].append(digest)
        table["inspect.phash"].append(phash)
        table["inspect.dhash"].append(dhash)
        table["inspect.entropy"].append(entropy)
    return pa.table(table, schema=SCHEMA)


def make_stage(**config):
    parsed = DedupStage.parse(config, "stages.dedup")
    assert isinstance(parsed, DedupConfig)
    stage = DedupStage(parsed)
    stage.setup()
    return stage


def answer(stage, rows):
    """Return (group, distance, method, error) of each row, from one block, and the facts."""
    result, facts = stage.groups(rows, [stage.edges(rows, None)])
    assert result.schema == DEDUP
    groups = [int.from_bytes(group[-2:], "big") for group in result["group"].to_pylist()]
    return list(zip(groups, *(result[c].to_pylist() for c in DEDUP.names[1:]), strict=True)), facts


def flip(value, *bits):
    """Return `value` with the given bits changed."""
    for bit in bits:
        value ^= 1 << bit
    return value


def test_the_same_content_is_one_group_whatever_the_hashes_say():
    """Equal files are joined even where inspect could not look at one, or the image is flat."""
    rows = make_rows(
        ("same", None, None, None), ("other", A, A, 7.0), ("same", B, B, 0.2), ("x", 5, 5, 7.0)
    )

    found, facts = answer(make_stage(), rows)

    assert [row[:3] for row in found] == [
        (0, 0, "exact"),
        (1, None, None),
        (0, 0, "exact"),
        (3, None, None),
    ]
    assert found[0][3] == "missing_input: inspect.phash is null"
    assert facts["num_groups"] == 1
    assert facts["num_exact_rows"] == 2


def test_hashes_within_the_radius_link_and_those_beyond_do_not():
    """Eight bits of difference are near at radius 8, nine are not."""
    rows = make_rows(
        ("a", A, A, 7.0), ("b", flip(A, *range(8)), A, 7.0), ("c", flip(A, *range(40, 49)), A, 7.0)
    )

    found, facts = answer(make_stage(), rows)

    assert [row[:3] for row in found] == [
        (0, 8, "perceptual"),
        (0, 8, "perceptual"),
        (2, None, None),
    ]
    assert facts["rows_by_distance"] == {"8": 2}


def test_the_second_hash_refuses_what_only_the_first_takes_for_the_same():
    """Equal pHashes with far dHashes are two images; 64 turns the check off."""
    rows = make_rows(("a", A, A, 7.0), ("b", A, ~A & (2**64 - 1), 7.0))

    checked, _ = answer(make_stage(), rows)
    unchecked, _ = answer(make_stage(perceptual={"check_radius": 64}), rows)

    assert [row[0] for row in checked] == [0, 1]
    assert [row[:3] for row in unchecked] == [(0, 0, "perceptual"), (0, 0, "perceptual")]


def test_flat_images_link_by_content_only():
    """Images below min_entropy never link by hash, on neither side."""
    rows = make_rows(("a", A, A, 0.9), ("b", A, A, 7.0), ("c", A, A, 0.9), ("b2", A, A, 1.0))

    found, facts = answer(make_stage(), rows)

    assert [row[0] for row in found] == [0, 1, 2, 1]
    assert [row[3] for row in found] == [None] * 4
    assert facts["num_rows_without_signature"] == 2


def test_hashes_of_almost_no_bits_link_by_content_only():
    """Flat pictures and gradients share a few hashes whatever their entropy."""
    flat, gradient = 1 << 63, 1 << 63 | 1 << 55
    rows = make_rows(("a", flat, 0, 6.0), ("b", flat, 0, 6.0), ("c", gradient, 0, 6.0))

    found, facts = answer(make_stage(), rows)

    assert [row[:3] for row in found] == [(n, None, None) for n in range(3)]
    assert facts["num_rows_without_signature"] == 3


def test_a_chain_is_one_group_with_the_distance_of_each_row_s_own_nearest():
    """a-b-c is a group though a and c are far; distance is that of the lightest link of the row."""
    b = flip(A, 0, 1, 2, 3, 4, 5)
    c = flip(b, 20, 21, 22, 23, 24, 25, 26)
    rows = make_rows(("c", c, A, 7.0), ("b", b, A, 7.0), ("a", A, A, 7.0))

    found, facts = answer(make_stage(), rows)

    assert [row[:2] for row in found] == [(0, 7), (0, 6), (0, 6)]
    assert facts["largest_groups"][0]["spread_bits"] == 13


def test_a_group_that_grew_too_large_loses_its_longest_links():
    """Pieces that hold together at a smaller radius stay; the cut is reported."""
    far = flip(A, *range(8))
    rows = make_rows(*((f"a{i}", flip(A, 40 + i), A, 7.0) for i in range(3)), ("b", far, A, 7.0))

    whole, _ = answer(make_stage(), rows)
    cut, facts = answer(make_stage(perceptual={"max_group": 3, "radius": 9}), rows)

    assert {row[0] for row in whole} == {0, 3}
    assert [row[:2] for row in cut] == [(0, 2), (0, 2), (0, 2), (3, None)]
    assert facts["components_cut"] == [{"num_contents": 4, "radius": 8}]
    assert facts["num_links_cut"] == 3


def test_too_many_contents_under_one_hash_are_not_believed():
    """A bucket beyond max_group falls apart into its contents, counted over the whole dataset."""
    rows = make_rows(
        *((f"a{i}", A, A, 7.0) for i in range(4)),
        ("a0", A, A, 7.0),
        *((f"b{i}", B, B, 7.0) for i in range(3)),
        shard_rows=2,
    )

    found, facts = answer(make_stage(perceptual={"max_group": 3}), rows)

    assert [row[0] for row in found] == [0, 1, 2, 3, 0, 5, 5, 5]
    assert [row[2] for row in found[:5]] == ["exact", None, None, None, "exact"]
    assert facts["hashes_unlinked"] == [{"phash": f"{A:016x}", "num_contents": 4}]


def test_equal_hashes_need_no_edges():
    """A large bucket of one hash costs neither pairs nor edges, and is still one group."""
    rows = make_rows(*((f"c{i % 50}", A, A, 7.0) for i in range(2000)))
    stage = make_stage()

    edges = stage.edges(rows, None)
    found, facts = answer(stage, rows)

    assert len(edges) == 0
    assert {row[:2] for row in found} == {(0, 0)}
    assert facts["largest_groups"] == [
        {"group": "00" * 16, "num_rows": 2000, "num_contents": 50, "spread_bits": 0}
    ]


def random_rows(seed, count):
    """Make rows with families of near hashes, equal contents, flat and unreadable images."""
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 2**63, count // 6, dtype=np.uint64)
    entries: list[tuple[Any, ...]] = []
    for number in range(count):
        base = int(bases[rng.integers(len(bases))])
        phash = flip(base, *rng.choice(64, rng.integers(0, 7), replace=False).tolist())
        dhash = flip(base, *rng.choice(64, rng.integers(0, 14), replace=False).tolist())
        content = f"copy {base}" if rng.random() < 0.1 else f"file {number}"
        if content.startswith("copy"):
            phash = dhash = base
        entropy = 0.5 if base % 11 == 0 else 7.0
        entries.append((content, phash, dhash, entropy))
    entries[5] = (None, None, None, None)
    entries[6] = ("broken", None, None, None)
    return entries


@pytest.mark.parametrize("exact", [True, False])
def test_blocks_and_their_order_change_no_answer(exact):
    """One block, nine small ones, or the same ones turned round: the same groups and distances."""
    entries = random_rows(7, 900)
    whole = make_rows(*entries)
    stage = make_stage(exact=exact)
    expected, _ = answer(stage, whole)
    assert sum(row[1] is not None for row in expected) > 400
    assert sum(row[1] is None for row in expected) > 20

    small = make_rows(*entries, shard_rows=100)
    blocks = [small.slice(start, 100) for start in range(0, 900, 100)]
    for order in (blocks, blocks[::-1]):
        edges = [
            stage.edges(left, None if right is left else right)
            for position, left in enumerate(order)
            for right in order[position:]
        ]
        rows = pa.concat_tables(order)
        result, _ = stage.groups(rows, edges)
        by_id = dict(zip(rows["image_id"].to_pylist(), result.to_pylist(), strict=True))
        found = [by_id[image_id] for image_id in whole["image_id"].to_pylist()]
        assert [
            (int.from_bytes(row["group"][-2:], "big"), row["distance"], row["method"])
            for row in found
        ] == [row[:3] for row in expected]


def test_memory_for_a_row_is_that_of_a_few_numbers():
    """Ten million rows are grouped at once, so nothing may become a Python object for each."""
    num_rows = 100_000
    rng = np.random.default_rng(0)
    numbers = np.arange(num_rows)

    def random_bytes(width):
        data = pa.py_buffer(rng.bytes(width * num_rows))
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), num_rows, [None, data])

    def random_hashes():
        return rng.integers(0, 2**64, num_rows, dtype=np.uint64) | np.uint64(0xFFFF_FFFF)

    columns = [numbers // 1000, numbers % 1000, random_bytes(16), random_bytes(32)]
    hashes = [random_hashes(), random_hashes(), np.full(num_rows, 7, np.float32)]
    rows = pa.Table.from_arrays([pa.array(c) for c in [*columns, *hashes]], SCHEMA.names)
    stage = make_stage()
    stage.groups(make_rows(("a", A, B, 7.0)), [])  # what it imports is no row's
    tracemalloc.start()

    result, _ = stage.groups(rows.cast(SCHEMA), [])

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result["group"].to_pylist() == rows["image_id"].to_pylist()
    assert peak / num_rows < MAX_BYTES_PER_ROW


def test_edges_are_all_near_pairs_and_nothing_else():
    """The edges between two blocks equal what comparing every pair in Python finds."""
    entries = random_rows(3, 160)
    rows = make_rows(*entries)
    left, right = rows.slice(0, 80), rows.slice(80)
    stage = make_stage()

    edges = stage.edges(left, right)

    assert edges.schema == DEDUP_EDGES
    columns = [edges[name].to_pylist() for name in ("left_row", "right_row", "distance")]
    found = {
        (entries[a][1:3], entries[b][1:3], distance)
        for a, b, distance in zip(*columns, strict=True)
    }
    expected = set()
    for a in entries[:80]:
        for b in entries[80:]:
            if a[1] is None or b[1] is None or min(a[3], b[3]) < 1.0 or a[1:3] == b[1:3]:
                continue
            if min(a[1].bit_count(), b[1].bit_count()) < MIN_PHASH_BITS:
                continue
            distance = (a[1] ^ b[1]).bit_count()
            if distance <= 8 and (a[2] ^ b[2]).bit_count() <= 16:
                expected.add((a[1:3], b[1:3], distance))
    assert found == expected
    assert len(expected) > 20


def test_an_empty_dataset_has_no_groups():
    """No rows in, no rows out, and facts that say so."""
    found, facts = answer(make_stage(), make_rows())

    assert found == []
    assert facts["num_groups"] == 0


def test_without_perceptual_only_content_is_read():
    """`perceptual: null` reads no hashes and makes no edges."""
    stage = make_stage(perceptual=None)
    rows = make_rows(("a", A, A, 7.0), ("b", A, A, 7.0), ("a", None, None, None), (None,) * 4)
    rows = rows.select(["shard", "row", "image_id", *stage.reads()])

    found, _ = answer(stage, rows)

    assert stage.reads() == ("images.content_sha256",)
    assert [row[0] for row in found] == [0, 1, 0, 3]
    assert found[3][3] == "missing_input: images.content_sha256 is null"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"semantic": {"cosine": 0.95}}, "semantic"),
        ({"perceptual": {"radus": 8}}, "radius"),
        ({"perceptual": {"radius": 40}}, "31"),
        ({"exact": False, "perceptual": None}, "nothing is compared"),
    ],
)
def test_a_wrong_configuration_is_refused_in_words(config, words):
    """Unknown keys, values out of range, and a dedup that compares nothing are errors."""
    with pytest.raises(ConfigError, match=words):
        DedupStage.parse(config, "stages.dedup")
