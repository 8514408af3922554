"""Which weights a pipeline names, and which of them are on this machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from curation.errors import ConfigError
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import Registry, configure
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
    for named in _named(config, registry):
        yield _looked(named, find)


def fetch_models(config: PipelineConfig, registry: Registry) -> Iterator[NamedWeights]:
    """Fetch what a pipeline names, where it is not here; one after the other.

    What cannot be had does not keep the rest from coming: it has its `trouble`.

    Raises:
        ConfigError: The pipeline's stages are not configured rightly.
    """
    for named in _named(config, registry):
        yield _looked(named, fetch)


def _named(config: PipelineConfig, registry: Registry) -> list[tuple[str, str, str, str]]:
    found = []
    for instance, stage in configure(config, registry).items():
        key = stage.backend_key
        backend = stage.name if key is None else str(getattr(stage.config, key))
        for role, reference in stage.weights().items():
            found.append((instance, backend, role, reference))
    return found


def _looked(named: tuple[str, str, str, str], look: Callable[[str], Held | None]) -> NamedWeights:
    try:
        return NamedWeights(*named, look(named[3]))
    except ConfigError as error:
        return NamedWeights(*named, None, str(error))
