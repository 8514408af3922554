"""What `ocr` writes: the text that stands in an image, and where."""

import pyarrow as pa

from schemas.columns import column, table

BOX = pa.struct(
    [
        ("text", pa.string()),
        ("score", pa.float32()),
        ("quad", pa.list_(pa.float32())),
    ]
)
"""One line of text: its words, the reader's confidence 0..1, and its corners x, y, x, y, ... as
shares of width and height, clockwise from where reading begins."""

OCR = table(
    "ocr",
    column(
        "text",
        pa.string(),
        "The lines in reading order, one below the other; empty where there is no text. Null where "
        "there is an error.",
    ),
    column("num_lines", pa.int32(), "Lines that were read."),
    column(
        "confidence",
        pa.float32(),
        "Mean confidence of the lines; null where there are none.",
        unit="0..1",
    ),
    column(
        "text_area",
        pa.float32(),
        "Share of the picture that the lines' boxes cover, overlaps counted once.",
        unit="0..1",
    ),
    column("boxes", pa.list_(BOX), "The lines: text, score and corners, in reading order."),
    column(
        "gated",
        pa.bool_(),
        "Whether the gate found nothing like text, so that the picture was not read.",
    ),
    column("error", pa.string(), "`code: text` where the image was not read."),
)
"""One row for each image."""
