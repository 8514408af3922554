"""`longtail report`, as it is typed."""

import pytest
from click.testing import CliRunner

from curation.cli import longtail
from curation.errors import UsageError


def test_the_command_writes_the_page(session, source, tmp_path):
    """The latest snapshot, or one by the beginning of its id; the file's name is printed."""
    pages = []
    for number, extra in enumerate([(), ("--snapshot", source.manifest.id[:8])]):
        out = tmp_path / f"{number}.html"
        done = CliRunner().invoke(
            longtail, ["report", session.config.dataset, "--output", str(out), *extra]
        )
        assert done.exit_code == 0, done.output
        assert done.output.strip() == str(out)
        pages.append(out.read_bytes())

    assert pages[0] == pages[1]
    assert pages[0].startswith(b"<!doctype html>")
    assert len(pages[0]) < 20_000_000


def test_the_page_is_not_written_into_a_dataset(session):
    """Files there belong to stages and snapshots."""
    out = f"{session.config.dataset}/report.html"

    with pytest.raises(UsageError, match="is a dataset; name a file outside it"):
        CliRunner().invoke(
            longtail,
            ["report", session.config.dataset, "--output", out],
            standalone_mode=False,
            catch_exceptions=False,
        )
