"""The line of a run: how far, how fast, for how long yet."""

from curation.cli.training_line import TrainingLine

FIGURES = {"model/loss": 1.23456, "held": 3.0, "samples_per_s": 1234.56, "wait_share": 0.021}


def test_a_line_says_how_far_and_how_fast():
    """Thousands apart, the loss of each role, the share of waiting and the time left."""
    line = TrainingLine(10_000)
    assert line.words(1, 5.0) == "step 1 of 10,000"

    line._began = (0.0, 1_000)
    line.figures(1_010, FIGURES)

    assert line.words(2_000, 500.0) == (
        "step 2,000 of 10,000, loss 1.235, 1,234.6 samples/s, waiting 2%, 1 h 06 min left"
    )
    assert line.words(10_000, 5_000.0).endswith("waiting 2%")


def test_a_pipe_gets_lines(capsys):
    """Not one for each step, but always the last."""
    line = TrainingLine(50)
    for step in range(1, 51):
        line.step(step)
    line.close()

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "step 1 of 50"
    assert lines[-1] == "step 50 of 50"
    assert len(lines) < 50
