"""The `sample:` section of a snapshot."""

from pydantic import Field

from curation.config import Config


class SampleConfig(Config):
    """How many images are drawn, and what makes one likelier than another.

    Attributes:
        size: Draws in all; an image drawn three times counts three times.
        category_exponent: Alpha in `weight(c) = n_c ** alpha * exp(gamma * z_c)`. 1 keeps the
            corpus' own proportions, 0 gives sibling categories equal shares, 0.5 lies between.
        aesthetic_exponent: Gamma: a category whose mean score is one standard deviation above that
            of its siblings weighs `exp(gamma)` times as much. 0 looks at sizes only.
        temperature: T in `p(i) ~ exp((s_i - mean) / T)` within a category, in points of the score
            (0..100): T points more make an image e times as likely. Large is uniform.
        repeat_cap: How often one image may be drawn.
        seed: Another seed gives an independent draw.
    """

    size: int = Field(ge=1)
    category_exponent: float = Field(default=0.5, ge=0, le=1)
    aesthetic_exponent: float = Field(default=0.25, ge=0, le=10)
    temperature: float = Field(default=10.0, ge=0.001, le=1e6)
    repeat_cap: int = Field(default=4, ge=1, le=1000)
    seed: int = Field(default=0, ge=0, lt=2**63)
