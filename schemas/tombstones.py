"""Tombstones: images that must never be used again."""

import pyarrow as pa

from schemas.columns import SHA256, UUID, column, table

TOMBSTONES = table(
    "tombstones",
    column(
        "image_id",
        UUID,
        "The image at one place that is forbidden; null where its content is, everywhere.",
        logical="uuid",
    ),
    column(
        "content_sha256",
        SHA256,
        "The content that is forbidden wherever it turns up; null where only one place is.",
    ),
    column("reason", pa.string(), "Why, in the words of whoever asked."),
    column("source", pa.string(), "Where the request came from, for example a ticket."),
)
"""A row of any table is forbidden by one tombstone that names its id or its content."""
