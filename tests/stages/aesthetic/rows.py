"""Rows for the tests of the stage."""

import pyarrow as pa

from schemas.columns import IDENTITY


def identity(count):
    """Make the columns that every table carries."""
    arrays = [
        pa.array([0] * count, pa.int32()),
        pa.array(range(count), pa.int32()),
        pa.array([n.to_bytes(16) for n in range(count)], pa.binary(16)),
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(IDENTITY))
