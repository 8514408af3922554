"""Ranges read together."""

from hypothesis import given
from hypothesis import strategies as st

from curation.ingest.spans import BATCH_BYTES, GAP_BYTES, Spans

DATA = bytes(range(256)) * 40


class Reader:
    """Remembers what was read."""

    def __init__(self, data=DATA):
        self.data = data
        self.reads = []

    def __call__(self, start, stop):
        self.reads.append((start, stop))
        return self.data[start:stop]


@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 3000)), max_size=20), st.randoms())
def test_each_range_is_what_it_names(pairs, generator):
    """In any order, overlapping, repeated or beyond the end; all from one read where close."""
    wanted = [(start, start + length) for start, length in pairs]
    reader = Reader()
    spans = Spans(wanted, reader)
    order = list(range(len(wanted)))
    generator.shuffle(order)

    for index in order:
        start, stop = wanted[index]
        assert spans.get(index) == DATA[start:stop]
    assert len(reader.reads) == (1 if wanted else 0)
    assert not spans._held


def test_far_ranges_are_read_apart():
    """Two requests where the gap is worth one."""
    far = 10 + GAP_BYTES
    reader = Reader(bytes(far + 20))
    spans = Spans([(0, 10), (far, far + 10), (far + 11, far + 20)], reader)

    assert [len(spans.get(index)) for index in (0, 1, 2)] == [10, 10, 9]
    assert reader.reads == [(0, far + 20)]

    reader = Reader(bytes(far + 20))
    spans = Spans([(0, 9), (far, far + 10)], reader)
    assert [len(spans.get(index)) for index in (0, 1)] == [9, 10]
    assert reader.reads == [(0, 9), (far, far + 10)]


def test_a_read_ends_at_its_bound():
    """However close the next range is."""
    reader = Reader(b"")
    spans = Spans([(0, BATCH_BYTES), (BATCH_BYTES, BATCH_BYTES + 1)], reader)

    assert [spans.get(0), spans.get(1)] == [b"", b""]
    assert reader.reads == [(0, BATCH_BYTES), (BATCH_BYTES, BATCH_BYTES + 1)]
