"""Which pictures are shown, and what is written below them."""

from curation.report.gallery import KEPT_SHOWN
from tests.curation.report.report_dataset import NUM_BROKEN, NUM_COPIES, NUM_SMALL


def test_kept_pictures_are_of_all_categories(page):
    """Every category that has kept images has one in the gallery, the largest first."""
    paths = [tile.category_path for tile in page.gallery.kept]
    names = page.categories.names

    assert len(paths) == min(12, KEPT_SHOWN)
    assert list(dict.fromkeys(paths)) == [c.path for c in page.categories.leaves if c.kept]
    assert [tile.category for tile in page.gallery.kept] == [names.full(path) for path in paths]
    assert all(tile.picture for tile in page.gallery.kept)


def test_excluded_pictures_say_the_numbers(page):
    """Below a picture that is too small stand its width and height."""
    excluded = {e.step.reason: e.tiles for e in page.gallery.excluded}

    assert list(excluded) == ["intact", "size", "duplicate", "unsampled"]
    assert len(excluded["size"]) == NUM_SMALL
    assert all(dict(tile.facts)["width"] == "24" for tile in excluded["size"])
    assert len(excluded["duplicate"]) == NUM_COPIES
    assert dict(excluded["duplicate"][0].facts)["method"] == "exact"
    assert {name for name, _ in excluded["unsampled"][0].facts} == {"score"}
    assert all(tile.category_path.startswith("c") for tile in excluded["unsampled"])
    assert not any(tile.category for tile in excluded["size"])


def test_files_with_errors_are_not_decoded(page):
    """The error stands where the picture would be."""
    (tiles,) = [e.tiles for e in page.gallery.excluded if e.step.reason == "intact"]

    assert len(tiles) == NUM_BROKEN
    assert all(tile.picture is None for tile in tiles)
    assert sorted(tile.note for tile in tiles) == [
        "empty: the file has no bytes",
        "truncated: the PNG data ends too early",
        "unsupported: the first bytes are of no allowed image format",
    ]


def test_chips_are_kept_images_of_their_category(page):
    """Every listed category has small squares, as many as are kept up to four."""
    for category in page.categories.shown:
        tiles = page.gallery.chips[category.path]
        assert len(tiles) == min(4, category.kept)
        assert all((t.picture.width, t.picture.height) == (80, 80) for t in tiles)


def test_the_representative_of_a_group_has_a_badge(page):
    """One of each group, and the first."""
    for duplicates in page.gallery.duplicates:
        assert [tile.badge for tile in duplicates.tiles] == ["representative", ""]
