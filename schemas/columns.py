"""The column constructor, and the three columns that every table carries.

In memory `image_id` is `fixed_size_binary(16)` (pyarrow cannot sort or group its UUID extension
type); on disk it is Parquet's UUID logical type, which DuckDB joins as a 16-byte number.
`curation.tables` converts at the border, guided by the `logical` key of the field metadata.
"""

import pyarrow as pa

UUID = pa.binary(16)
SHA256 = pa.binary(32)


def column(
    name: str,
    type: pa.DataType,
    doc: str,
    *,
    unit: str = "",
    version: int = 1,
    logical: str = "",
    bulk: bool = False,
) -> pa.Field:
    """Describe one column; the description travels in the Parquet footer.

    Args:
        name: Lower-case name without the instance prefix.
        type: Arrow type in memory.
        doc: One sentence that says what the value means and when it is null.
        unit: Unit or range, for example `px`, `bytes`, `0..100`; empty where there is none.
        version: Raised whenever the same input may give another value. It enters the fingerprint of
            the stage that writes the column and of every stage that reads it.
        logical: `uuid` for 16-byte identifiers stored as Parquet UUIDs.
        bulk: The values are large, do not compress, and are read a row at a time: the file has
            small row groups, and SQL does not show the column.
    """
    metadata = {"doc": doc, "version": str(version)}
    if unit:
        metadata["unit"] = unit
    if logical:
        metadata["logical"] = logical
    if bulk:
        metadata["storage"] = "bulk"
    return pa.field(name, type, nullable=True, metadata=metadata)


def table(name: str, *columns: pa.Field) -> pa.Schema:
    """Make the schema constant of a table called `name`."""
    return pa.schema(list(columns), metadata={"table": name})


def column_version(field: pa.Field) -> int:
    """Return the version that `column` recorded, 1 where none was."""
    return int((field.metadata or {}).get(b"version", b"1"))


def is_bulk(field: pa.Field) -> bool:
    """Say whether `column` described the values as bulk."""
    return (field.metadata or {}).get(b"storage") == b"bulk"


SHARD = column("shard", pa.int32(), "Number of the image shard that holds this row.")
ROW = column("row", pa.int32(), "Position of this row in its shard, from 0.")
IMAGE_ID = column(
    "image_id",
    UUID,
    "Identity of this image at this place: UUIDv8 over source name, key, ordinal and content hash.",
    logical="uuid",
)
IDENTITY = (SHARD, ROW, IMAGE_ID)
