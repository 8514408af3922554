"""Saying how far a run is."""

from training.progress import Progress

FIGURES = {"model/loss": 1.23456, "held": 3.0, "samples_per_s": 1234.56, "wait_share": 0.021}


def test_it_says_how_far_and_how_fast():
    """Thousands apart, the loss of each role, the share of waiting and the time left."""
    progress = Progress(10_000)
    assert progress.words(1_000, 0.0) == "step 1,000 of 10,000"

    progress.hear(1_010, FIGURES)

    assert progress.words(2_000, 500.0) == (
        "step 2,000 of 10,000, loss 1.235, 1,234.6 samples/s, waiting 2%, 1 h 06 min left"
    )
    assert progress.words(10_000, 5_000.0).endswith("waiting 2%")


def test_an_evaluation_is_told_beside_the_last_figures():
    """It has no speed, and takes nothing away from what was said."""
    progress = Progress(100)
    progress.words(10, 0.0)
    progress.hear(10, FIGURES)
    progress.hear(10, {"held_out/loss": 0.9876, "evaluation_s": 3.0})

    assert "1,234.6 samples/s, waiting 2%, held-out loss 0.9876," in progress.words(20, 1.0)
