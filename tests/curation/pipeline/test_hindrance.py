"""What charges a shard, and what is no fault of any."""

import errno

import pytest

from curation.errors import (
    ConfigError,
    ConservationError,
    ContractError,
    EndpointError,
    LongtailError,
    ResourceError,
    StorageError,
    UsageError,
)
from curation.pipeline.hindrance import hindrance, setup_hindrance

KINDS = [StorageError, EndpointError, UsageError, ConfigError, ResourceError]


@pytest.mark.parametrize("kind", KINDS)
def test_the_store_an_endpoint_and_the_request_are_hindrances(kind):
    """Their messages say what to do, so they are the sentence."""
    assert hindrance("luma, shard 3", kind("the bucket is gone; make it")) == (
        "luma, shard 3: the bucket is gone; make it"
    )


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("by peer"),
        TimeoutError("30 s"),
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied", "shard-00000003.parquet"),
        OSError(errno.EMFILE, "Too many open files"),
    ],
)
def test_the_machine_and_the_network_are_hindrances(error):
    """The next shard would fail in the same way."""
    sentence = hindrance("luma, shard 3", error)

    assert sentence.startswith(f"luma, shard 3: {type(error).__name__}: ")
    assert sentence.endswith("run the same command again: finished shards are kept")


@pytest.mark.parametrize(
    "error",
    [
        ContractError("stage luma, column mean: missing"),
        ConservationError("10 rows in, 9 rows out"),
        LongtailError("something else"),
        FileNotFoundError(errno.ENOENT, "No such file", "shard-00000003.parquet"),
        OSError("Couldn't deserialize thrift"),  # what Arrow says of a corrupt file
        OSError(errno.EIO, "Input/output error"),
        ValueError("bad"),
    ],
)
def test_what_is_wrong_with_one_shard_is_none(error):
    """Others can be worked on: the shard is charged."""
    assert hindrance("luma, shard 3", error) == ""


def test_a_failing_setup_is_a_hindrance_whatever_it_raised():
    """No shard was in hand. An error of ours brings its own advice."""
    assert setup_hindrance("clip", DatasetlessError("weights are missing; fetch them")) == (
        "clip cannot be set up: weights are missing; fetch them"
    )
    assert setup_hindrance("clip", KeyError("model")) == (
        "clip cannot be set up: KeyError: 'model'; mend that, then run the same command again: "
        "finished shards are kept"
    )


class DatasetlessError(LongtailError):
    pass


def test_no_secret_is_repeated():
    """Not even the half of one that a limit on the length would leave."""
    url = "https://bob:hunter2@api.example/v1?api_key=SECRET"
    far = ConnectionError("x" * 960 + f" {url}")
    said = [
        hindrance("luma, shard 3", StorageError(url)),
        hindrance("luma, shard 3", far),
        setup_hindrance("clip", StorageError(url)),
        setup_hindrance("clip", KeyError(url)),
    ]

    assert all("hunter" not in text and "SECRET" not in text for text in said)
    assert all("***" in text for text in said)
