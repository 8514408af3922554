"""A lake of sixty tiny files and one dataset made of it, which the tests compare others with."""

import pytest

from tests.fakes.lake import make_lake
from tests.fakes.runs import run_stages


@pytest.fixture(scope="session")
def lake(tmp_path_factory):
    """57 images, an empty file, a truncated one and a repeated one; nobody changes it."""
    return make_lake(tmp_path_factory.mktemp("lake"), 57)


@pytest.fixture(scope="session")
def all_stages():
    """Every kind of stage: with pixels, reading others, crashing, fitted, own pool, relation."""
    return {
        "luma": {},
        "small": {"stage": "luma", "size_px": 4},
        "double": {"inputs": {"luma": "luma"}},
        "heavy": {"inputs": {"luma": "small"}},
        "bad": {"what": "segfault", "key": "img007"},
        "echo": {},
        "middle": {"inputs": {"luma": "luma"}, "sample_rows": 20},
        "twins": {},
    }


@pytest.fixture(scope="session")
def reference(tmp_path_factory, lake, all_stages):
    """All stages in one run, six shards of ten rows, one worker."""
    folder = tmp_path_factory.mktemp("reference") / "data"
    return run_stages(folder, lake, all_stages)
