"""Files that hold images inside: found below the roots, and named in keys as `file!inner`."""

from collections.abc import Callable, Iterator, Sequence

from curation.errors import UsageError
from curation.ingest.entries import Container, Entry, Place, facts_json
from curation.ingest.identity import encode_key
from curation.ingest.listing import list_files
from curation.ingest.roots import Root

SEPARATOR = b"!"

Lister = Callable[[Root, Entry], Iterator[Entry]]
"""Lists what is in a file, by place; the file comes as an entry."""


def list_containers(
    roots: Sequence[Root],
    after: Place,
    ending: bytes,
    lister: Lister,
    other: Callable[[Entry], None],
) -> Iterator[Container]:
    """List the files whose names end with `ending`, in the order of the keys inside them.

    Args:
        after: Place to resume after, inside a file or before all.
        ending: In lower case, such as `.tar`; names are compared without case.
        lister: What is in one of them.
        other: Told of files with other names.

    Raises:
        UsageError: A key could be read in two ways, or the roots cannot be listed.
    """
    for file in list_files(roots, after.key, tail=SEPARATOR):
        if not file.key.lower().endswith(ending):
            other(file)
            continue
        if ending + SEPARATOR in file.key.lower():
            text = f"{ending.decode()}!"
            message = (
                f"{file.uri}: has {text!r} in its path, so the keys of its rows could be read in "
                "two ways; rename it"
            )
            raise UsageError(message)
        root = next(root for root in roots if root.uri(file.key) == file.uri)
        yield Container(
            file.key + SEPARATOR,
            facts_json(file.facts),
            _resumed(lister, root, file, after),
        )


def split_key(key: bytes, ending: bytes) -> tuple[bytes, bytes]:
    """Return the file and the inner key of `file!inner`."""
    at = key.lower().index(ending + SEPARATOR) + len(ending)
    return key[:at], key[at + 1 :]


def _resumed(
    lister: Lister, root: Root, file: Entry, after: Place
) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        try:
            for entry in lister(root, file):
                if entry.place > after:
                    yield entry
        except FileNotFoundError:
            root.check()  # deleted since its folder was listed
        except OSError as error:
            message = (
                f"{file.uri}: cannot be read ({error.strerror or error}), and nothing is left out "
                f"silently; make {encode_key(file.key)!r} readable, or move it out of the source, "
                "and run again"
            )
            raise UsageError(message) from error

    return entries
