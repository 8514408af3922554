"""Which folder of a dataset holds what a recipe's encoders make of its images.

A cache is found by what it is, not by the name of its instance alone: the lineage beside its files
states the encoders' identities, the sizes and the precision. A folder made with anything else is no
candidate, so features of another encoder cannot be served.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from curation import pixels
from curation.config import Config, nearest
from curation.dataset import Dataset
from curation.errors import SnapshotError
from schemas import dataset as paths
from training.encoders.sizes import any_bucket_spec

Kind = Literal["codec", "text"]

STAGE = "encode"


class CacheConfig(Config):
    """Where latents and text features are read from; a bare name stands for `instances: [NAME]`.

    Attributes:
        instances: Instances of the stage `encode` in the dataset: one that has both, or one for
            latents and one for texts. What none of them has by its configuration is computed.
        on_miss: What becomes of rows and captions that were not encoded: `refuse` the run before it
            begins, or `encode` them each time they are needed.
    """

    instances: tuple[str, ...] = Field(min_length=1)
    on_miss: Literal["refuse", "encode"] = "refuse"

    @model_validator(mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"instances": [value]}
        return {"instances": value} if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class CacheFolder:
    """A configured `encode`, as found on disk.

    Attributes:
        instance: Its name.
        fingerprint: Its folder.
        lineage: What made it.
        shards: The shards that it has.
    """

    instance: str
    fingerprint: str
    lineage: Mapping[str, Any]
    shards: frozenset[int]

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.instance} ({self.fingerprint})"

    def has(self, kind: Kind) -> bool:
        """Say whether it holds latents, or texts, at all."""
        return self.lineage["config"][kind] is not None

    def facts(self, kind: Kind) -> dict[str, str]:
        """Return what decides the values of a kind, as text."""
        prefix = f"{kind}."
        found = {k: v for k, v in self.lineage["digests"].items() if k.startswith(prefix)}
        if kind == "codec":
            found["edge_px"] = str(self.lineage["config"]["edge_px"])
            found["pixels"] = json.dumps(self.lineage["pixels"], sort_keys=True)
        return found

    def precision(self, kind: Kind) -> str:
        """Return in which precision a kind is stored."""
        name = {"codec": "latent_precision", "text": "text_precision"}[kind]
        return str(self.lineage["config"][name])

    @property
    def is_mirrored(self) -> bool:
        """Whether it has the latents of mirrored pictures."""
        return bool(self.lineage["config"]["flip"])


def find_folders(dataset: Dataset, config: CacheConfig) -> list[CacheFolder]:
    """Return every folder of the instances, of all fingerprints.

    Raises:
        SnapshotError: There is no such instance of `encode`.
    """
    known: dict[str, list[CacheFolder]] = {}
    for instance, fingerprint in dataset.stage_folders():
        path = f"{paths.instance_folder(instance, fingerprint)}/stage.json"
        if dataset.store.exists(path):
            lineage = json.loads(dataset.store.read(path))
            if lineage.get("stage") == STAGE:
                shards = frozenset(dataset.instance_shards(instance, fingerprint))
                folder = CacheFolder(instance, fingerprint, lineage, shards)
                known.setdefault(instance, []).append(folder)
    for name in config.instances:
        if name not in known:
            there = f"; there are: {', '.join(sorted(known))}" if known else ""
            message = (
                f"data.cache: no instance {name!r} of encode has run on {dataset.store.url}"
                f"{nearest(name, sorted(known)) or there}; add `{name}: {{stage: encode, ...}}` to "
                "the pipeline and run it, or leave data.cache out"
            )
            raise SnapshotError(message)
    return [folder for name in config.instances for folder in known[name]]


def wanted_latents(identity: Mapping[str, str], edge_px: int, stride: int) -> dict[str, str]:
    """Return what the facts of latents must be.

    Args:
        identity: The codec's, as `identity_lines` gives it.
        edge_px: Of the recipe.
        stride: The codec's.
    """
    spec = any_bucket_spec(edge_px, stride).model_dump(mode="json")
    shown = json.dumps({"spec": spec, "version": pixels.VERSION}, sort_keys=True)
    return {**identity, "edge_px": str(edge_px), "pixels": shown}


def matching(
    folders: Sequence[CacheFolder], kind: Kind, wanted: Mapping[str, str]
) -> list[CacheFolder]:
    """Return the folders that hold a kind as it is wanted, those with the most shards first.

    None of the folders holding the kind by their configuration is no error: it is computed then.

    Raises:
        SnapshotError: Some hold it, and none as it is wanted; names the difference.
    """
    holding = [folder for folder in folders if folder.has(kind)]
    found = [folder for folder in holding if folder.facts(kind) == wanted]
    if holding and not found:
        closest = min(holding, key=lambda f: (len(_differences(f, kind, wanted)), f.name))
        words = "; ".join(_differences(closest, kind, wanted).values())
        message = (
            f"data.cache: {closest.name} was made otherwise than the recipe wants: {words}. "
            "Run the pipeline with what the recipe has, change the recipe, or leave data.cache out"
        )
        raise SnapshotError(message)
    return sorted(found, key=lambda f: (-len(f.shards), f.name))


def _differences(folder: CacheFolder, kind: Kind, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return fact -> what differs, in words."""
    found = folder.facts(kind)
    words = {}
    for name in sorted({*found, *wanted}):
        here, there = found.get(name, "not there"), wanted.get(name, "not there")
        if here != there:
            words[name] = f"{name} is {here}, and the recipe's is {there}"
    if "pixels" in words and len(words) > 1:
        del words["pixels"]  # follows from the others
    elif "pixels" in words:
        words["pixels"] = "pixels were seen otherwise, by another version of the code"
    return words
