"""The conditions under which a benchmark ran, printed before its figures."""

import os
import platform
from collections.abc import Sequence
from importlib import metadata

PACKAGES = ("pillow", "numpy", "pyarrow", "ray", "duckdb")


def print_conditions(packages: Sequence[str] = PACKAGES, **facts: object) -> None:
    """Print the machine, the versions that matter and `facts` as a Markdown list."""
    found = conditions(packages)
    print(f"- machine: {found['machine']}")
    print(f"- load before (1, 5, 15 min): {found['load']}")
    print(f"- {found['versions']}")
    print("- " + ", ".join(_pairs(facts)))
    print()


def conditions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the machine, its load now and the versions that matter."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    versions = {name: _version(name) for name in packages}
    return {
        "machine": f"{os.cpu_count()} cores, {memory >> 30} GiB, {platform.machine()}",
        "load": ", ".join(f"{value:.2f}" for value in os.getloadavg()),
        "versions": f"Python {platform.python_version()}; " + ", ".join(_pairs(versions)),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _pairs(facts: dict[str, object] | dict[str, str]) -> list[str]:
    return [f"{name.replace('_', ' ')} {value}" for name, value in facts.items()]
