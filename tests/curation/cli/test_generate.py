"""`longtail generate`: what it refuses."""

import pytest

from tests.curation.cli.cli_runs import longtail


@pytest.mark.parametrize("name", ["missing/red.png", "red.gif"])
def test_a_picture_that_cannot_be_written_is_refused_first(capsys, tmp_path, name):
    """Before a model is loaded for it."""
    ran = longtail(capsys, "generate", tmp_path, "--prompt", "red", "--out", tmp_path / name)

    assert ran.code == 2
    assert f"{name}: expected a file that ends in .png, in a folder that is there" in ran.err
