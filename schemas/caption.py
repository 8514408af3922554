"""What `caption` writes: what an image shows, in words."""

import pyarrow as pa

from schemas.columns import column, table
from schemas.training import CAPTION as CAPTION_TYPE

CAPTION_STATUSES = ("ok", "truncated", "refused", "invalid_json")
"""All went well; the text ends early; the captioner would not say; the answer is not as asked.

A fifth, `error`, is never stored: such a row has null here and the reason in `error`, as in every
stage. `coalesce(caption_status, 'error')` counts all five.
"""

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
"""One row for each image: what every captioner writes."""

CAPTION_MODEL = table(
    "caption",
    column(
        "captions",
        pa.list_(CAPTION_TYPE),
        "Captions, each with its variant, its language (BCP 47) and its text: those asked for, in "
        "their order; fewer or none unless the status is `ok`. Null where there is an error.",
    ),
    column(
        "status",
        pa.string(),
        "`ok`; `truncated` where the model reached its limit, and what was whole by then is kept; "
        "`refused` where it, or a filter, would not describe the image; `invalid_json` where the "
        "answer, or a part of it, is not as asked, and what is so is kept. Null where there is an "
        "error: `coalesce(caption_status, 'error')` counts all five.",
    ),
    column(
        "structured",
        pa.string(),
        "The structured description as a JSON object; null where none was asked for, or none came "
        "whole.",
    ),
    column(
        "prompt_tokens",
        pa.int32(),
        "Tokens of the request, image included, as the server counted them; null where it did not.",
        unit="tokens",
    ),
    column(
        "completion_tokens",
        pa.int32(),
        "Tokens of the answer, as the server counted them; null where it did not.",
        unit="tokens",
    ),
    column("model", pa.string(), "The model as the server names it; null where it does not."),
    column("revision", pa.string(), "The model's revision as the pipeline states it."),
    column("error", pa.string(), "`code: text` where no answer came of the image."),
)
"""One row for each image: what captioners with a model write."""
