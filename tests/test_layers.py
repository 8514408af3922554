"""The lists in the import rules are whole, so that a new module cannot slip past them."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def import_rules():
    """Read the section of import-linter."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["importlinter"]


def layers():
    """List the layers as they stand in the contract, top first."""
    return next(rule["layers"] for rule in import_rules()["contracts"] if rule["id"] == "layers")


def child_modules(package):
    """Name the modules and subpackages directly below `package`."""
    for path in (ROOT / package).iterdir():
        if path.suffix == ".py" and path.stem != "__init__":
            yield f"{package}.{path.stem}"
        elif path.is_dir() and any(path.rglob("*.py")):
            yield f"{package}.{path.name}"


def test_every_folder_of_modules_is_a_package():
    """A folder without `__init__.py` is invisible to the import rules, so there is none."""
    roots = import_rules()["root_packages"]
    folders = {path.parent for root in roots for path in (ROOT / root).rglob("*.py")}

    bare = [str(folder) for folder in folders if not (folder / "__init__.py").exists()]

    assert bare == []


def test_every_child_of_curation_has_its_layer():
    """A module added to curation must be added to the layers contract in pyproject.toml."""
    listed = [name.strip(" \n()") for layer in layers() for name in layer.split(":")]

    in_curation = [name for name in listed if name.startswith("curation.")]

    assert sorted(in_curation) == sorted(child_modules("curation"))


def test_layers_stand_in_the_agreed_order():
    """The CLI is on top and schemas at the bottom, with the children of curation in one layer."""
    assert layers()[:4] == ["curation.cli", "jobs", "stages", "training"]
    assert layers()[5:] == ["schemas"]
