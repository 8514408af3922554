"""Names of categories: found by the schema, of inner nodes too, and hostile text."""

from dataclasses import replace

import pyarrow as pa
import pytest

from curation.config import Config
from curation.pipeline.stage import Stage
from curation.report.category_names import CategoryNames, read_names
from curation.report.page import make_page
from curation.report.render import render
from schemas.columns import column, table
from tests.curation.report.report_dataset import REGISTRY, run_pipeline, snapshot, source_of

HOSTILE = "</title><script>alert(4)</script>"
TURNING = "cats \u202egnp"


class SortingConfig(Config):
    """Settings of the categorizers of these tests."""


class NamelessStage(Stage[SortingConfig]):
    """A categorizer that names nothing: three levels by the letters of a key."""

    name = "categorize"
    config_type = SortingConfig

    def reads(self):
        return ("images.source_key",)

    def columns(self):
        return (column("path", pa.string(), "Category."),)

    def writes(self):
        return table("categorize", *self.columns(), column("error", pa.string(), "Never."))

    def rows(self, keys):
        sums = [sum(key.encode()) for key in keys]
        return {"path": [f"c0/c{total % 2}/c{total % 3}" for total in sums]}

    def process(self, shard):
        keys = shard.column("images.source_key").to_pylist()
        return pa.Table.from_pydict(
            {**self.rows(keys), "error": [None] * len(keys)}, schema=self.writes()
        )


class HostileStage(NamelessStage):
    """The same with names that a page must not trust; one category has none."""

    def columns(self):
        return (*super().columns(), column("name", pa.string(), "Its name."))

    def rows(self, keys):
        paths = super().rows(keys)["path"]
        names = {"c0": HOSTILE.replace("/", "|"), "c1": TURNING}
        return {
            "path": paths,
            "name": [
                None if path == "c0/c1/c2" else f"all/{names[path.split('/')[1]]}/{path[-2:]}"
                for path in paths
            ],
        }


def sorted_by(stage, folder):
    """Return the source of a lake that a categorizer has sorted."""
    registry = {**REGISTRY, "categorize": stage}
    session = run_pipeline(folder, registry=registry, changed={"categorize": {}})
    snapshot(session)
    return source_of(session, registry=registry)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A source whose categories have hostile names."""
    return sorted_by(HostileStage, tmp_path_factory.mktemp("hostile"))


def test_names_are_those_of_the_rows(source):
    """Every path has the name that stands beside it."""
    names = read_names(source)

    rows = source.ask(
        "SELECT DISTINCT categorize_path AS path, categorize_name AS name FROM rows "
        "WHERE categorize_path IS NOT NULL"
    )
    assert rows
    assert {row["path"]: row["name"] for row in rows} == dict(names.by_path)


def test_inner_nodes_are_called_by_the_beginning(hostile):
    """A name as deep as its path names what is above it too; null falls back to the path."""
    names = read_names(hostile)

    assert names.full("c0") == "all"
    assert names.full("c0/c1") == f"all/{TURNING}"
    assert names.own("c0/c1") == TURNING
    assert names.full("c0/c1/c2") == "c0/c1/c2"
    assert names.own("c0/c1/c2") == "c2"
    assert names.title("c0/c1/c2") == "c0/c1/c2"


def test_hostile_names_are_text_wherever_they_stand(hostile):
    """Neither titles nor labels nor tiles hold markup or turn the text."""
    html = render(make_page(hostile))

    assert "&lt;|title&gt;&lt;script&gt;" in html
    assert "<|title>" not in html
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert "cats \\u202egnp" in html
    assert "c0/c1/c2" in html


def test_a_categorizer_without_names_is_shown_by_paths(tmp_path):
    """There is nothing to be called by but the path, once."""
    source = sorted_by(NamelessStage, tmp_path)

    assert read_names(source) == CategoryNames()
    html = render(make_page(source))
    assert 'class="named"' not in html
    assert "<code>c0/c0/c0</code>" in html
    assert "(c0/c0/c0)" not in html


def test_names_computed_anew_are_not_the_snapshots(source):
    """The same path may be another category since."""
    content = source.manifest.content
    old = content.parents["categorize"].model_copy(update={"fingerprint": "0" * 32})
    parents = {**content.parents, "categorize": old}
    manifest = source.manifest.model_copy(
        update={"content": content.model_copy(update={"parents": parents})}
    )

    assert read_names(source).by_path
    assert read_names(replace(source, manifest=manifest)) == CategoryNames()


def test_names_of_another_depth_are_of_their_own_path_only():
    """`cats/dogs` of the path `c1` says nothing of what is above or below."""
    names = CategoryNames({"c1": "cats/dogs"})

    assert (names.full("c1"), names.own("c1")) == ("cats/dogs", "cats/dogs")
    assert names.own("c1/c2") == "c2"
    assert names.full("c1/") == "cats/dogs"
