"""Which of two images of a snapshot is preferred for a prompt."""

import pyarrow as pa

from schemas.columns import UUID, column, table

PREFERENCES = table(
    "preferences",
    column(
        "pair_id",
        UUID,
        "As stated, or the hash of prompt, winner and loser. Only one kept row has it.",
        logical="uuid",
    ),
    column("prompt", pa.string(), "Null once an image of the pair is forgotten."),
    column("winner_image_id", UUID, "The image that is preferred.", logical="uuid"),
    column("loser_image_id", UUID, "The other one.", logical="uuid"),
    column("source", pa.string(), "Who or what prefers it; null where nobody said."),
    column(
        "margin",
        pa.float64(),
        "By how much, in a unit of the source's; null where nobody said. It scales no loss.",
        unit=">= 0",
    ),
    column("kept", pa.bool_(), "Whether the pair is in the snapshot."),
    column(
        "reason",
        pa.string(),
        "Why the pair is out, the first that applies: `no_prompt`, `same_image`, "
        "`winner_not_kept`, `loser_not_kept`, `no_size`, `bucket_mismatch`, `split_mismatch`, "
        "`contradiction`, `duplicate` or `seen_in_train`. Null for a kept pair.",
    ),
    column(
        "split",
        pa.string(),
        "`train` or `validation`, drawn from the prompt; null without a prompt.",
    ),
)
"""One row for each pair that was given to the snapshot, by pair_id. An image that was listed and
never taken in has a null id; such a pair is out."""

REFERENCE_ERRORS = table(
    "reference_errors",
    column("pair_id", UUID, "The pair.", logical="uuid"),
    column("epoch", pa.int64(), "The visit that noise and its level were drawn for."),
    column("sigma", pa.float32(), "The noise level of both images.", unit="0..1"),
    column("e_ref_win", pa.float32(), "Mean squared error of the velocity of the winner."),
    column("e_ref_lose", pa.float32(), "Likewise of the loser."),
    column("numel", pa.int64(), "Elements of a latent, which the means are over."),
)
"""What a reference model makes of a split's pairs in one epoch, by pair_id."""
