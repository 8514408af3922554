"""The `snapshot:` section of a pipeline."""

from typing import Any

from pydantic import Field

from curation.config import Config


class SplitConfig(Config):
    """How kept images are split.

    Attributes:
        validation: Share of duplicate groups that go to `validation`, in 0..1.
        salt: Changing it draws another split.
    """

    validation: float = Field(default=0.0, ge=0, le=1)
    salt: str = "longtail"


class SnapshotConfig(Config):
    """What a snapshot keeps.

    Attributes:
        where: Name -> SQL expression over the columns; a row is kept where all are true. The first
            that is false gives the row's reason; null counts as failed with `<name>:unknown`.
        sample: The sampler's own configuration; null keeps every survivor once.
        representative: Columns, best first, that choose the representative of a duplicate group.
        split: How kept images are split.
        on_publish: What publishing triggers, for example `train: CONFIG.yaml`.
    """

    where: dict[str, str] = {}
    sample: dict[str, Any] | None = None
    representative: tuple[str, ...] | None = None
    split: SplitConfig = SplitConfig()
    on_publish: dict[str, str] = {}
