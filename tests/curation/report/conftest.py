"""One curated lake for all tests here: they only read it."""

import pytest

from curation.report.page import make_page
from tests.curation.report.report_dataset import run_pipeline, snapshot, source_of


@pytest.fixture(scope="session")
def session(tmp_path_factory):
    """A curated lake with one snapshot."""
    made = run_pipeline(tmp_path_factory.mktemp("report"))
    snapshot(made)
    return made


@pytest.fixture(scope="session")
def source(session):
    """What a report on the snapshot is about."""
    return source_of(session)


@pytest.fixture(scope="session")
def page(source):
    """The content of that report."""
    return make_page(source)
