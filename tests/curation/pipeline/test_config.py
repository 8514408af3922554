"""What the sections of a pipeline file ask of each other."""

import pytest

from curation.errors import ConfigError
from curation.pipeline.config import parse_pipeline

URLS = """
name: web
dataset: data/web
source:
  {name: web, kind: urls, roots: [lists], download: {contact: a@b.org, deadline_s: %s}}
"""


@pytest.mark.parametrize(("deadline_s", "run"), [(5000, ""), (60, "run: {task_timeout_s: 60}")])
def test_a_download_must_end_before_its_task(deadline_s, run):
    """Also where `run` is not in the file; a shard that ends early keeps what it has."""
    with pytest.raises(ConfigError, match="task_timeout_s must be more than source.download"):
        parse_pipeline(URLS % deadline_s + run, "p.yaml")


def test_a_contact_is_asked_for():
    """Who downloads says who they are."""
    text = "name: web\ndataset: d\nsource: {name: web, kind: urls, roots: [l], download: %s}"

    for download, found in (("{}", "this key is required"), ("{contact: me}", "expected a URL")):
        with pytest.raises(ConfigError, match=f"source.download.contact: {found}"):
            parse_pipeline(text % download, "p.yaml")
