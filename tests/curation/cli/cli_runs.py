"""Running `longtail` in a test, in this process."""

from dataclasses import dataclass

import pytest

from curation.cli import main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def longtail(capsys, *arguments):
    """Run `longtail` as its entry point does and return exit code, output and errors."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    code = caught.value.code
    assert isinstance(code, int), code
    captured = capsys.readouterr()
    return Ran(code, captured.out, captured.err)
