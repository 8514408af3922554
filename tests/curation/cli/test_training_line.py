"""The line of a run, where it is shown."""

from curation.cli.training_line import TrainingLine
from training.progress import Progress


def test_a_pipe_gets_lines(capsys):
    """Not one for each step, but always the last."""
    line = TrainingLine(Progress(50))
    for step in range(1, 51):
        line.step(step)
    line.close()

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "step 1 of 50"
    assert lines[-1] == "step 50 of 50"
    assert len(lines) < 50
