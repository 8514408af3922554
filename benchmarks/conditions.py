"""The conditions under which a benchmark ran, printed before its figures."""

import os
import platform
from importlib import metadata


def print_conditions(**facts: object) -> None:
    """Print the machine, the versions that matter and `facts` as a Markdown list."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"- machine: {os.cpu_count()} cores, {memory >> 30} GiB, {platform.machine()}")
    print(f"- load before (1, 5, 15 min): {load}")
    versions = {name: _version(name) for name in ("pillow", "numpy", "pyarrow", "ray", "duckdb")}
    print(f"- Python {platform.python_version()}; " + ", ".join(_pairs(versions)))
    print("- " + ", ".join(_pairs(facts)))
    print()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _pairs(facts: dict[str, object] | dict[str, str]) -> list[str]:
    return [f"{name.replace('_', ' ')} {value}" for name, value in facts.items()]
