"""Writes the generated parts of the documentation, or says which are stale.

    python -m scripts.docs            write them
    python -m scripts.docs --check    exit 1 where one is not up to date

A generated part of a Markdown file stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from curation.cli import longtail
from curation.pipeline.stage import RelationStage, Stage, is_fitted
from stages.registry import STAGES

ROOT = Path(__file__).parents[1]

PACKAGES = ("schemas", "curation", "training", "stages", "jobs")
"""Shown with their modules, from the bottom layer up."""

FOLDERS = {
    "benchmarks": "measurements that a reader can repeat: `python -m benchmarks.NAME`; "
    "`evidence/` trains on toys",
    "configs": "pipelines and training recipes to start from",
    "docs": "the guide, and the decisions in `docs/adr/`",
    "scripts": "set-up, the lock file, the generated documentation",
    "tests": "mirror the source; besides, `contracts/`, `golden/`, `integration/` and `chaos/`",
}
FILES = {
    "CHANGELOG.md": "what changed for users",
    "CITATION.cff": "how to cite",
    "CONTRIBUTING.md": "set-up, the gate, what an addition may cost, style",
    "LICENSE": "Apache License 2.0",
    "Makefile": "`make` lists the verbs",
    "README.md": "this page",
    "SECURITY.md": "how to report a vulnerability",
    "pyproject.toml": "dependencies, and the settings of every tool",
    "ray_cluster.yaml": "a cluster for `ray up`",
    "requirements-vllm.lock": "the same for the environment of vLLM, which has its own",
    "requirements.lock": "the versions that are tested, to the last digit",
}
_PART = re.compile(r"(<!-- generated: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)


class DocsError(Exception):
    """The documentation cannot be generated as it stands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check every generated part; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="only say what is stale")
    check = parser.parse_args(arguments).check
    stale = []
    for path in documents():
        old = path.read_text(encoding="utf-8")
        new = render(old, str(path.relative_to(ROOT)))
        if new != old:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(new, encoding="utf-8")
    if not stale:
        return 0
    print(f"{'stale, run `make docs`' if check else 'written'}: {', '.join(stale)}")
    return 1 if check else 0


def documents() -> list[Path]:
    """Return the Markdown files that may have generated parts."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def render(text: str, where: str) -> str:
    """Return `text` with every generated part as it should be.

    Raises:
        DocsError: A part has a name that nothing generates.
    """

    def part(match: re.Match[str]) -> str:
        if match[2] not in PARTS:
            message = f"{where}: nothing generates {match[2]!r}; known: {', '.join(PARTS)}"
            raise DocsError(message)
        return f"{match[1]}{PARTS[match[2]]()}\n{match[3]}"

    return _PART.sub(part, text)


# The parts -----------------------------------------------------------------------------------


def stage_table() -> str:
    """Return a row for each stage of the registry, with its default configuration."""
    head = "| stage | kind | backends | columns | reads |\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *(_stage_row(name, STAGES[name]) for name in sorted(STAGES))])


def _stage_row(name: str, stage_type: type[Stage[Any]]) -> str:
    stage = stage_type(stage_type.parse({}, name))
    kind = "row by row"
    if is_fitted(stage):
        kind = "fitted"
    elif issubclass(stage_type, RelationStage):
        kind = "whole dataset"
    backends = [
        f"**{backend}**" if backend == stage_type.default_backend else backend
        for backend in sorted(stage_type.backends)
    ]
    columns = []
    for field in stage.writes():
        unit = (field.metadata or {}).get(b"unit", b"").decode()
        columns.append(f"`{field.name}` ({unit})" if unit else f"`{field.name}`")
    reads = [f"`{column}`" for column in stage.reads() if column != "images.image_bytes"]
    if stage.pixels() is not None or "images.image_bytes" in stage.reads():
        reads.append("pixels")
    cells = (f"`{name}`", kind, ", ".join(backends), ", ".join(columns), ", ".join(reads))
    return f"| {' | '.join(cells)} |"


def command_list() -> str:
    """Return a row for each command of `longtail`."""
    head = "| command | what it does |\n| --- | --- |"
    rows = [f"| `{usage}` | {first} |" for usage, first in _commands(longtail, "longtail")]
    return "\n".join([head, *rows])


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, str]]:
    for name, command in sorted(group.commands.items()):
        path = f"{prefix} {name}"
        if isinstance(command, click.Group):
            yield from _commands(command, path)
        else:
            # As `longtail` has it: click keeps the first help option that it makes for a command.
            names = longtail.context_settings["help_option_names"]
            context = click.Context(command, info_name=path, help_option_names=names)
            pieces = command.collect_usage_pieces(context)
            first = (command.help or "").split("\n\n")[0].replace("\n", " ")
            yield " ".join([path, *pieces]).replace("|", "\\|"), first


def tree() -> str:
    """Return every top-level file and folder, and every module of the packages, a line each.

    Raises:
        DocsError: One has no description here, or no docstring.
    """
    lines: list[tuple[str, str]] = []
    names = {path.name: path for path in ROOT.iterdir() if not _is_hidden(path)}
    for package in PACKAGES:
        lines.extend(_package(names.pop(package)))
    for name, path in sorted(names.items()):
        described = FOLDERS if path.is_dir() else FILES
        if name not in described:
            message = f"{name}: say what it is in scripts/docs.py"
            raise DocsError(message)
        lines.append((f"{name}/" if path.is_dir() else name, described[name]))
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(["```", *(f"{name:<{width}}{text}" for name, text in lines), "```"])


def _is_hidden(path: Path) -> bool:
    """Say whether something at the top is no part of the project: caches, builds, the demo."""
    return (
        path.name.startswith((".", "__"))
        or path.name.endswith(".egg-info")
        or (path.is_dir() and path.name in ("build", "dist", "demo"))
    )


def _package(folder: Path) -> Iterator[tuple[str, str]]:
    yield f"{folder.name}/", _first_line(folder / "__init__.py")
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (path / "__init__.py").exists():
            yield f"  {path.name}/", _first_line(path / "__init__.py")
        elif path.suffix == ".py" and path.stem != "__init__":
            yield f"  {path.name}", _first_line(path)


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        message = f"{path.relative_to(ROOT)}: begin it with a docstring"
        raise DocsError(message)
    return text.split("\n\n")[0].replace("\n", " ")


PARTS: dict[str, Callable[[], str]] = {
    "cli": command_list,
    "stages": stage_table,
    "tree": tree,
}
"""Name in the marker -> what generates the text."""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DocsError as error:
        sys.exit(f"error: {error}")
