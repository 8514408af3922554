"""What the numbers follow from: instances, their fingerprints, and the snapshot's digests."""

from dataclasses import dataclass
from typing import Any

from curation.fingerprint import canonical_json
from curation.report.source import Source


@dataclass(frozen=True)
class Parent:
    """An instance of the pipeline.

    Attributes:
        instance: Its name.
        stage: Its stage.
        fingerprint: Its fingerprint now; empty while it waits for a fit.
        recorded: Its fingerprint when the snapshot was made; empty where the snapshot did not read
            it.
        config: Its configuration, as JSON.
    """

    instance: str
    stage: str
    fingerprint: str
    recorded: str
    config: str

    @property
    def has_changed(self) -> bool:
        """Whether its columns are no longer those that the snapshot was made from."""
        return bool(self.recorded) and self.recorded != self.fingerprint


@dataclass(frozen=True)
class Provenance:
    """What the report is made from.

    Attributes:
        parents: The instances, in the order of the pipeline.
        facts: (name, value) about the snapshot and the dataset.
    """

    parents: tuple[Parent, ...]
    facts: tuple[tuple[str, str], ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the instances whose columns changed since the snapshot."""
        return tuple(parent.instance for parent in self.parents if parent.has_changed)


def trace(source: Source) -> Provenance:
    """Collect what the report is made from."""
    recorded: dict[str, str] = {}
    if source.manifest is not None:
        parents = source.manifest.content.parents
        recorded = {name: info.fingerprint or "" for name, info in parents.items()}
    found = [
        Parent(
            instance.name,
            instance.stage_type.name,
            instance.fingerprint if instance.is_ready else "",
            recorded.pop(instance.name, ""),
            canonical_json(instance.config.model_dump(mode="json")),
        )
        for instance in source.instances
    ]
    found += [Parent(name, "", "", fingerprint, "") for name, fingerprint in recorded.items()]
    return Provenance(tuple(found), tuple(_facts(source)))


def _facts(source: Source) -> list[tuple[str, str]]:
    dataset = source.dataset
    facts: list[tuple[str, Any]] = [
        ("dataset", dataset.store.url),
        ("dataset id", dataset.info.dataset_id),
        ("layout", dataset.info.layout),
    ]
    manifest = source.manifest
    if manifest is not None:
        content = manifest.content
        facts += [
            ("snapshot", manifest.id),
            ("made", manifest.created_at),
            ("by version", manifest.code_version),
            ("digest of the rows", content.rows),
            ("digest of the decisions", content.decisions),
            ("representative by", ", ".join(content.representative) or "image_id"),
            ("split", canonical_json(content.split)),
            ("sampling", canonical_json(content.sample) if content.sample else "none"),
            ("splits compared with", manifest.previous or "no other snapshot"),
        ]
    return [(name, str(value)) for name, value in facts]
