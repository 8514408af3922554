"""What several processes agree on before and while they train."""

import os

import pytest
import torch.distributed as dist
from torch import multiprocessing

from curation.errors import UsageError
from curation.storage import Store
from training.agreement import Agreement
from training.ranks import rank


def test_one_process_agrees_with_itself(tmp_path):
    """At once, and without a word to the store."""
    agreement = Agreement()

    assert [agreement.any(flag) for flag in (True, False)] == [True, False]
    agreement.check_same({"snapshot": "abc"})
    agreement.check_shared(Store(str(tmp_path / "out")))
    assert list(tmp_path.iterdir()) == []


def refused(check, *arguments):
    """Return the sentence with which something is refused."""
    with pytest.raises(UsageError) as caught:
        check(*arguments)
    return str(caught.value)


def compare(number, folder):
    """Be one of two processes that compare notes."""
    os.environ["OMP_NUM_THREADS"] = "1"
    meet = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=meet, rank=number, world_size=2)
    agreement = Agreement(60)
    assert rank() == number

    assert [agreement.any(flag) for flag in (False, number == 1, True)] == [False, True, True]
    agreement.check_same({"snapshot": "abc", "checkpoint": "None"})
    words = refused(agreement.check_same, {"snapshot": "abc", "checkpoint": str(number)})
    assert "process 1 has another checkpoint than process 0 (1, 0)" in words
    agreement.check_shared(Store(str(folder / "out")))
    words = refused(agreement.check_shared, Store(f"{folder}/out-{number}"))
    assert "process 1 does not find there what process 0 wrote" in words
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_refuse_together_what_one_of_them_lacks(tmp_path):
    """Both raise, so neither waits for the other; nothing is left behind in the output."""
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=compare, args=(number, tmp_path)) for number in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
        assert process.exitcode == 0
    assert list((tmp_path / "out").iterdir()) == []
