"""What `encode` writes: what a model is trained on, in place of pictures and words."""

import pyarrow as pa

from schemas.columns import column, table

DIGEST_BYTES = 16
"""Of SHA-256 of a text's UTF-8."""

TEXT = pa.struct([("digest", pa.binary(DIGEST_BYTES)), ("tokens", pa.int32())])
"""A text by its digest, and how many tokens its features have."""


def encode_table(*, latents: bool, mirrored: bool, texts: bool) -> pa.Schema:
    """Return the columns of `encode`.

    Args:
        latents: Whether pictures are encoded.
        mirrored: Whether mirrored ones are encoded too.
        texts: Whether captions are encoded.
    """
    columns = []
    if latents:
        columns += [
            column(
                "latent",
                pa.large_binary(),
                "The latent (channels, height, width), first index slowest, little-endian, in the "
                "precision that the stage states. Null where there is an error.",
                bulk=True,
            ),
            column("latent_height", pa.int32(), "Rows of the latent.", unit="latent px"),
            column("latent_width", pa.int32(), "Columns of the latent.", unit="latent px"),
        ]
    if mirrored:
        columns.append(
            column(
                "mirrored",
                pa.large_binary(),
                "The latent of the mirrored picture, stored as `latent`.",
                bulk=True,
            )
        )
    if texts:
        columns += [
            column(
                "texts",
                pa.list_(pa.field("element", TEXT)),
                "The texts that are encoded: the empty one first, shown where a caption is "
                "dropped; then the image's captions, each once. Null where there is an error.",
            ),
            column(
                "features",
                pa.list_(pa.field("element", pa.large_binary())),
                "For each of `texts` its features (tokens, width), unpadded, stored as `latent`.",
                bulk=True,
            ),
        ]
    error = column(
        "error",
        pa.string(),
        "`code: text` where nothing is encoded; `not_selected` for rows outside of `where`.",
    )
    return table("encode", *columns, error)
