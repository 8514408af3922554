"""Whether a store keeps the promises that a dataset rests on."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from curation.doctor.check import Check
from curation.errors import LongtailError
from curation.storage import Store


@contextmanager
def _no_trace(store: Store) -> Iterator[None]:
    """Remove, afterwards, the folders that were not there before."""
    if not store.is_local:
        yield
        return
    root = store.local("")
    absent = [folder for folder in (root, *root.parents) if not folder.exists()]
    yield
    for folder in absent:
        folder.rmdir()


def check_store(url: str) -> Iterator[Check]:
    """Write, list, create exclusively, and delete below `url`; nothing stays behind.

    Resuming is a listing, so a store must list what was written; claims are exclusive creates, so
    of two writers one must lose.
    """
    try:
        store = Store(url)
        with _no_trace(store):
            yield _try(store, f"doctor-{uuid.uuid4().hex}.tmp")
    except (LongtailError, OSError) as error:
        yield Check(f"store {url}", "wrong", str(error), "see that it exists and may be written")


def _try(store: Store, name: str) -> Check:
    subject = f"store {store.url}"
    first = store.create(name, b"1")
    try:
        second = store.create(name, b"2")
        content = store.read(name)
        listed = name in store.names("")
        store.put(name, b"3")
        replaced = store.read(name)
    finally:
        store.delete(name)
    still = name in store.names("")
    faults = [
        text
        for is_fault, text in (
            (not first or content != b"1", "what was created is not what is read"),
            (second, "of two exclusive creates both won, so two runs could write one file"),
            (not listed, "a file just written is not listed, so a run could not resume"),
            (replaced != b"3", "a file just replaced is read as it was before"),
            (still, "a file just deleted is still listed"),
        )
        if is_fault
    ]
    if faults:
        advice = "keep datasets on a store with strong consistency and conditional writes"
        return Check(subject, "wrong", "; ".join(faults), advice)
    return Check(subject, "ok", "writes, lists, creates exclusively, replaces and deletes")
