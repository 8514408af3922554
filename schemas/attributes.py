"""What `attributes` writes: for each question that it asks of an image, how likely yes is."""

from collections.abc import Mapping

import pyarrow as pa

from schemas.columns import column, table


def attributes_table(questions: Mapping[str, str]) -> pa.Schema:
    """Return the columns of `attributes`.

    Args:
        questions: Name of a probe -> what its column says, as a sentence.
    """
    return table(
        "attributes",
        *(
            column(name, pa.float32(), f"{text} Null where there is an error.", unit="0..1")
            for name, text in questions.items()
        ),
        column("error", pa.string(), "`code: text` where nothing could be asked of the image."),
    )
