"""Joining a Ray cluster, or starting one on this machine."""

import logging
import os
import shutil
import sys
from pathlib import Path

import ray

from curation.errors import ResourceError

_LEAST_STORE_BYTES = 256 << 20
_MOST_STORE_BYTES = 8 << 30
_SHARED_MEMORY = Path("/dev/shm")
"""Where Ray keeps its object store on Linux."""


def connect(address: str | None, *, shows_logs: bool = True) -> bool:
    """Join the cluster at `address` or in `RAY_ADDRESS`; else start Ray on this machine.

    Args:
        address: Of a running cluster.
        shows_logs: Whether what workers print comes here too; Ray keeps it on their machines.

    Returns:
        Whether Ray was started here, so that it must be stopped here too.

    Raises:
        ResourceError: No cluster answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None or address == "local":
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=object_store_bytes(),
            logging_level=logging.ERROR,
            log_to_driver=shows_logs,
            runtime_env={"env_vars": {"PYTHONPATH": _import_path()}},
        )
        return True
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=shows_logs)
    except ConnectionError as error:
        message = f"{address}: no Ray cluster answers there; check the address, or leave it out"
        raise ResourceError(message) from error
    return False


def object_store_bytes() -> int:
    """Return the size of the object store of a Ray that Longtail starts itself.

    Specifications, small answers and the views for GPU stages pass through it: a quarter of the
    free shared memory, within bounds. It takes memory as it fills.
    """
    free = shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.exists() else 0
    return min(max(free // 4, _LEAST_STORE_BYTES), _MOST_STORE_BYTES)


def _import_path() -> str:
    """Return where this process imports from, so that actors on this machine find the same code.

    Ray passes the current folder and the script's on, but no other entry: not for a cluster, where
    the code is the job's working directory.
    """
    return os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
