"""What stages learnt of their weights, kept with the pipeline for whoever has none of them.

A fingerprint needs the digests of weights, and a schema may need the length of their vectors. Where
a pipeline runs, the weights are looked at. Where its dataset is only read, on a laptop perhaps, the
facts that the last run recorded beside the pipeline's file stand in for them.
"""

import json
from collections.abc import Mapping
from typing import Any

from curation.dataset import Dataset
from curation.errors import ConfigError, DatasetError, LongtailError, MissingWeightsError
from curation.fingerprint import pretty_json
from curation.pipeline.stage import Stage

Facts = dict[str, dict[str, Any]]
"""Instance -> what it was configured as, and the facts."""


def facts_path(pipeline: str) -> str:
    """Return the name of a pipeline's recorded facts in its dataset."""
    return f"pipelines/{pipeline}.facts.json"


def read_facts(dataset: Dataset, pipeline: str) -> Facts:
    """Return what was recorded for a pipeline; nothing where it never ran, or needs no facts.

    Raises:
        DatasetError: The file is spoilt.
    """
    path = facts_path(pipeline)
    try:
        found = json.loads(dataset.store.read(path))
        return {name: {**entry, "facts": dict(entry["facts"])} for name, entry in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        message = (
            f"{dataset.store.uri(path)}: is not what a run wrote there ({error}); delete it and "
            "run the pipeline again where its weights are"
        )
        raise DatasetError(message) from error


class Recorded:
    """Finds facts for a reader: recorded ones first, since the weights need not be here.

    The pipeline's file and its facts are recorded together, so where weights lie does not matter;
    but of a record that is of another file than this one, nothing is taken.
    """

    def __init__(self, dataset: Dataset, pipeline: str) -> None:
        self._facts = read_facts(dataset, pipeline)

    def __call__(self, name: str, stage: Stage[Any]) -> Mapping[str, Any]:
        facts = _recorded_for(self._facts.get(name), stage, with_place=False)
        return learn(name, stage) if facts is None else facts


class Learnt:
    """Finds facts for a run: looks at the weights, once; where they are not here, at the record.

    Weights that are here and wrong are refused: of those, the record knows nothing.

    Args:
        url: Where the dataset lies, or will.
        pipeline: The pipeline's name.
    """

    def __init__(self, url: str, pipeline: str) -> None:
        self._url = url
        self._pipeline = pipeline
        self._record: Facts | None = None
        self._known: Facts = {}

    def __call__(self, name: str, stage: Stage[Any]) -> Mapping[str, Any]:
        if name not in self._known:
            try:
                facts = learn(name, stage)
            except MissingWeightsError:
                known = self.recorded(name, stage)
                if known is None:
                    raise
                facts = known
            self._known[name] = {**_told(stage), "facts": dict(facts)}
        found: Mapping[str, Any] = self._known[name]["facts"]
        return found

    def recorded(self, name: str, stage: Stage[Any]) -> Mapping[str, Any] | None:
        """Return what a run recorded for the instance as it is configured now; null for nothing."""
        if self._record is None:
            try:
                self._record = read_facts(Dataset.open(self._url), self._pipeline)
            except LongtailError:
                self._record = {}  # no dataset yet, or none to be read: the weights are missed
        return _recorded_for(self._record.get(name), stage, with_place=True)

    def write(self, dataset: Dataset) -> None:
        """Record the facts, where there are any."""
        facts = {name: entry for name, entry in self._known.items() if entry["facts"]}
        path = facts_path(self._pipeline)
        data = pretty_json(facts)
        if not facts:
            if dataset.store.exists(path):
                dataset.store.delete(path)
        elif not dataset.store.exists(path) or dataset.store.read(path) != data:
            dataset.store.put(path, data)


def learn(name: str, stage: Stage[Any]) -> Mapping[str, Any]:
    """Return what a stage learns of its weights here.

    Raises:
        MissingWeightsError: They are not here; the message begins with the instance.
        ConfigError: They are wrong; the same.
    """
    try:
        return stage.learn()
    except ConfigError as error:
        message = f"stages.{name}: {error}"
        raise type(error)(message) from error


def _recorded_for(
    entry: Mapping[str, Any] | None, stage: Stage[Any], *, with_place: bool
) -> Mapping[str, Any] | None:
    """Return the facts of a record, if it is of this stage as it is configured now."""
    told = _told(stage)
    keys = [key for key in told if with_place or key != "weights"]
    if entry is None or any(entry.get(key) != told[key] for key in keys):
        return None
    facts: Mapping[str, Any] = entry["facts"]
    return facts


def _told(stage: Stage[Any]) -> dict[str, Any]:
    """Return what facts depend on: the stage, its configuration, and where its weights lie."""
    return {
        "stage": stage.name,
        "config": stage.config.model_dump(mode="json"),
        "weights": dict(stage.weights()),
    }
