"""Proof that a model received the image, by the tokens that its server counted.

A server may drop an image without a word: a model for text alone behind a gateway, a plug-in that
was left out, a request rewritten on its way. The words that come back look like a caption, and are
invented. So nothing is believed: an image has to have cost tokens.
"""

from curation.endpoint import Answer

PROBE_PX = 448
"""Edge of the pictures that a server is tried with; models have 64 tokens or more for that."""

_LEAST_PROBE_TOKENS = 16
"""Fewer are a mark that stands in for an image, such as `[image 1]`."""

_SLACK_TOKENS = 8
"""By which the tokens of two texts together may differ from the sum."""


class Proof:
    """What the requests with and without a picture told; then says of each answer what it shows.

    Args:
        text_tokens: Of the request with no picture.
        image_tokens: By which a picture of `PROBE_PX` squared costs more.
    """

    def __init__(self, text_tokens: int, image_tokens: int) -> None:
        self._text_tokens = text_tokens
        self._image_tokens = image_tokens

    def least_tokens(self, num_pixels: int) -> int:
        """Return how many tokens an image costs at least.

        Some models have as many for every image, others one for so many pixels. A quarter of what
        the second kind has is more than any mark in place of an image.
        """
        share = min(1.0, num_pixels / PROBE_PX**2)
        return max(1, int(self._image_tokens * share) // 4)

    def is_seen(self, answer: Answer, num_pixels: int, fact_bytes: int) -> bool | None:
        """Say whether an image was received; null where facts may account for all the tokens.

        Args:
            answer: The answer to a request with the image.
            num_pixels: Width times height, as sent.
            fact_bytes: Bytes of the text that the request has beyond that of the probe. A token
                stands for at least one.
        """
        least = self.least_tokens(num_pixels)
        if answer.image_tokens:
            return answer.image_tokens >= least
        if answer.prompt_tokens is None:
            return False
        more = answer.prompt_tokens - self._text_tokens
        if more < least:
            return False
        if not fact_bytes or more >= fact_bytes + least + _SLACK_TOKENS:
            return True
        return None

    def is_seen_beside(self, answer: Answer, without: Answer, num_pixels: int) -> bool:
        """Say whether an image was received, beside the answer to the same words without it."""
        if answer.prompt_tokens is None or without.prompt_tokens is None:
            return False
        return answer.prompt_tokens - without.prompt_tokens >= self.least_tokens(num_pixels)


def prove(without: Answer, plain: Answer, busy: Answer) -> Proof | str:
    """Return the proof of a server that shows pictures to its model; else what it does instead.

    Args:
        without: The answer to a request with no picture.
        plain: The same with a picture of one colour, which makes a small file.
        busy: The same with one that is as large and makes a larger file.
    """
    counts = [answer.prompt_tokens for answer in (without, plain, busy)]
    text, first, second = counts
    if text is None or first is None or second is None:
        return (
            "it does not count tokens (`usage`), so nothing shows that the model receives images; "
            "have it report them"
        )
    image_tokens = first - text
    if image_tokens < _LEAST_PROBE_TOKENS:
        return (
            f"an image costs {image_tokens} tokens there, so the model does not receive it: it is "
            "one for text alone, or the server drops images"
        )
    if second - first > max(_LEAST_PROBE_TOKENS, image_tokens // 4):
        return (
            f"two images of one size cost {image_tokens} and {second - text} tokens there: their "
            "files are read as text, and the model does not see them"
        )
    return Proof(text, image_tokens)
