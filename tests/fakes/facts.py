"""What a stage might have learnt of weights that are not here."""

from collections.abc import Mapping
from typing import Any

from curation.errors import ConfigError
from curation.fingerprint import digest
from curation.pipeline.stage import Stage

PLAUSIBLE: Mapping[str, Any] = {
    "dimension": 768,
    "size_px": 224,
    "resize_mode": "squash",
    "interpolation": "bicubic",
    "architecture": digest("architecture"),
    "channels": 128,
    "stride": 16,
    "width": 3072,
}
"""Beside the digests, the facts by which the stages of the registry plan; one may use any of them.

Whoever makes a stage learn something else, and reads it before `setup`, adds it here.
"""


def plausible_facts(name: str, stage: Stage[Any]) -> Mapping[str, Any]:
    """Find facts for `resolve`: what the stage learns, or what it might where its weights are not.

    The digest of weights is made of their role.
    """
    try:
        return stage.learn()
    except ConfigError:
        return {"weights": {role: digest(role) for role in stage.weights()}, **PLAUSIBLE}
