"""Batches of pairs: whole, in order, keyed, and without what was forgotten."""

import itertools
import shutil
import uuid
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from curation.dataset import Dataset
from curation.errors import SnapshotError
from curation.forget import Request, erase, find
from jobs.snapshot import create_snapshot
from stages.registry import STAGES
from training.data.buckets import scaled_buckets
from training.data.captions import CaptionConfig
from training.data.images import ImageReader
from training.data.plan import BatchConfig, Cursor
from training.data.preferences import PairSource, read_pair_table
from training.data.source import SnapshotSource
from training.data.table import read_training_table
from training.encoders.latents import BlockDctConfig, make_codec
from training.encoders.texts import HashedTokensConfig, make_text_encoder

CPU = torch.device("cpu")
BUCKETS = scaled_buckets(32, 8)
TOKENS = [width * height // 64 for width, height in BUCKETS]


def source_of(table, codec=None, **options):
    """Make a source of pairs with the embedded encoders."""
    options = {"batch": BatchConfig(size=6), "seed": 3, "micro_size": 4, **options}
    return PairSource(
        table,
        codec or make_codec(BlockDctConfig()),
        make_text_encoder(HashedTokensConfig()),
        ImageReader(table.images, BUCKETS, ("file",), 1 << 24),
        image_tokens=TOKENS,
        device=CPU,
        **options,
    )


def epochs(source, count):
    """Return the global batches of the first epochs."""
    found = itertools.takewhile(lambda b: b.cursor.epoch < count, source.batches(Cursor()))
    return list(found)


def test_a_table_is_the_kept_pairs_of_a_split(preferred):
    """Both images are found, of one aspect; held-out pairs may show images of both splits."""
    dataset, snapshot = preferred
    tables = {split: read_pair_table(dataset, snapshot, split) for split in ("train", "validation")}

    for table in tables.values():
        assert len(table) > 3
        assert len(set(table.images.image_ids.tolist())) == len(table.images)
        assert (table.images.aspect[table.winners] == table.images.aspect[table.losers]).all()
        assert not table.forbidden.any()
    assert not set(tables["train"].prompts) & set(tables["validation"].prompts)
    train = read_training_table(dataset, snapshot, "train").image_ids
    assert set(tables["train"].images.image_ids.tolist()) <= set(train.tolist())


def test_each_pair_comes_once_an_epoch_with_its_own_pictures(preferred):
    """Winner and loser have the colours that the pair says, and the text is the prompt."""
    dataset, snapshot = preferred
    table = read_pair_table(dataset, snapshot, "train")
    codec, texts = make_codec(BlockDctConfig()), make_text_encoder(HashedTokensConfig())
    reader = ImageReader(table.images, BUCKETS, ("file",), 0)
    place = {pair_id.tobytes(): n for n, pair_id in enumerate(table.pair_ids)}
    seen = []
    for found in epochs(source_of(table, batch=BatchConfig(size=1), micro_size=1), 2):
        (batch,) = found.micro
        (key,) = batch.keys
        seen.append((key.epoch, key.image_id))
        if key.epoch:
            continue
        number = place[key.image_id]
        for latent, side in ((batch.latent_BCHW, "winners"), (batch.loser_BCHW, "losers")):
            (pixels,) = reader.read([int(getattr(table, side)[number])])
            assert torch.equal(latent, codec.encode(torch.from_numpy(pixels[None].copy())))
        assert torch.equal(batch.text_BTD[0], texts.encode([table.prompts[number]], CPU)[0])
        assert float(batch.weight_B) == 1
        assert batch.reference_B2 is None
    assert sorted(seen) == sorted((e, i) for e in (0, 1) for i in place)


def test_ranks_share_global_batches_and_their_draws(preferred):
    """Two ranks together have what one has, pair for pair, and as many micro-batches each."""
    dataset, snapshot = preferred
    table = read_pair_table(dataset, snapshot, "train")

    def visits(rank, world_size):
        source = source_of(table, batch=BatchConfig(size=5), rank=rank, world_size=world_size)
        found = []
        for whole in epochs(source, 3):
            noise = {}
            for batch in whole.micro:
                for n, key in enumerate(batch.keys):
                    if batch.weight_B[n]:
                        noise[key] = float(batch.noise("noise")[n].sum())
            found.append((noise, len(whole.micro), whole.num_samples))
        return found

    alone, first, second = visits(0, 1), visits(0, 2), visits(1, 2)

    assert len(alone) == len(first) == len(second)
    for one, a, b in zip(alone, first, second, strict=True):
        assert one[0] == a[0] | b[0]
        assert not a[0].keys() & b[0].keys()
        assert a[1:] == b[1:]
        assert one[2] == a[2]


def test_a_source_goes_on_where_it_stood(preferred):
    """From any cursor the batches are those of a source that never stopped."""
    dataset, snapshot = preferred
    table = read_pair_table(dataset, snapshot, "train")
    straight = list(itertools.islice(source_of(table).batches(Cursor()), 6))

    cursor = Cursor.from_json(straight[2].cursor.to_json())
    (again,) = itertools.islice(source_of(table).batches(cursor), 1)

    for one, other in zip(straight[3].micro, again.micro, strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.latent_BCHW, other.latent_BCHW)
        assert torch.equal(one.loser_BCHW, other.loser_BCHW)


@pytest.mark.parametrize("limit", [2, 1000])
@pytest.mark.parametrize("world_size", [1, 2])
def test_held_out_pairs_are_looked_at_once(preferred, limit, world_size):
    """The same few for every number of ranks, in as many batches on each."""
    dataset, snapshot = preferred
    table = read_pair_table(dataset, snapshot, "validation")
    batches = [
        list(source_of(table, rank=rank, world_size=world_size, micro_size=2).once(limit))
        for rank in range(world_size)
    ]

    seen = [
        key.image_id
        for own in batches
        for batch in own
        for key, weight in zip(batch.keys, batch.weight_B, strict=True)
        if weight
    ]
    assert len(seen) == len(set(seen)) == min(limit, len(table))
    assert len({len(own) for own in batches}) == 1
    whole = [k.image_id for batch in source_of(table).once(limit) for k in batch.keys]
    assert set(seen) == set(whole)


def test_a_token_budget_counts_both_images_and_both_texts(preferred):
    """A batch of pairs holds half as many as one of images."""
    dataset, snapshot = preferred
    table = read_pair_table(dataset, snapshot, "train")
    source = source_of(table, batch=BatchConfig(tokens=100))

    for whole in epochs(source, 2):
        used = 0
        for batch in whole.micro:
            height, width = batch.latent_BCHW.shape[2:]
            used += 2 * len(batch) * (height * width + int(batch.text_lens_B.max()))
        assert used <= 100 or whole.num_samples == 1


def test_the_domain_is_that_of_the_winners_category(preferred):
    """Which the caller's mapping is asked for."""
    dataset, snapshot = preferred
    table = read_pair_table(dataset, snapshot, "train")
    paths = tuple(f"of/{number}" for number in range(len(table.images)))
    named = replace(table, images=replace(table.images, categories=paths))
    source = source_of(named, domain_of=lambda path: f"<{path}>")

    (whole,) = itertools.islice(source.batches(Cursor()), 1)

    place = {pair_id.tobytes(): n for n, pair_id in enumerate(table.pair_ids)}
    for batch in whole.micro:
        winners = [int(table.winners[place[key.image_id]]) for key in batch.keys]
        assert batch.domains == tuple(f"<of/{winner}>" for winner in winners)


def test_a_pair_of_a_forgotten_image_counts_nothing(preferred, tmp_path):
    """Its bytes and prompt are gone, its place stays, and the others are what they were."""
    dataset, snapshot = preferred
    shutil.copytree(dataset.store.root, tmp_path / "copy")
    copy = Dataset.open(str(tmp_path / "copy"))
    before = read_pair_table(dataset, snapshot, "train")
    gone = before.images.image_ids[before.losers[0]].tobytes()
    erase(copy, find(copy, Request(frozenset({gone})), STAGES), "asked to", "", purge=False)

    table = read_pair_table(copy, snapshot, "train")

    named = (before.winners == before.losers[0]) | (before.losers == before.losers[0])
    assert table.forbidden.tolist() == named.tolist()
    assert [p == "" for p in table.prompts] == named.tolist()
    weights: dict[bytes, torch.Tensor] = {}
    latents: dict[bytes, torch.Tensor] = {}
    for whole in epochs(source_of(table, batch=BatchConfig(size=1)), 1):
        for batch in whole.micro:
            weights |= dict(zip((k.image_id for k in batch.keys), batch.weight_B, strict=True))
            latents |= dict(zip((k.image_id for k in batch.keys), batch.latent_BCHW, strict=True))
    ids = [pair_id.tobytes() for pair_id in table.pair_ids]
    assert [float(weights[i]) for i in ids] == [float(not is_named) for is_named in named]
    for whole in epochs(source_of(before, batch=BatchConfig(size=1)), 1):
        for batch in whole.micro:
            for key, latent in zip(batch.keys, batch.latent_BCHW, strict=True):
                if weights[key.image_id]:
                    assert torch.equal(latents[key.image_id], latent)


def test_images_beside_a_forgotten_one_are_trained_on(preferred, tmp_path):
    """What has no bytes and no caption any more is black and counts nothing; nothing is refused."""
    dataset, snapshot = preferred
    shutil.copytree(dataset.store.root, tmp_path / "copy")
    copy = Dataset.open(str(tmp_path / "copy"))
    gone = read_training_table(copy, snapshot, "train").image_ids[0].tobytes()
    erase(copy, find(copy, Request(frozenset({gone})), STAGES), "asked to", "", purge=False)
    table = read_training_table(copy, snapshot, "train")
    table.check(CaptionConfig())
    source = SnapshotSource(
        table,
        make_codec(BlockDctConfig()),
        make_text_encoder(HashedTokensConfig()),
        ImageReader(table, BUCKETS, ("file",), 1 << 24),
        batch=BatchConfig(size=6),
        captions=CaptionConfig(),
        seed=0,
        image_tokens=TOKENS,
        device=CPU,
    )

    seen: dict[str, float] = {}
    for whole in itertools.takewhile(lambda b: b.cursor.epoch < 2, source.batches(Cursor())):
        for batch in whole.micro:
            seen |= dict(zip(batch.image_ids, batch.weight_B.tolist(), strict=True))

    assert len(seen) == len(table)
    assert {image_id for image_id, weight in seen.items() if not weight} == {gone.hex()}


def test_a_snapshot_without_pairs_is_refused(corpus):
    """In a sentence that says how to make one."""
    dataset = Dataset.open(str(corpus.parent / "dataset"))
    (snapshot,) = [
        name
        for name in dataset.store.names("snapshots")
        if not dataset.store.exists(f"snapshots/{name}/preferences")
    ]

    with pytest.raises(SnapshotError, match="has no preferences; make one with"):
        read_pair_table(dataset, snapshot, "train")


def test_a_snapshot_whose_pairs_are_all_out_is_refused(corpus, tmp_path):
    """It says why they are out."""
    shutil.copytree(corpus.parent / "dataset", tmp_path / "copy")
    dataset = Dataset.open(str(tmp_path / "copy"))
    (row,) = dataset.read_images(0, ["image_id"]).slice(0, 1).to_pylist()
    image = str(uuid.UUID(bytes=row["image_id"]))
    table = pa.table({"prompt": ["x"], "winner": [image], "loser": [image]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    made = create_snapshot(
        corpus, [f"dataset={dataset.store.root}"], preferences=str(tmp_path / "pairs.parquet")
    )

    with pytest.raises(SnapshotError, match="none of its 1 pairs .* out are 1 same_image"):
        read_pair_table(dataset, made.manifest.id, "train")
    assert len(read_pair_table(dataset, made.manifest.id, "validation")) == 0
