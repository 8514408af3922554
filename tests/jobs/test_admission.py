"""What is refused before anything starts."""

from dataclasses import replace

import pytest

from curation.config import validate
from curation.errors import ConfigError, ResourceError
from curation.pipeline.config import NodeLimit, RunConfig
from curation.pipeline.runner import Pool
from jobs.admission import admit


def pool(name: str, cpus: float, gpus: float = 0.0, workers: int = 1) -> Pool:
    return Pool(name, workers, None, cpus, gpus, 1 << 30)


def nodes(*cpus: float, kind: str = "") -> list:
    labels = {"ray.io/node-group": kind}
    return [
        {"NodeID": str(n), "Alive": True, "Resources": {"CPU": c}, "Labels": labels}
        for n, c in enumerate(cpus)
    ]


def test_what_fits_is_let_through():
    """Two pools on two nodes, exactly."""
    assert admit([pool("cpu", 1, workers=4), pool("heavy", 4)], nodes(4, 4), {}) is False


def test_cores_of_two_nodes_do_not_add_up():
    """Four cores on four nodes are no place for a worker of four."""
    with pytest.raises(ResourceError, match=r"heavy: 1 worker.*4 CPU.*do not fit.*4 node"):
        admit([pool("heavy", 4)], nodes(1, 1, 1, 1), {})


def test_a_cluster_of_no_workers_counts_what_may_come():
    """A head without cores and a type that starts at zero are enough, once its size is known."""
    limits = {"gpu": NodeLimit(count=1, cpus=8, gpus=1)}

    assert admit([pool("cpu", 1), pool("clip", 1, 1)], nodes(0), limits) is True


def test_a_type_of_unknown_size_is_named():
    """The refusal says how to give it."""
    with pytest.raises(ResourceError, match=r"run\.max_nodes\.gpu was left out.*count: 8"):
        admit([pool("clip", 1, 1)], nodes(4), {"gpu": NodeLimit(count=2)})


def test_nodes_that_live_are_not_counted_twice():
    """Two of two allowed live already, so a third worker has no place."""
    living = nodes(4, 4, kind="worker")

    with pytest.raises(ResourceError, match="heavy"):
        admit([pool("heavy", 4, workers=3)], living, {"worker": NodeLimit(count=2)})
    assert admit([pool("heavy", 4, workers=3)], living, {"worker": NodeLimit(count=3)}) is True


def test_one_and_a_half_gpus_are_refused():
    """Ray would raise only when the worker is asked for."""
    with pytest.raises(ResourceError, match=r"run\.gpus is 1\.5"):
        admit([pool("clip", 1, 1.5)], nodes(4), {})


def test_limits_are_numbers_or_sizes():
    """Both forms of the pipeline file mean what they say."""
    run = validate(RunConfig, {"max_nodes": {"a": 3, "b": {"count": 8, "cpus": 64, "gpus": 8}}}, "")

    assert run.max_nodes == {
        "a": NodeLimit(count=3),
        "b": NodeLimit(count=8, cpus=64, gpus=8),
    }


@pytest.mark.parametrize("value", [-1, True, "many", {"cpus": 4}, {"count": 1, "gpu": 2}])
def test_other_limits_are_refused(value: object):
    """With the path that is wrong."""
    with pytest.raises(ConfigError, match=r"max_nodes\.a"):
        validate(RunConfig, {"max_nodes": {"a": value}}, "")


def test_a_cluster_without_gpus_is_told_of_the_cpu():
    """The way out is named, and only where no node has one."""
    with pytest.raises(ResourceError, match=r"clip: 1 worker.*--set run\.device=cpu") as caught:
        admit([pool("clip", 1, 1)], nodes(4), {})
    assert "run.replicas" in str(caught.value)

    with pytest.raises(ResourceError) as caught:
        admit([pool("clip", 8, 1)], [{**nodes(4)[0], "Resources": {"CPU": 4, "GPU": 1}}], {})
    assert "run.device" not in str(caught.value)


def test_custom_resources_that_no_node_has_are_refused():
    """With their name; where a node that may come has them, they are waited for."""
    asking = replace(pool("clip", 1, workers=2), resources={"lens": 1.0})
    has = {"Resources": {"CPU": 4, "lens": 1}, "NodeID": "x", "Alive": True}
    few = {"a": NodeLimit(count=1, cpus=8, resources={"lens": 1})}

    with pytest.raises(ResourceError, match=r"1 CPU and 0 GPU and 1 lens each.*no node has 1 lens"):
        admit([asking], nodes(4, 4), {})
    with pytest.raises(ResourceError, match=r"2 worker\(s\).*do not fit") as caught:
        admit([asking], [*nodes(4), has], {})
    assert "no node has" not in str(caught.value)
    assert admit([asking], [*nodes(4), has], few) is True


def test_who_needs_what_few_nodes_have_is_placed_first():
    """Other workers find room elsewhere."""
    asking = replace(pool("special", 1), resources={"lens": 1.0})
    has = {"Resources": {"CPU": 2, "lens": 1}, "NodeID": "x", "Alive": True}

    assert admit([pool("cpu", 1, workers=3), asking], [has, *nodes(2)], {}) is False
