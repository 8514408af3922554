"""Where installed packages keep the files that this corpus is made from."""

import importlib.util
from functools import lru_cache
from pathlib import Path

from curation.errors import UsageError

# The import names; `pip install longtail[demo]` brings all three.
NEEDED = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}


@lru_cache(maxsize=8)
def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it.

    Raises:
        UsageError: The package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"The demo corpus is made from pictures and fonts inside {NEEDED.get(package, package)}"
            ", which is not installed: pip install longtail[demo]"
        )
    return Path(spec.submodule_search_locations[0])


def package_file(package: str, below: str) -> Path:
    """Return a file inside a package's folder.

    Raises:
        UsageError: The package, or the file in this version of it, is missing.
    """
    path = package_folder(package) / below
    if not path.is_file():
        raise UsageError(
            f"{NEEDED.get(package, package)} is installed without {below} (looked for {path}): "
            "the demo corpus needs the wheel from PyPI, pip install longtail[demo]"
        )
    return path


def check_packages() -> None:
    """Refuse to start when a package that gives pictures or fonts is missing.

    Raises:
        UsageError: Names every missing package and what to install.
    """
    missing = [
        wheel for package, wheel in NEEDED.items() if importlib.util.find_spec(package) is None
    ]
    if missing:
        raise UsageError(
            f"The demo corpus is made from pictures and fonts inside {', '.join(missing)}, "
            "not installed here: pip install longtail[demo]"
        )
