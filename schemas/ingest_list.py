"""The frozen work list of one ingest."""

import pyarrow as pa

from schemas.columns import column, table

INGEST_LIST = table(
    "ingest_list",
    column("source_name", pa.string(), "Stable name of the source, given by the user."),
    column("key", pa.string(), "Key as in `images.source_key`; lists run in byte order of it."),
    column("ordinal", pa.int64(), "0 for the first file of this key."),
    column("uri", pa.string(), "Where the bytes are."),
    column("num_bytes", pa.int64(), "Size when listed; null where unknown.", unit="bytes"),
    column("etag", pa.string(), "The store's content tag when listed; null on a file system."),
    column("mtime_ns", pa.int64(), "Modification time when listed, where known.", unit="ns"),
    column("shard", pa.int32(), "Shard that this file goes to; null for a vanished one."),
    column("row", pa.int32(), "Row in that shard; null for a vanished one."),
    column("change", pa.string(), "`new`, `changed` or `vanished` against the ingests before."),
    column("offset", pa.int64(), "First byte in the file; null for a whole file.", unit="bytes"),
    column("length", pa.int64(), "Bytes at the offset; null for a whole file.", unit="bytes"),
    column("table_row", pa.int64(), "Row in the file from 0, where the file is a table."),
    column("alt_text", pa.string(), "Text of the image, where the listing has read it."),
    column("license", pa.string(), "Licence of the image, where the listing has read it."),
    column("metadata", pa.string(), "JSON object of further facts, where listing has read them."),
    column("sidecars", pa.string(), "JSON object: where text and further facts are to be read."),
    column("container", pa.string(), "JSON object: version of the file that this is inside of."),
    column("error", pa.string(), "`code: text` where the listing tells that there are no bytes."),
)
"""Byte order is that of the raw key, before percent-encoding.

Lists from before `offset` and what follows it read as null there.
"""
