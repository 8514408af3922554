"""The pipelines that ship with the project are valid."""

from pathlib import Path

import pytest

from curation.ingest.kinds import SOURCES
from curation.pipeline.config import parse_pipeline
from curation.pipeline.instances import resolve
from stages.registry import STAGES
from stages.sample import HierarchicalSampler
from tests.fakes import tiny_clip
from tests.fakes.facts import plausible_facts

FOLDERS = ("configs", "configs/models", "configs/sources")
FILES = sorted(path.absolute() for folder in FOLDERS for path in Path(folder).glob("*.yaml"))


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put descriptions of models where the pipelines say that weights lie."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    siglip = tmp_path / "weights" / "ViT-B-16-SigLIP2-256"
    tiny_clip.describe(siglip, tiny_clip.SIGLIP_CFG, tiny_clip.SIGLIP_PREPROCESS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_pipeline_is_valid(path: Path) -> None:
    """Every key is known, every stage exists and finds its inputs, the sampler takes its part.

    The weights that it names need not be here: stages are told what they might have learnt.
    """
    config = parse_pipeline(path.read_text(), str(path))

    assert resolve(config, STAGES, find_facts=plausible_facts)
    assert config.snapshot.sample is not None
    assert HierarchicalSampler().parse(config.snapshot.sample, "snapshot.sample").size > 0


def test_every_kind_of_source_has_a_pipeline_to_start_from() -> None:
    """A new kind comes with an example."""
    configs = [parse_pipeline(path.read_text(), str(path)) for path in FILES]

    assert {config.source.kind for config in configs if config.source} == set(SOURCES)


def test_there_are_pipelines_to_ship() -> None:
    """The folder is where the test looks."""
    assert FILES
