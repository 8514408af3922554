"""The probers that `attributes` can use, by name."""

from stages.attributes.measured import MeasuredProber
from stages.attributes.prober import Prober
from stages.attributes.zero_shot import ZeroShotProber

PROBERS: dict[str, type[Prober]] = {"measured": MeasuredProber, "zero_shot": ZeroShotProber}
"""Name in YAML -> class."""
