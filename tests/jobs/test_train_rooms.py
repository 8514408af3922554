"""Which clusters can hold the processes of a training run."""

import pytest

from curation.errors import ResourceError
from jobs.rooms import NODE_TYPE_LABEL
from jobs.train_rooms import admit_training, most_workers
from training.workers import WorkersConfig


def node(cpus, gpus=0, group="", *, alive=True, **custom):
    """Return a node as `ray.nodes()` tells it."""
    return {
        "NodeID": f"{id(object())}-{cpus}-{gpus}",
        "Alive": alive,
        "Resources": {"CPU": cpus, "GPU": gpus, **custom},
        "Labels": {NODE_TYPE_LABEL: group},
    }


def workers(**settings):
    return WorkersConfig.model_validate(settings)


def test_each_process_stands_on_one_node():
    """Cores and GPUs of two nodes do not add up; dead nodes hold nothing."""
    nodes = [node(8, 8, "a"), node(3, 4, "b"), node(64, 8, "c", alive=False)]

    assert most_workers(workers(count=100, cpus=1), nodes) == 8 + 3
    assert most_workers(workers(count=100, cpus=2), nodes) == 4 + 1
    assert most_workers(workers(count=6, cpus=1), nodes) == 6
    assert most_workers(workers(count=100, cpus=3, gpus=0), nodes) == 2 + 1


def test_what_an_autoscaler_may_add_counts():
    """The limit counts all nodes of a type, those alive among them."""
    config = workers(count=100, max_nodes={"gpu": {"count": 3, "cpus": 8, "gpus": 8}})
    nodes = [node(8, 8, "gpu"), node(4, 0, "head")]

    assert most_workers(config, nodes) == 24
    assert most_workers(config, nodes, {}) == 8
    assert admit_training(workers(count=24, max_nodes=config.max_nodes), nodes)
    assert not admit_training(workers(count=8), nodes)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"count": 9}, r"9 worker\(s\) with 1 CPU and 1 GPU each do not fit: .* room for 8, with"),
        ({"resources": {"rack": 1}}, "no node has 1 rack: see workers.resources"),
        ({"count": 9, "max_nodes": {"big": 4}}, "workers.max_nodes.big was left out"),
    ],
)
def test_what_never_fits_is_refused(settings, words):
    """With what is asked, what there is and what to do."""
    with pytest.raises(ResourceError, match=words):
        admit_training(workers(**settings), [node(16, 8, "a")])


def test_a_cluster_without_gpus_says_how_to_do_without():
    """The default is a GPU each."""
    with pytest.raises(ResourceError, match="compute on cores: --set workers.gpus=0"):
        admit_training(workers(), [node(16)])
    admit_training(workers(gpus=0), [node(16)])
