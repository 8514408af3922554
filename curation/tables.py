"""Arrow tables to Parquet files and back, and digests of their logical values."""

import hashlib
import json
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.storage import Store
from schemas.columns import is_bulk

IMAGE_ROW_GROUP = 64
"""Rows in a row group of a table with image bytes: what one read of a slice fetches."""

BULK_GROUP_BYTES = 1 << 20
"""What a row group holds of the largest bulk column, about: what one read of a row fetches."""

BYTES = "image_bytes"
"""The column of original files: never compressed again, never digested, without statistics."""

DIGESTS = b"longtail.digests"
"""Key of the schema metadata under which a file keeps the digest of each of its columns."""


def to_parquet(table: pa.Table) -> memoryview:
    """Encode `table`: zstd, image bytes uncompressed in small row groups, identifiers as UUID.

    A table with columns that their schema calls bulk is not compressed at all, and has row groups
    of about `BULK_GROUP_BYTES` of the largest of them.

    The footer keeps a digest of every column but `image_bytes`, so that readers can tell whether
    values changed without reading them.
    """
    digests = column_digests(table)
    metadata = {**(table.schema.metadata or {}), DIGESTS: json.dumps(digests, sort_keys=True)}
    table = to_disk(table.combine_chunks()).replace_schema_metadata(metadata)
    size = _group_rows(table)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=size, **parquet_options(table.schema))
    return memoryview(sink.getvalue())  # without another copy of a shard's images


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """Return how the columns of a table are encoded, as `pq.ParquetWriter` takes it."""
    if any(is_bulk(field) for field in schema):
        # A row group may be a single row: nothing repeats in it, and its footer shall be small.
        plain: dict[str, Any] = {"compression": "NONE", "use_dictionary": False}
        return {**plain, "write_statistics": False, "store_schema": True}
    own = [field for field in schema if field.name != BYTES]
    leaves = [leaf for field in own for leaf in _leaves(field.name, field.type)]
    compression = dict.fromkeys(leaves, "ZSTD")
    if len(own) < len(schema):
        compression[BYTES] = "NONE"
    return {
        "compression": compression,
        "use_dictionary": leaves,
        "write_statistics": leaves,
        "store_schema": True,
    }


def _group_rows(table: pa.Table) -> int:
    """Return the rows of a row group."""
    bulk = [int(table[field.name].nbytes) for field in table.schema if is_bulk(field)]
    if bulk:
        mean = max(bulk) // max(len(table), 1)
        return max(1, min(IMAGE_ROW_GROUP, BULK_GROUP_BYTES // max(mean, 1)))
    return IMAGE_ROW_GROUP if BYTES in table.column_names else max(len(table), 1)


def write_table(store: Store, name: str, table: pa.Table) -> None:
    """Put `table` as the Parquet file `name`, whole."""
    store.put(name, to_parquet(table))


def create_table(store: Store, name: str, table: pa.Table) -> bool:
    """Write `table` as the Parquet file `name` if nobody has; return whether this call did."""
    return store.create(name, to_parquet(table))


def read_table(store: Store, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the Parquet file `name`; identifiers come back as `fixed_size_binary(16)`."""
    with store.open(name) as file:
        return from_parquet(file, columns)


def from_parquet(
    file: IO[bytes],
    columns: Sequence[str] | None = None,
    row_groups: Sequence[int] | None = None,
    metadata: Any = None,
) -> pa.Table:
    """Read columns, and row groups if only some are wanted, of an open Parquet file.

    Args:
        file: The file.
        columns: Null for all.
        row_groups: Null for all.
        metadata: The file's footer, where it was read before.
    """
    parquet = pq.ParquetFile(file, metadata=metadata)
    wanted = list(columns) if columns is not None else None
    if row_groups is None:
        table = parquet.read(columns=wanted)
    else:
        table = parquet.read_row_groups(list(row_groups), columns=wanted)
    if wanted is not None:
        table = table.select(wanted)
    return _from_disk(table)


def file_schema(store: Store, name: str) -> pa.Schema:
    """Read only the footer of a Parquet file."""
    with store.open(name) as file:
        return pq.read_schema(file)


def file_digests(store: Store, name: str) -> dict[str, str]:
    """Read the column digests that `to_parquet` kept in the footer of `name`."""
    return schema_digests(file_schema(store, name))


def schema_digests(schema: pa.Schema) -> dict[str, str]:
    """Return the column digests that `to_parquet` kept in a file's schema."""
    return dict(json.loads((schema.metadata or {}).get(DIGESTS, b"{}")))


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with exactly the columns, order, types and metadata of `schema`.

    Raises:
        KeyError: A column is missing. pyarrow.ArrowInvalid: A value does not fit its type.
    """
    return pa.Table.from_arrays([table[f.name].cast(f.type) for f in schema], schema=schema)


def _is_uuid(field: pa.Field) -> bool:
    return (field.metadata or {}).get(b"logical") == b"uuid"


def _leaves(path: str, kind: pa.DataType) -> list[str]:
    """Return the paths of the Parquet columns that an Arrow column becomes."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for child in kind for leaf in _leaves(f"{path}.{child.name}", child.type)]
    return [path]


def to_disk(table: pa.Table) -> pa.Table:
    """Return `table` with identifiers in the type that they have in Parquet."""
    for index, field in enumerate(table.schema):
        if _is_uuid(field) and field.type == pa.binary(16):
            values = table.column(index)
            chunks = [pa.ExtensionArray.from_storage(pa.uuid(), c) for c in values.chunks]
            column = pa.chunked_array(chunks, type=pa.uuid())
            table = table.set_column(index, field.with_type(pa.uuid()), column)
    return table


def _from_disk(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if field.type == pa.uuid():
            chunks = [c.storage for c in table.column(index).chunks]
            column = pa.chunked_array(chunks, type=pa.binary(16))
            table = table.set_column(index, field.with_type(pa.binary(16)), column)
    metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k != DIGESTS}
    return table.replace_schema_metadata(metadata or None)


def column_digests(table: pa.Table) -> dict[str, str]:
    """Return column -> digest of its values, for every column but `image_bytes`."""
    return {name: column_digest(table[name]) for name in table.column_names if name != BYTES}


def column_digest(column: pa.ChunkedArray | pa.Array) -> str:
    """Hash the logical values of a column: equal values, equal digest, however they are chunked.

    Returns:
        32 hexadecimal characters of SHA-256 over the type, the validity and the values.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks of zero chunks
        array = pa.array([], type=column.type)
    digest = hashlib.sha256()
    _feed(digest, array)
    return digest.hexdigest()[:32]


def _type_name(kind: pa.DataType) -> str:
    """Name a type without the names of list elements, which Parquet changes."""
    if pa.types.is_fixed_size_list(kind):
        return f"list[{kind.list_size}]"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "list"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(field.name for field in kind)}>"
    return str(kind)


def _feed(digest: Any, array: pa.Array) -> None:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    digest.update(f"{_type_name(kind)}:{len(array)}\0".encode())
    valid = np.ascontiguousarray(array.is_valid().to_numpy(zero_copy_only=False))
    digest.update(np.packbits(valid).tobytes())
    if pa.types.is_null(kind):
        return
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
        digest.update(lengths.to_numpy(zero_copy_only=False).tobytes())
        _feed(digest, array.flatten())
    elif pa.types.is_struct(kind):
        for child in array.flatten():
            _feed(digest, child)
    elif pa.types.is_fixed_size_binary(kind):
        digest.update(b"".join(v for v in array.to_pylist() if v is not None))
    elif pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        lengths = pc.fill_null(pc.binary_length(array), 0).cast(pa.int64())
        digest.update(lengths.to_numpy(zero_copy_only=False).tobytes())
        values = array.cast(pa.binary()) if pa.types.is_string(kind) else array
        digest.update(b"".join(v for v in values.to_pylist() if v is not None))
    elif pa.types.is_boolean(kind):
        digest.update(np.packbits(array.fill_null(False).to_numpy(zero_copy_only=False)).tobytes())
    else:
        zero = pa.scalar(0, kind) if not pa.types.is_temporal(kind) else pa.scalar(0).cast(kind)
        filled = array.fill_null(zero) if array.null_count else array
        digest.update(np.ascontiguousarray(filled.to_numpy(zero_copy_only=False)).tobytes())
