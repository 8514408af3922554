"""A relation whose groups exist for several sets of shards."""

import pyarrow as pa

from curation.config import Config
from curation.fingerprint import pretty_json
from curation.inventory import applied_instances, applied_pipelines
from curation.pipeline.instances import Registry
from curation.pipeline.relation import facts_path, rows_path
from curation.pipeline.stage import RelationStage
from curation.tables import conform, write_table
from schemas.columns import column, table
from tests.curation.small_dataset import PIPELINE, REGISTRY, ROWS, identity

DUP = table("dup", column("group", pa.string(), "Name of the group."))


class DupConfig(Config):
    """Nothing to set."""


class DupStage(RelationStage[DupConfig]):
    """A relation whose groups the test writes itself."""

    name = "dup"
    config_type = DupConfig

    def reads(self):
        return ("images.content_sha256",)

    def writes(self):
        return DUP

    def edge_schema(self):
        return pa.schema([])

    def edges(self, left, right):
        raise NotImplementedError

    def groups(self, rows, edges):
        raise NotImplementedError


RELATION_REGISTRY: Registry = {**REGISTRY, "dup": DupStage}


def add_relation(dataset, answers):
    """Apply a pipeline `related` and write its answers: name -> shards."""
    text = PIPELINE.format(url=dataset.store.url).replace("name: small", "name: related")
    dataset.store.put("pipelines/related.yaml", f"{text}  dup: {{}}\n".encode())
    config = applied_pipelines(dataset)["related"]
    instances = applied_instances(dataset, config, RELATION_REGISTRY)
    instance = next(i for i in instances if i.name == "dup")
    for name, shards in answers.items():
        tables = [
            pa.table(identity(shard) | {"dup_group": pa.array([name] * ROWS)}) for shard in shards
        ]
        rows = conform(pa.concat_tables(tables), instance.disk_schema())
        write_table(dataset.store, rows_path("dup", instance.fingerprint, name, 0), rows)
        mask = sum(1 << shard for shard in shards)
        facts = {"format": 1, "blocks": [f"00000000.{mask:04x}.{'0' * 16}"], "facts": {}}
        dataset.store.put(facts_path("dup", instance.fingerprint, name), pretty_json(facts))
