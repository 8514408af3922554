"""What one pipeline needs: its source, its store, and what each of its stages loads."""

from collections.abc import Iterator

from curation.dataset import Dataset
from curation.doctor.check import Check
from curation.doctor.stages import check_stages
from curation.doctor.stores import check_store
from curation.errors import DatasetError, LongtailError
from curation.ingest.kinds import open_source
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import Registry
from curation.storage import Store


def check_pipeline(
    config: PipelineConfig, registry: Registry, file: str = "PIPELINE", *, load: bool = False
) -> Iterator[Check]:
    """Look at what a pipeline names: its store, its source, and what each of its stages needs.

    Args:
        config: The pipeline.
        registry: The stages that exist.
        file: How the user names the pipeline, for commands.
        load: Whether models are loaded too, which may take minutes and a GPU's memory.

    Raises:
        ConfigError: The pipeline is wrong, whatever is on this machine.
    """
    yield from check_store(config.dataset)
    if config.source is not None:
        source = config.source.located()
        try:
            open_source(source, Store(config.dataset))
        except LongtailError as error:
            yield Check("source", "wrong", str(error), "mend the `source:` section")
        else:
            where = ", ".join(source.origin().get("roots", ()))
            yield Check("source", "ok", f"{source.kind} {where}".strip())
    try:
        dataset = Dataset.open(config.dataset)
    except DatasetError:
        dataset = None  # a run makes it
    except LongtailError as error:
        yield Check("dataset", "wrong", str(error), "see that it can be read")
        return
    yield from check_stages(config, registry, dataset, file, load=load)
