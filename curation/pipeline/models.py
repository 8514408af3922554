"""Which weights a pipeline names, and which of them are on this machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from curation.errors import ConfigError
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import Instance, Registry, configure
from curation.weights import Held, fetch, find


@dataclass(frozen=True)
class NamedWeights:
    """Weights that an instance names, looked for on this machine.

    Attributes:
        instance: Its name.
        backend: The backend that needs them, or the stage where it has none.
        role: What they are to it.
        reference: Where they lie.
        held: What is here; null where nothing is, or nothing that can be read.
        trouble: Why not; empty where they are only to be fetched.
    """

    instance: str
    backend: str
    role: str
    reference: str
    held: Held | None
    trouble: str = ""


def find_models(config: PipelineConfig, registry: Registry) -> Iterator[NamedWeights]:
    """Look for what a pipeline names; nothing is fetched, and no stage learns anything.

    Raises:
        ConfigError: The pipeline's stages are not configured rightly.
    """
    yield from _look(config, registry, find)


def fetch_models(config: PipelineConfig, registry: Registry) -> Iterator[NamedWeights]:
    """Fetch what a pipeline names, where it is not here; one after the other.

    What cannot be had does not keep the rest from coming: it has its `trouble`.

    Raises:
        ConfigError: The pipeline's stages are not configured rightly.
    """
    yield from _look(config, registry, fetch)


def backend_of(instance: Instance) -> str:
    """Return the backend that an instance chose, or its stage where that has none."""
    key = instance.stage_type.backend_key
    return instance.stage_type.name if key is None else str(getattr(instance.config, key))


def _look(
    config: PipelineConfig, registry: Registry, look: Callable[[str], Held | None]
) -> Iterator[NamedWeights]:
    for name, instance in configure(config, registry).items():
        for role, reference in instance.make().weights().items():
            named = (name, backend_of(instance), role, reference)
            try:
                yield NamedWeights(*named, look(reference))
            except ConfigError as error:
                yield NamedWeights(*named, None, str(error))
