"""Files inside other packages."""

import pytest

from curation.demo.drawing import wheels
from curation.errors import UsageError


def test_a_package_is_found_without_importing_it():
    """Its folder holds the pictures."""
    assert (wheels.package_folder("skimage") / "data" / "camera.png").is_file()


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    """Before anything is written."""
    monkeypatch.setitem(wheels.NEEDED, "no_such_package", "no-such-wheel")

    with pytest.raises(UsageError, match=r"no-such-wheel.*pip install longtail\[demo\]"):
        wheels.check_packages()
    with pytest.raises(UsageError, match="no-such-wheel"):
        wheels.package_folder("no_such_package")


def test_a_package_without_the_picture_is_refused_with_the_path():
    """Another distribution may strip the sample data."""
    with pytest.raises(UsageError, match=r"without data/no\.png"):
        wheels.package_file("skimage", "data/no.png")
