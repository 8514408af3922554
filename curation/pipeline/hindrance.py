"""Trouble that keeps a task from being worked on and is no fault of its shard.

A full disk, a store or an endpoint that refuses, weights that cannot be loaded: the next shard
would fail in the same way, so nobody is charged. The task goes back, and the run ends with the
sentence made here where it does not pass.
"""

import errno

from curation.errors import EndpointError, LongtailError, StorageError, UsageError
from curation.urls import redacted

AGAIN = "then run the same command again: finished shards are kept"

_OF_THE_MACHINE = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOSPC,
        errno.ENOTCONN,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
    }
)
"""Of an `OSError`: not the file is bad, but the disk, the network, the rights or the limits."""


def hindrance(where: str, error: Exception) -> str:
    """Return a sentence if `error` is the fault of the machine, the store or the request.

    Errors about the data of one shard give an empty string: a broken contract, rows that do not
    add up, a file that is missing or no Parquet. They are charges.
    """
    if isinstance(error, EndpointError | StorageError | UsageError):
        return redacted(f"{where}: {error}")
    passing = isinstance(error, ConnectionError | TimeoutError)
    if passing or (isinstance(error, OSError) and error.errno in _OF_THE_MACHINE):
        return f"{where}: {_words(error)}; mend that, {AGAIN}"
    return ""


def setup_hindrance(instance: str, error: Exception) -> str:
    """Return the sentence for a stage whose `setup` raised: no shard was in hand."""
    if isinstance(error, LongtailError):
        return redacted(f"{instance} cannot be set up: {error}")
    return f"{instance} cannot be set up: {_words(error)}; mend that, {AGAIN}"


def _words(error: Exception) -> str:
    return redacted(f"{type(error).__name__}: {error}")[:1000]  # half a URL hides its secret
