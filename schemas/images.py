"""Image shards: what ingest knows about every file, and the file's bytes."""

import pyarrow as pa

from schemas.columns import IDENTITY, SHA256, column, table

IMAGES = table(
    "images",
    *IDENTITY,
    column("source_name", pa.string(), "Stable name of the source, given by the user."),
    column(
        "source_key",
        pa.string(),
        "Path below the source root, `/`-separated; `%` and undecodable bytes percent-encoded.",
    ),
    column(
        "source_ordinal",
        pa.int64(),
        "0 for the first file of this key, counting up where an archive repeats a name.",
    ),
    column("source_uri", pa.string(), "Where the bytes were read from."),
    column(
        "source_offset", pa.int64(), "First byte below `source_uri`; null for a file.", unit="bytes"
    ),
    column("source_length", pa.int64(), "Bytes at the offset; null for a file.", unit="bytes"),
    column(
        "content_sha256", SHA256, "SHA-256 of the file's bytes; null where it could not be read."
    ),
    column("num_bytes", pa.int64(), "Size of the file; null where unreadable.", unit="bytes"),
    column("alt_text", pa.string(), "Text that came with the image, as found; null without."),
    column("license", pa.string(), "Licence that the source states, as found; null without."),
    column("metadata", pa.string(), "Further facts that came with the image, as a JSON object."),
    column("source_error", pa.string(), "`code: text` where the file could not be taken in."),
    column(
        "image_bytes",
        pa.binary(),
        "The original file, untouched; null where unreadable, forgotten or stored by reference.",
    ),
)
"""One row for each listed file, in list order."""
