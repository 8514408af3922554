"""Groups of a few shards, in this process and in the children of a run that use the fakes."""

import os

import pytest

from schemas import dataset as layout

VARIABLE = "LONGTAIL_TEST_GROUP"


def install() -> None:
    """Set the size of a group if the environment says so."""
    if VARIABLE in os.environ:
        layout.SHARDS_PER_GROUP = int(os.environ[VARIABLE])


def set_group_size(patch: pytest.MonkeyPatch, size: int) -> None:
    """Let groups have `size` shards until `patch` is undone."""
    patch.setenv(VARIABLE, str(size))
    patch.setattr(layout, "SHARDS_PER_GROUP", size)
