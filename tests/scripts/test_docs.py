"""The generated documentation."""

import re

import pytest

from scripts import docs


def test_the_tree_in_the_readme_is_true():
    """Every top-level file and folder, and every module of the packages, has its line; no more."""
    text = (docs.ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- generated: tree -->\n```\n(.*?)```", text, re.DOTALL)
    assert block is not None
    found: list[str] = []
    folder = ""
    for line in block[1].splitlines():
        name = line.split()[0]
        folder = folder if line.startswith("  ") else name
        found.append(folder + name if line.startswith("  ") else name)

    expected = []
    for path in docs.ROOT.iterdir():
        is_cache = path.name in ("build", "dist", "demo") or path.name.endswith(".egg-info")
        if path.name.startswith((".", "__")) or is_cache:
            continue
        expected.append(f"{path.name}/" if path.is_dir() else path.name)
        if path.name in docs.PACKAGES:
            modules = [p.name for p in path.glob("*.py") if p.name != "__init__.py"]
            packages = [f"{p.parent.name}/" for p in path.glob("*/__init__.py")]
            expected.extend(f"{path.name}/{name}" for name in [*modules, *packages])
    assert sorted(found) == sorted(expected)


def test_every_part_is_up_to_date():
    """`make docs` has nothing to write."""
    for path in docs.documents():
        text = path.read_text(encoding="utf-8")
        assert docs.render(text, path.name) == text, path


def test_an_unknown_part_is_refused():
    """A marker that nothing generates is a mistake, not an empty block."""
    with pytest.raises(docs.DocsError, match="a.md: nothing generates 'stagess'"):
        docs.render("<!-- generated: stagess -->\n<!-- end -->\n", "a.md")


def test_text_outside_the_markers_is_kept():
    """Only what stands between the markers is written anew."""
    text = "before\n<!-- generated: cli -->\nold\n<!-- end -->\nafter\n"

    new = docs.render(text, "a.md")

    assert new.startswith("before\n<!-- generated: cli -->\n| command |")
    assert new.endswith("|\n<!-- end -->\nafter\n")
    assert docs.render(new, "a.md") == new
