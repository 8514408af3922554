"""What one pipeline needs: its source, its store, and what each of its stages loads."""

from collections.abc import Iterator
from functools import partial

from curation.dataset import Dataset
from curation.doctor.check import Check
from curation.doctor.stores import check_store
from curation.errors import DatasetError, LongtailError
from curation.ingest.kinds import open_source
from curation.pipeline.config import PipelineConfig
from curation.pipeline.fit import find_pin, read_artifact
from curation.pipeline.instances import Instance, Registry, resolve
from curation.storage import Store


def check_pipeline(config: PipelineConfig, registry: Registry) -> Iterator[Check]:
    """Look at what `config` names; models are loaded, nothing is computed."""
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
    pins = partial(find_pin, dataset) if dataset is not None else lambda key: None
    for instance in resolve(config, registry, pins):
        yield _stage(instance, dataset)


def _stage(instance: Instance, dataset: Dataset | None) -> Check:
    subject = f"stage {instance.name}"
    if instance.is_fitted and (instance.artifact is None or dataset is None):
        return Check(subject, "ok", "waits for its fit, which the run makes")
    try:
        artifact = None
        if instance.artifact is not None and dataset is not None:
            artifact = read_artifact(dataset, instance.name, instance.artifact)
        instance.make(artifact).setup()
    except (LongtailError, ImportError, OSError, RuntimeError, ValueError) as error:
        return Check(subject, "wrong", str(error) or type(error).__name__, "see what it says")
    return Check(subject, "ok", f"{instance.stage_type.name} is set up")
