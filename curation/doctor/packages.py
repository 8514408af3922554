"""The packages that this version asks for, and which of them are here."""

from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Literal

from packaging.requirements import Requirement

from curation.doctor.check import Check


def check_packages(distribution: str = "longtail") -> Iterator[Check]:
    """Look at the core's packages, and at each extra's, as the installed metadata names them."""
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        advice = "a working directory of a job; `pip install .` where packages shall be looked at"
        yield Check(distribution, "missing", "not installed as a package", advice)
        return
    yield Check(distribution, "ok", version)
    wanted = [Requirement(text) for text in metadata.requires(distribution) or []]
    wanted = [entry for entry in wanted if entry.name != distribution]  # an extra made of others
    extras = metadata.metadata(distribution).get_all("Provides-Extra") or []
    for extra in ("", *sorted(extras)):
        mine = [entry for entry in wanted if _extra_of(entry, extras) == extra]
        if mine:
            yield _check(distribution, extra, mine)


def _extra_of(entry: Requirement, extras: Sequence[str]) -> str | None:
    """Return the extra that asks for a package, `""` for the core, null for another platform."""
    marker = entry.marker
    if marker is None or marker.evaluate({"extra": ""}):
        return ""
    return next((extra for extra in extras if marker.evaluate({"extra": extra})), None)


def _check(distribution: str, extra: str, wanted: Sequence[Requirement]) -> Check:
    subject = f"extra [{extra}]" if extra else "core packages"
    advice = f"pip install '{distribution}[{extra}]'" if extra else f"pip install {distribution}"
    absent, other, present = [], [], []
    for entry in wanted:
        try:
            version = metadata.version(entry.name)
        except metadata.PackageNotFoundError:
            absent.append(entry.name)
            continue
        present.append(f"{entry.name} {version}")
        if not entry.specifier.contains(version, prereleases=True):
            other.append(f"{entry.name} {version} is not {entry.specifier}")
    if absent:
        state: Literal["missing", "wrong"] = "missing" if extra else "wrong"
        return Check(subject, state, f"without {', '.join(absent)}", advice)
    if other:
        return Check(subject, "wrong", "; ".join(other), advice)
    return Check(subject, "ok", ", ".join(present))
