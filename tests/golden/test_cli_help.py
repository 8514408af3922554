"""The help of every command, frozen: a change here is a change for users.

python -m tests.golden.test_cli_help      write the texts anew
"""

from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from curation.cli import longtail

FILE = Path(__file__).with_name("cli_help.txt")
WIDTH = 90


def paths(group: click.Group, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and group, the whole first."""
    yield prefix
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from paths(command, (*prefix, name))
        else:
            yield (*prefix, name)


def help_texts() -> str:
    """Return the help of every command, one after the other."""
    parts = []
    for words in paths(longtail):
        result = CliRunner().invoke(
            longtail, [*words, "--help"], prog_name="longtail", terminal_width=WIDTH
        )
        assert result.exit_code == 0, result.output
        parts.append(f"$ {' '.join(['longtail', *words, '--help'])}\n{result.output}")
    return "\n".join(parts)


def test_help_is_what_it_was():
    """Commands, options and their words change on purpose only."""
    assert help_texts() == FILE.read_text(encoding="utf-8")


def test_every_command_and_option_says_what_it_does():
    """There is no option without help."""
    for words in paths(longtail):
        command: click.Command = longtail
        for word in words:
            assert isinstance(command, click.Group)
            command = command.commands[word]
        assert command.help, words
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (words, parameter.name)


if __name__ == "__main__":
    FILE.write_text(help_texts(), encoding="utf-8")
