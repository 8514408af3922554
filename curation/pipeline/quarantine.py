"""Charge sheets: what went wrong with a shard so often that it was, or may be, given up."""

import json

from curation.dataset import Dataset
from curation.fingerprint import pretty_json
from curation.pipeline.dispatch import MAX_TRIES, Charge
from schemas import dataset as paths


def read_charges(dataset: Dataset, instance: str, fingerprint: str, name: str) -> list[Charge]:
    """Return the charges against one task, none where there is no sheet."""
    try:
        sheet = json.loads(dataset.store.read(paths.quarantine_path(instance, fingerprint, name)))
    except FileNotFoundError:
        return []
    return [Charge(c["code"], c["text"], c["worker"]) for c in sheet["charges"]]


def write_charges(
    dataset: Dataset, instance: str, fingerprint: str, name: str, charges: list[Charge]
) -> None:
    """Write the charge sheet of one task."""
    sheet = {
        "format": 1,
        "state": "quarantined" if len(charges) >= MAX_TRIES else "failing",
        "charges": [
            {"try": number, "code": c.code, "text": c.text, "worker": c.worker}
            for number, c in enumerate(charges, start=1)
        ],
    }
    dataset.store.put(paths.quarantine_path(instance, fingerprint, name), pretty_json(sheet))


def quarantined(dataset: Dataset, instance: str, fingerprint: str) -> dict[str, list[Charge]]:
    """Return task name -> charges for the tasks of an instance that were given up.

    A shard that has its file all the same is not quarantined: the caller looks at files first.
    """
    folder = f"quarantine/{instance}/{fingerprint}"
    found = {}
    for file in dataset.store.names(folder):
        name = file.removesuffix(".json")
        charges = read_charges(dataset, instance, fingerprint, name)
        if len(charges) >= MAX_TRIES:
            found[name] = charges
    return found


def forgive(dataset: Dataset, instance: str, fingerprint: str) -> int:
    """Delete every charge sheet of an instance, for `--retry-quarantined`; return how many."""
    folder = f"quarantine/{instance}/{fingerprint}"
    names = dataset.store.names(folder)
    for file in names:
        dataset.store.delete(f"{folder}/{file}")
    return len(names)
