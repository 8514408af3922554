"""The pipelines that ship with the project are valid."""

from pathlib import Path

import pytest

from curation.config import validate
from curation.errors import ConfigError
from curation.ingest.kinds import SOURCES
from curation.pipeline.config import PipelineConfig, parse_pipeline
from curation.pipeline.instances import resolve
from stages.registry import STAGES
from stages.sample import HierarchicalSampler
from tests.fakes.facts import plausible_facts

FOLDERS = ("configs", "configs/models", "configs/sources")
FILES = sorted(path for folder in FOLDERS for path in Path(folder).glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_pipeline_is_valid(path: Path) -> None:
    """Every key is known, every stage exists and finds its inputs, the sampler takes its part.

    The weights that it names need not be here: stages are told what they might have learnt.
    """
    config = parse_pipeline(path.read_text(), str(path))

    assert resolve(config, STAGES, find_facts=plausible_facts)
    assert config.snapshot.sample is not None
    assert HierarchicalSampler().parse(config.snapshot.sample, "snapshot.sample").size > 0


def test_weights_that_are_not_here_are_no_fault_of_a_pipeline() -> None:
    """The stage plans by what it might have learnt of them."""
    weights = f"hf://laion/CLIP-ViT-L-14@{'0' * 40}"
    embed = {"embedder": "open_clip", "model": "ViT-L-14", "weights": weights}
    config = validate(PipelineConfig, {"name": "a", "dataset": "a", "stages": {"embed": embed}}, "")

    with pytest.raises(ConfigError, match="not on this machine"):
        resolve(config, STAGES)
    (instance,) = resolve(config, STAGES, find_facts=plausible_facts)
    assert instance.disk_schema().field("embed_vector").type.list_size == 768


def test_every_kind_of_source_has_a_pipeline_to_start_from() -> None:
    """A new kind comes with an example."""
    configs = [parse_pipeline(path.read_text(), str(path)) for path in FILES]

    assert {config.source.kind for config in configs if config.source} == set(SOURCES)


def test_there_are_pipelines_to_ship() -> None:
    """The folder is where the test looks."""
    assert FILES
