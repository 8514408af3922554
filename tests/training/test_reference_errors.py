"""Reference errors that are computed before a run, and compared to in it."""

import itertools
import shutil
from dataclasses import replace

import pyarrow.compute as pc
import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from curation import storage
from curation.dataset import Dataset
from curation.errors import UsageError
from curation.snapshot.verify import verify_snapshot
from curation.tables import read_table, write_table
from tests.training.data.test_preferences import BUCKETS, source_of
from training.data.plan import BatchConfig, Cursor
from training.data.preferences import read_pair_table
from training.encoders.latents import BlockDctConfig, make_codec
from training.encoders.texts import HashedTokensConfig, make_text_encoder
from training.model import Dit, ModelConfig
from training.objectives.dpo import (
    DpoConfig,
    DpoObjective,
    FrozenReference,
    PrecomputedReference,
)
from training.objectives.flow import SigmaConfig, draw_sigma
from training.reference_errors import (
    ReferenceErrors,
    ReferenceMeaning,
    errors_folder,
    write_reference_errors,
)


def meaning_of(**changes):
    """Say what `source_of` and `model_of` compute."""
    value = {
        "reference": "of seed 0",
        "codec": dict(make_codec(BlockDctConfig()).identity()),
        "text": dict(make_text_encoder(HashedTokensConfig()).identity()),
        "precision": "fp32",
        "sigma": SigmaConfig(),
        "seed": 3,
        "buckets": BUCKETS,
    }
    return ReferenceMeaning.model_validate({**value, **changes})


def model_of(seed=0):
    """Make a tiny transformer without layers of zeros."""
    torch.manual_seed(seed)
    model = Dit(ModelConfig.model_validate({"preset": "tiny", "num_layers": 1}), 192, 64)
    for parameter in model.parameters():
        if not parameter.abs().max():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


@pytest.fixture
def place(preferred, tmp_path):
    """Copy the dataset, which the tests write into; return it and the snapshot."""
    dataset, snapshot = preferred
    shutil.copytree(dataset.store.root, tmp_path / "dataset")
    return Dataset.open(str(tmp_path / "dataset")), snapshot


def pairs_of(place, split):
    dataset, snapshot = place
    return read_pair_table(dataset, snapshot, split)


def write(place, meaning, model, source, epochs=(0,)):
    dataset, snapshot = place
    return write_reference_errors(dataset, snapshot, meaning, model, source, epochs)


def open_errors(place, meaning, table):
    dataset, snapshot = place
    return ReferenceErrors(dataset, snapshot, meaning, table)


def files_of(place, meaning=None):
    folder = errors_folder(place[1], meaning or meaning_of())
    return [name.rsplit("/", 1)[-1] for name in place[0].store.files(folder)]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_what_was_computed_before_is_what_the_reference_gives(place, split):
    """To 1e-6, in batches that are cut otherwise, and over what an epoch leaves to the next."""
    table = pairs_of(place, split)
    write(place, meaning_of(), model_of(), source_of(table, micro_size=3), range(3))
    errors = open_errors(place, meaning_of(), table)
    source = source_of(table, reference=errors, batch=BatchConfig(size=2), micro_size=2)
    live, model = FrozenReference(model_of()), model_of(1)
    before = DpoObjective(DpoConfig(), model, PrecomputedReference())
    beside = DpoObjective(DpoConfig(), model, live)

    if split == "validation":
        batches = source.once(100)
    else:
        plain = source_of(table, batch=BatchConfig(size=2), micro_size=2).batches(Cursor())
        num_batches = sum(1 for _ in itertools.takewhile(lambda b: b.cursor.epoch < 3, plain))
        wholes = itertools.islice(source.batches(Cursor()), num_batches)
        batches = (batch for whole in wholes for batch in whole.micro)
    count = 0
    visited = set()
    for batch in batches:
        sigma, noise = draw_sigma(SigmaConfig(), batch), batch.noise("noise")
        expected = live.errors(batch, sigma, noise)
        assert torch.allclose(batch.reference_B2, expected, rtol=0, atol=1e-6)
        assert float(expected.min()) > 1e-3
        phase = before.next_phase({})
        losses = [about.update(phase, batch).loss.detach() for about in (before, beside)]
        assert float((losses[0] - losses[1]).abs()) < 1e-6
        count += len(batch)
        visited.add(tuple(sorted({key.epoch for key in batch.keys})))
    assert count >= len(table)
    assert split == "validation" or {len(epochs) for epochs in visited} == {1, 2}


def test_the_files_are_a_table_beside_the_snapshot(place):
    """One file an epoch, by pair_id, with the noise level; the snapshot is what it was."""
    table = pairs_of(place, "train")

    put = write(place, meaning_of(), model_of(), source_of(table), [1, 0, 1])

    assert [name.rsplit("/", 1)[-1] for name in put] == [
        "epoch-00000000.parquet",
        "epoch-00000001.parquet",
    ]
    for epoch, name in enumerate(put):
        rows = read_table(place[0].store, name)
        assert rows["pair_id"].to_pylist() == sorted(i.tobytes() for i in table.pair_ids)
        assert pc.unique(rows["epoch"]).to_pylist() == [epoch]
        assert 0 < pc.min(rows["sigma"]).as_py() < pc.max(rows["sigma"]).as_py() < 1
        assert set(rows["numel"].to_pylist()) <= {192 * w * h // 64 for w, h in BUCKETS}
    levels = [read_table(place[0].store, name)["sigma"].to_pylist() for name in put]
    assert not set(levels[0]) & set(levels[1])
    assert verify_snapshot(place[0], place[1]) == []


def test_what_is_there_is_not_computed_again(place, monkeypatch):
    """Killed between epochs it goes on with the one that is missing, to the same bytes."""
    source = source_of(pairs_of(place, "train"))
    write(place, meaning_of(), model_of(), source, [0])

    def kill(point, name):
        if point == "written" and "epoch-00000001" in name:
            raise KeyboardInterrupt

    monkeypatch.setattr(storage, "fault_hook", kill)
    with pytest.raises(KeyboardInterrupt):
        write(place, meaning_of(), model_of(), source, [0, 1])
    monkeypatch.setattr(storage, "fault_hook", None)
    assert files_of(place) == ["epoch-00000000.parquet", "meaning.json"]

    put = write(place, meaning_of(), model_of(), source, [0, 1])

    assert [name.rsplit("/", 1)[-1] for name in put] == ["epoch-00000001.parquet"]
    assert write(place, meaning_of(), model_of(), source, [0, 1]) == []


def test_an_epoch_that_was_not_computed_is_refused(place):
    """Before the run where it asks, and when it comes to it."""
    table = pairs_of(place, "train")
    write(place, meaning_of(), model_of(), source_of(table), [0])
    errors = open_errors(place, meaning_of(), table)
    source = source_of(table, reference=errors, batch=BatchConfig(size=1))

    with pytest.raises(UsageError, match=r"epoch 2 was not computed, there are epoch-00000000\."):
        errors.require([0, 2])
    with pytest.raises(UsageError, match="epoch 1 was not computed"):
        list(itertools.islice(source.batches(Cursor()), len(table) + 1))
    held_out = open_errors(place, meaning_of(), pairs_of(place, "validation"))
    with pytest.raises(UsageError, match="held-out pairs were not computed"):
        held_out.require([0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reference": "another"}, r"reference \(there of seed 0, here another\)"),
        ({"seed": 4}, r"seed \(there 3, here 4\)"),
        ({"precision": "bf16"}, r"precision \(there fp32, here bf16\)"),
        ({"sigma": {"shift": 3.0}}, r"sigma\.shift \(there 1\.0, here 3\.0\)"),
        ({"buckets": BUCKETS[:3]}, "buckets"),
        ({"text": {"encoder": "hashed_tokens"}}, r"text\.max_tokens \(there 256, here None\)"),
    ],
)
def test_errors_of_another_meaning_are_refused(place, changes, said):
    """The sentence says what differs."""
    table = pairs_of(place, "validation")
    write(place, meaning_of(), model_of(), source_of(table))

    with pytest.raises(UsageError, match=f"no errors of this reference were computed: .*{said}"):
        open_errors(place, meaning_of(**changes), table)


def test_where_nothing_was_computed_it_says_so(place):
    """Rather than that something differs."""
    with pytest.raises(UsageError, match="were computed; compute them first"):
        open_errors(place, meaning_of(), pairs_of(place, "train"))


def test_a_pair_that_is_missing_is_refused(place):
    """And one whose latent has another size."""
    table = pairs_of(place, "train")
    (path,) = write(place, meaning_of(), model_of(), source_of(table))
    whole = read_table(place[0].store, path)
    source = source_of(table, batch=BatchConfig(size=1))
    keys = [
        k for whole_ in itertools.islice(source.batches(Cursor()), 3) for k in whole_.micro[0].keys
    ]

    write_table(
        place[0].store, path, whole.filter(pc.not_equal(whole["pair_id"], keys[1].image_id))
    )
    errors = open_errors(place, meaning_of(), table)
    with pytest.raises(UsageError, match=f"lacks pair {keys[1].image_id.hex()}; delete the file"):
        errors.of(keys[1:], 7)
    with pytest.raises(UsageError, match="elements, its latent has 7"):
        errors.of(keys[:1], 7)


def test_an_error_that_is_no_number_is_refused(place):
    """Nothing is written of that epoch."""
    model = model_of()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))

    with pytest.raises(
        UsageError, match="pair [0-9a-f]{32}: the reference's errors at noise level"
    ):
        write(place, meaning_of(), model, source_of(pairs_of(place, "train")))
    assert files_of(place) == ["meaning.json"]


def test_a_forgotten_pair_is_left_out_and_counts_nothing(place):
    """Its errors are 0, whether they were computed before it was forgotten or not."""
    table = pairs_of(place, "train")
    forbidden = table.forbidden.copy()
    forbidden[0] = True
    without = replace(table, forbidden=forbidden)
    (path,) = write(place, meaning_of(), model_of(), source_of(without))
    assert len(read_table(place[0].store, path)) == len(table) - 1

    errors = open_errors(place, meaning_of(), without)
    source = source_of(without, reference=errors, batch=BatchConfig(size=1))
    found = {
        batch.keys[0].image_id: (float(batch.weight_B), batch.reference_B2.tolist())
        for whole in itertools.islice(source.batches(Cursor()), len(table))
        for batch in whole.micro
    }

    assert found[table.pair_ids[0].tobytes()] == (0.0, [[0.0, 0.0]])
    assert sum(weight for weight, _ in found.values()) == len(table) - 1


def compute_on_a_rank(rank, url, snapshot, meeting):
    """Compute a share, as one of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    dataset = Dataset.open(url)
    for split in ("train", "validation"):
        source = source_of(
            read_pair_table(dataset, snapshot, split), rank=rank, world_size=2, micro_size=3
        )
        write_reference_errors(dataset, snapshot, meaning_of(), model_of(), source, [0, 1])
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_write_what_one_does(place, preferred, tmp_path):
    """Every pair once, to 1e-6."""
    torch.set_num_threads(1)
    dataset, snapshot = place
    start_processes(
        compute_on_a_rank,
        (dataset.store.root, snapshot, tmp_path / "meeting"),
        nprocs=2,
        start_method="spawn",
    )
    names = ["epoch-00000000.parquet", "epoch-00000001.parquet", "held_out.parquet", "meaning.json"]
    assert files_of(place) == names
    folder = errors_folder(snapshot, meaning_of())
    together = {n: read_table(dataset.store, f"{folder}/{n}").to_pylist() for n in names[:3]}
    for name in names:
        dataset.store.delete(f"{folder}/{name}")

    for split in ("train", "validation"):
        source = source_of(pairs_of(place, split))
        write(place, meaning_of(), model_of(), source, [0, 1])

    for name in names[:3]:
        alone = read_table(dataset.store, f"{folder}/{name}").to_pylist()
        assert [row["pair_id"] for row in alone] == [row["pair_id"] for row in together[name]]
        for one, other in zip(alone, together[name], strict=True):
            assert one == pytest.approx(other, abs=1e-6)
