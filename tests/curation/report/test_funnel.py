"""Where rows go, step by step."""

from curation.report.funnel import make_funnel
from tests.curation.report.report_dataset import NUM_BROKEN, NUM_COPIES, NUM_FILES, NUM_SMALL


def make(source):
    found = make_funnel(source)
    assert found is not None
    return found


def test_steps_stand_in_the_order_of_the_decision(source):
    """Predicates as the pipeline writes them, then duplicates, then sampling."""
    funnel = make(source)

    names = [step.reason for step in funnel.steps]
    assert names == ["intact", "size", "quiet", "plain", "duplicate", "unsampled"]
    assert funnel.clean[:2] == ("superseded", "tombstoned")


def test_every_step_takes_what_the_one_before_left(source):
    """Rows are conserved from all images down to those kept."""
    funnel = make(source)

    left = NUM_FILES
    for step in funnel.steps:
        assert step.entered == left
        left = step.left
    assert funnel.images == NUM_FILES
    assert left == funnel.kept == 12


def test_steps_count_what_fails_in_all_and_what_fails_alone(source):
    """Broken files fail the size too, as unknown, but only at their first step are they counted."""
    steps = {step.reason: step for step in make(source).steps}

    assert (steps["intact"].removed, steps["intact"].alone) == (NUM_BROKEN, 0)
    assert steps["size"].removed == steps["size"].alone == NUM_SMALL
    assert steps["size"].failing == NUM_SMALL + NUM_BROKEN
    assert steps["duplicate"].removed == NUM_COPIES
    assert steps["quiet"].removed == steps["plain"].removed == 0
