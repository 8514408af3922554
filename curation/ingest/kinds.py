"""The kinds of sources: `source.kind` -> its configuration and how it is opened.

A kind is one file: a configuration, and a class that keeps the contract of `Source`. It costs one
line in `AnySource` and one in `SOURCES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from curation.ingest.config import SourceConfig
from curation.ingest.entries import Source
from curation.ingest.folder import FolderConfig, FolderSource
from curation.ingest.lists import ListConfig, ListSource
from curation.ingest.parquet import ParquetConfig, ParquetSource
from curation.ingest.urls import UrlsConfig, UrlSource
from curation.ingest.webdataset import WebDatasetConfig, WebDatasetSource
from curation.storage import Store


@dataclass(frozen=True)
class Kind:
    """One kind of source.

    Attributes:
        config_type: Its `source:` section.
        open: Opens it. The second argument is where the dataset lies, to refuse a source that
            holds it or lies in it; null where that was checked before.
    """

    config_type: type[SourceConfig]
    open: Callable[[Any, Store | None], Source]


SOURCES: dict[str, Kind] = {
    "folder": Kind(FolderConfig, FolderSource),
    "list": Kind(ListConfig, ListSource),
    "parquet": Kind(ParquetConfig, ParquetSource),
    "urls": Kind(UrlsConfig, UrlSource),
    "webdataset": Kind(WebDatasetConfig, WebDatasetSource),
}

AnySource = Annotated[
    FolderConfig | ListConfig | ParquetConfig | UrlsConfig | WebDatasetConfig,
    Field(discriminator="kind"),
]
"""The `source:` section of a pipeline."""

DEFAULT_KIND = "folder"


def open_source(config: SourceConfig, dataset: Store | None = None) -> Source:
    """Open a source.

    Raises:
        ConfigError: A root is refused.
        UsageError: A root is missing or no folder.
    """
    return SOURCES[config.kind].open(config, dataset)
