"""What ERNIE-Image-Aes is asked, and which words of its answer count.

The wording is part of the weights: the model was tuned on exactly this, blanks and all.

Source: ArtiMuse, thunderbolt215/ArtiMuse, `InternVLChatModel.score` in modeling_artimuse.py, and
    the conversation template `internvl2_5` of OpenGVLab/InternVL. ERNIE-Image-Aes is the same
    architecture, tuned on other scores; its card says to load it as ArtiMuse.
"""

import string
from collections.abc import Sequence
from typing import Any

from curation.errors import ConfigError
from curation.fingerprint import digest

TEMPLATE = "internvl2_5"
"""The conversation template that the checkpoint's config.json must name."""

IMAGE_START, IMAGE_CONTEXT, IMAGE_END = "<img>", "<IMG_CONTEXT>", "</img>"

SYSTEM_MESSAGE = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的"  # noqa: RUF001
    "多模态大语言模型。"
)
"""What the template says where config.json has no `system_message`."""

QUESTION = (
    "\n"
    "        Rate the aesthetics score of the image in 0-100. \n"
    "        In the output format, numbers are replaced by 2 corresponding letters, \n"
    "        and the mapping relationship is: \n"
    "        score 0 to 25: 0-aa, 1-ab, 2-ac, 3-ad, ... , 25-az,\n"
    "        score 26 to 50: 26-ca, 27-cb, 28-cc, 29-cd, ..., 50-cy,\n"
    "        score 51 to 75: 51-da, 52-db, 53-dc, 54-dd, ..., 75-dy,\n"
    "        score 76 to 100: 76-ea, 77-eb, 78-ec, 79-ed, ..., 100-ey.\n"
    "\n"
    "        The answer only outputs 2 corresponding letters.\n"
    "        "
)
"""The question as published, its blanks included."""

WORDS = tuple(
    first + second
    for first, count in (("a", 26), ("c", 25), ("d", 25), ("e", 25))
    for second in string.ascii_lowercase[:count]
)
"""The answers, in order: the word at position n says the score n, from 0 to 100."""

PROMPT_DIGEST = digest({"system": SYSTEM_MESSAGE, "question": QUESTION, "words": list(WORDS)})


def prompt(system_message: str, num_image_tokens: int) -> str:
    """Return the text before the answer, with room for one image.

    Args:
        system_message: Of the checkpoint, or `SYSTEM_MESSAGE`.
        num_image_tokens: Vectors that the model makes of an image.
    """
    image = IMAGE_START + IMAGE_CONTEXT * num_image_tokens + IMAGE_END
    return (
        f"<|im_start|>system\n{system_message}<|im_end|>\n"
        f"<|im_start|>user\n{image}\n{QUESTION}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def word_ids(tokenizer: Any, where: str) -> list[int]:
    """Return the token of each of `WORDS`.

    Args:
        tokenizer: Of transformers.
        where: The weights, for the error.

    Raises:
        ConfigError: A word is not exactly one token of its own, so that this cannot be a tokenizer
            of the model.
    """
    ids: list[int] = []
    for word in WORDS:
        found: Sequence[int] = tokenizer.encode(word, add_special_tokens=False)
        if len(found) != 1:
            message = (
                f"{where}: its tokenizer makes {len(found)} tokens of {word!r}; each of the "
                f"{len(WORDS)} score words from {WORDS[0]!r} to {WORDS[-1]!r} must be exactly one; "
                "name the folder of ERNIE-Image-Aes or ArtiMuse as released"
            )
            raise ConfigError(message)
        ids.append(int(found[0]))
    if len(set(ids)) != len(ids):
        message = (
            f"{where}: its tokenizer gives two score words the same token; name the released one"
        )
        raise ConfigError(message)
    return ids
