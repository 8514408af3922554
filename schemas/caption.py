"""What `caption` writes: what an image shows, in words."""

import pyarrow as pa

from schemas.columns import column, table
from schemas.training import CAPTION as CAPTION_TYPE

CAPTION_STATUSES = ("ok", "truncated", "refused")
"""All went well; the text ends early; the captioner would not say, and there are no captions."""

CAPTION = table(
    "caption",
    column(
        "captions",
        pa.list_(CAPTION_TYPE),
        "Captions, each with its variant (`tags`, `short`, `long`), its language (BCP 47) and its "
        "text; one for each variant asked for. Null where there is an error.",
    ),
    column(
        "status",
        pa.string(),
        "`ok`; `truncated` where the captioner reached its limit; `refused` where it would not "
        "describe the image. Null where there is an error.",
    ),
    column("error", pa.string(), "`code: text` where the image has no captions."),
)
"""One row for each image."""
