"""The whole page: self-contained, well formed, hostile text as text, the same bytes each time."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from curation.dataset import Dataset
from curation.errors import SnapshotError, StorageError
from curation.report import write_report
from curation.report.source import open_source
from stages.registry import STAGES
from tests.curation.report.report_dataset import HOSTILE_NAME, HOSTILE_PREDICATE, run_pipeline
from tests.curation.small_dataset import tree_digest

VOID = {"meta", "img", "input", "br", "col", "rect", "path", "line", "circle", "polyline"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are nested."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.style = ""
        self.scripts: dict[str, str] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.last = attributes
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        elif self.open and self.open[-1] == "script":
            kind = dict(self.last).get("type", "script")
            assert kind not in self.scripts
            self.scripts[kind] = data
        else:
            self.text.append(data)

    def values(self, name):
        return [value for _, found, value in self.attributes if found == name]


@pytest.fixture(scope="module")
def html(session, tmp_path_factory):
    """The page on the snapshot."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report(Dataset.open(session.config.dataset), None, out, STAGES)
    return out.read_text(encoding="utf-8")


def write(dataset, out, snapshot=None):
    write_report(Dataset.open(str(dataset)), snapshot, out, STAGES)
    return Reader(out.read_text(encoding="utf-8"))


def test_nothing_in_the_page_loads(html):
    """There is no handler, inline style or frame, and no address but data and fragments."""
    page = Reader(html)

    assert not {"iframe", "object", "embed", "link", "base", "form"} & set(page.tags)
    assert set(page.scripts) == {"script", "application/json"}
    assert [
        name for _, name, _ in page.attributes if name.startswith("on") or name == "style"
    ] == []
    assert all(value.startswith("data:image/webp;base64,") for value in page.values("src"))
    assert all(value.startswith("#") for value in page.values("href"))
    assert len(page.values("src")) > 20
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_the_policy_admits_this_style_and_script_and_nothing_else(html):
    """The policy forbids all but images in the page, and the style and script with these hashes."""
    page = Reader(html)

    (policy,) = [v for v in page.values("content") if "default-src" in v]

    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (page.style, page.scripts["script"])
    )
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; "
        f"script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    )


def test_a_page_without_sliders_has_no_script(tmp_path):
    """Where nothing can be moved, the policy admits no script at all."""
    Dataset.open_or_create(str(tmp_path / "data"))

    page = write(tmp_path / "data", tmp_path / "report.html")

    assert page.scripts == {}
    assert not any("script-src" in value for value in page.values("content"))


def test_hostile_names_and_predicates_are_text(html):
    """Markup in a file name or a predicate is shown as it is written."""
    page = Reader(html)
    text = " ".join(page.text)

    assert HOSTILE_NAME in text
    assert HOSTILE_PREDICATE in text
    assert "<img src=x" not in html
    assert html.count("</script") == html.count("<script") == 2


def test_characters_that_turn_the_text_are_shown_as_escapes(html):
    """A right-to-left override in a file name stays visible and without effect."""
    assert "\u202e" not in html
    assert "cat\\u202egnp.png" in " ".join(Reader(html).values("alt"))


def test_every_picture_has_words(html):
    """Each image has an alternative text, and each drawing a label or is hidden from readers."""
    page = Reader(html)

    assert html.count("<img ") == len([v for v in page.values("alt") if v])
    drawings = re.findall(r"<svg [^>]*>", html)
    assert drawings
    assert all(
        'aria-hidden="true"' in d or ('role="img"' in d and "aria-label=" in d) for d in drawings
    )


def test_links_lead_to_places_in_the_page(html):
    """Every fragment is the id of something, and no id stands twice."""
    page = Reader(html)
    ids = page.values("id")

    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for value in page.values("href")} <= set(ids)


def test_the_same_snapshot_gives_the_same_bytes(session, html, tmp_path):
    """Nothing of the time or the machine enters the page, and the dataset stays as it is."""
    before = tree_digest(session.config.dataset)

    write_report(Dataset.open(session.config.dataset), None, tmp_path / "again.html", STAGES)

    assert (tmp_path / "again.html").read_text(encoding="utf-8") == html
    assert tree_digest(session.config.dataset) == before


def test_a_snapshot_is_named_by_the_beginning_of_its_id(session, source, html, tmp_path):
    """The latest snapshot and the same one by name give the same page."""
    write(session.config.dataset, tmp_path / "named.html", source.manifest.id[:6])

    assert (tmp_path / "named.html").read_text(encoding="utf-8") == html


def test_an_unknown_snapshot_is_refused(session, tmp_path):
    """Nothing is written for a snapshot that is not there."""
    with pytest.raises(SnapshotError, match="there is no snapshot 'zzz'"):
        write(session.config.dataset, tmp_path / "report.html", "zzz")

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(session, tmp_path):
    """The error names the file, and no temporary file stays."""
    with pytest.raises(StorageError, match="name another file"):
        write(session.config.dataset, tmp_path / "missing" / "report.html")

    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="name another file"):
        write(session.config.dataset, tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_dataset_without_a_snapshot_has_a_report(tmp_path):
    """Measures, categories and pictures are shown, decisions are not."""
    session = run_pipeline(tmp_path)

    page = write(session.config.dataset, tmp_path / "report.html")

    text = " ".join(page.text)
    assert "no snapshot was made" in text
    assert "inspect_sharpness" in text
    assert "The funnel" not in text
    assert len(page.values("src")) > 20


def test_an_empty_dataset_has_a_report(tmp_path):
    """Without images or pipeline the page says so."""
    Dataset.open_or_create(str(tmp_path / "data"))

    page = write(tmp_path / "data", tmp_path / "report.html")

    assert "There are no images yet." in " ".join(page.text)


def test_images_that_no_stage_decoded_are_not_decoded(tmp_path):
    """Before a stage has seen the pixels, the page shows names only."""
    session = run_pipeline(tmp_path, stages=())

    page = write(session.config.dataset, tmp_path / "report.html")

    assert page.values("src") == []
    assert "no stage has decoded it" in " ".join(page.text)


def test_a_changed_pipeline_is_said(session, source, tmp_path):
    """Where columns were computed anew since the snapshot, the page warns that values differ."""
    moved = tmp_path / "moved"
    _copy(Path(session.config.dataset), moved)
    text = Path(session.config.dataset, "pipelines/walls.yaml").read_text(encoding="utf-8")
    text = text.replace("inspect: {}", "inspect: {hasher: imagehash}")
    (moved / "pipelines/walls.yaml").write_text(text, encoding="utf-8")

    page = write(moved, tmp_path / "report.html")

    assert "The dataset has moved on." in page.text
    found = open_source(Dataset.open(str(moved)), None, STAGES)
    assert found.manifest == source.manifest


def _copy(source, target):
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
