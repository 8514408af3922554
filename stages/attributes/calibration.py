"""Calibrations of probes: what makes their scores probabilities, for one model and its texts."""

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from curation.config import Config, validate
from curation.errors import ConfigError
from stages.attributes.probes import Probe


class ProbeCalibration(Config):
    """The sigmoid of one probe.

    Attributes:
        texts: Digest of the probe's texts.
        slope: By which its logit is multiplied.
        bias: What is then added.
        positives: Labelled images for which the answer was yes, for people.
        negatives: Those for which it was no.
    """

    texts: str
    slope: float = Field(gt=0)
    bias: float
    positives: int = Field(ge=0)
    negatives: int = Field(ge=0)


class Calibration(Config):
    """What `longtail calibrate` writes.

    Attributes:
        format: 1.
        vector: Meaning of the vectors that it was made with.
        probes: Probe -> its sigmoid.
    """

    format: Literal[1] = 1
    vector: str
    probes: dict[str, ProbeCalibration]


def parse_calibration(text: str, where: str) -> Calibration:
    """Check a calibration; `where` names its file in errors.

    Raises:
        ConfigError: It is none.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        message = f"{where}: is no calibration; `longtail calibrate --out` writes one"
        raise ConfigError(message)
    return validate(Calibration, value, where)


def check_calibration(
    calibration: Calibration, probes: Mapping[str, Probe], vector: str, where: str
) -> None:
    """Refuse a calibration that was made for other vectors or texts.

    Args:
        calibration: What was read.
        probes: The configured probes.
        vector: Meaning of the vectors that are read here; empty where it is not known yet.
        where: How to call the file.

    Raises:
        ConfigError: Says what differs, and what to do.
    """
    if vector and calibration.vector != vector:
        message = (
            f"{where}: was made for vectors of another `embed`; leave `calibration` out, run the "
            "pipeline, and run `longtail calibrate` again"
        )
        raise ConfigError(message)
    for name, probe in probes.items():
        if name in calibration.probes and calibration.probes[name].texts != probe.digest():
            message = (
                f"{where}: {name} had other texts when it was calibrated; leave `calibration` "
                "out, run the pipeline, and run `longtail calibrate` again"
            )
            raise ConfigError(message)
