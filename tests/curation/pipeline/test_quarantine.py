"""Charge sheets on disk."""

import json

import pytest

from curation.dataset import Dataset
from curation.pipeline.dispatch import Charge
from curation.pipeline.quarantine import forgive, quarantined, read_charges, write_charges

CHARGES = [Charge("crashed", f"SIGSEGV {n}", f"cpu-{n}") for n in range(3)]


@pytest.fixture
def dataset(tmp_path):
    return Dataset.open_or_create(str(tmp_path / "data"))


def test_charges_come_back_as_written(dataset):
    """A sheet holds every try in order; without a sheet there are none."""
    assert read_charges(dataset, "luma", "0123", "shard-00000001") == []

    write_charges(dataset, "luma", "0123", "shard-00000001", CHARGES)

    assert read_charges(dataset, "luma", "0123", "shard-00000001") == CHARGES
    assert read_charges(dataset, "luma", "4567", "shard-00000001") == []


@pytest.mark.parametrize(
    ("count", "state"), [(1, "failing"), (2, "failing"), (3, "quarantined"), (4, "quarantined")]
)
def test_the_third_charge_gives_up(dataset, count, state):
    """Before it, a shard is failing and will be tried again."""
    charges = (CHARGES * 2)[:count]
    write_charges(dataset, "luma", "0123", "shard-00000001", charges)

    sheet = json.loads(dataset.store.read("quarantine/luma/0123/shard-00000001.json"))

    assert sheet["state"] == state
    assert [charge["try"] for charge in sheet["charges"]] == list(range(1, count + 1))
    given_up = quarantined(dataset, "luma", "0123")
    assert given_up == ({"shard-00000001": charges} if count >= 3 else {})


def test_forgiving_is_for_one_configuration(dataset):
    """All sheets of an instance go, the failing ones too; those of others stay."""
    write_charges(dataset, "luma", "0123", "shard-00000001", CHARGES)
    write_charges(dataset, "luma", "0123", "shard-00000002", CHARGES[:1])
    write_charges(dataset, "luma", "4567", "shard-00000001", CHARGES)

    assert forgive(dataset, "luma", "0123") == 2

    assert read_charges(dataset, "luma", "0123", "shard-00000002") == []
    assert list(quarantined(dataset, "luma", "4567")) == ["shard-00000001"]
    assert forgive(dataset, "luma", "0123") == 0
