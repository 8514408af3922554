"""Questions answered by texts: which of two texts is nearer to the image?"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from curation.calibration import Platt
from curation.config import nearest, read_text
from curation.errors import ConfigError, DatasetError
from curation.fingerprint import pretty_json
from curation.pipeline.stage import Stage
from curation.weights import Reference
from stages.attributes.calibration import Calibration, check_calibration, parse_calibration
from stages.attributes.prober import AttributesConfig, Prober
from stages.attributes.probes import NAME, RESERVED, Probe, shipped_probes
from training.encoders.zero_shot import check_text_tower, embed_texts

VECTOR = "embed.vector"
ROLE = "calibration"
PROBES = "probes.json"
TEXTS = "texts.npy"
_FORMAT = 1
_UNIT = 1 << 14


class ZeroShotConfig(AttributesConfig):
    """Questions answered by the text tower of the model behind `embed`.

    Attributes:
        probes: Name -> texts. A name that comes with Longtail may be left without a value; null for
            all of those. The columns written are these, in this order.
        calibration: File that `longtail calibrate` wrote; null leaves the scores as they come.
    """

    prober: Literal["zero_shot"] = "zero_shot"
    probes: dict[str, Probe] = Field(default_factory=lambda: dict(shipped_probes()), min_length=1)
    calibration: str | None = Field(default=None, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _shipped(cls, value: Any) -> Any:
        """Put the texts in where only a name is given, so that they are part of the meaning."""
        if not isinstance(value, Mapping) or not isinstance(value.get("probes"), Mapping | None):
            return value
        value = dict(value)
        shipped = shipped_probes()
        probes = value.get("probes")
        if probes is None:
            probes = dict.fromkeys(shipped)
        for name, given in probes.items():
            if given is None and name not in shipped:
                hint = nearest(str(name), list(shipped)) or f"; known: {', '.join(shipped)}"
                message = f"no texts are known for the probe {name!r}{hint}; give `positive` and "
                raise ValueError(message + "`negative` ones")
        value["probes"] = {n: shipped[n] if p is None else p for n, p in probes.items()}
        return value

    @field_validator("probes")
    @classmethod
    def _names(cls, value: dict[str, Probe]) -> dict[str, Probe]:
        for name in value:
            if not NAME.fullmatch(name) or name in RESERVED:
                message = (
                    f"{name!r} names no column: lower-case letters, digits and '_', not `error`"
                )
                raise ValueError(message)
        return value

    @field_validator("calibration")
    @classmethod
    def _reference(cls, value: str | None) -> str | None:
        return None if value is None else Reference.parse(value).text


class ZeroShotProber(Prober):
    """CLIP asked with pairs of texts: sigmoid(scale (cos(image, yes) - cos(image, no))).

    `yes` and `no` are the mean directions of a probe's texts. Without `calibration` the scale is
    the model's own, and the numbers are scores: they put images in order, as well as the model
    understands the question, but 0.5 is no border between yes and no and 0.9 is not right nine
    times of ten. `longtail calibrate` fits slope and bias of each sigmoid to labelled images
    (Platt scaling); then they are probabilities for images like those.

    The texts' vectors are an artefact, made once for a dataset where the model is; with it, workers
    need no model.

    Source: Radford et al. 2021 for the softmax over two texts; Platt 1999 for the calibration.
    """

    version = 1
    config_type = ZeroShotConfig
    reads: ClassVar[tuple[str, ...]] = (VECTOR,)
    fits_with = "embed"
    fit_ignores = frozenset({ROLE})
    is_fitted = True

    def __init__(self, config: ZeroShotConfig) -> None:
        self._config = config
        self._differences: NDArray[np.float64] = np.zeros((0, 0))
        self._scale = 1.0
        self._sigmoids: list[Platt] = []

    def questions(self) -> Mapping[str, str]:
        calibrated = "a probability where `calibration` has it, else a zero-shot score."
        return {
            name: f"How likely it is that {probe.asks}; {calibrated}"
            for name, probe in self._config.probes.items()
        }

    def weights(self) -> Mapping[str, str]:
        return {} if self._config.calibration is None else {ROLE: self._config.calibration}

    def learn(self, paths: Mapping[str, Path]) -> Mapping[str, Any]:
        if self._config.calibration is None:
            return {}
        found = parse_calibration(read_text(paths[ROLE]), self._config.calibration)
        return {ROLE: found.model_dump(mode="json")}  # workers need not have the file

    def check(self, stage: Stage[Any]) -> None:
        check_text_tower(stage.upstream["embed"])
        sigmoids_of(stage)

    def fit(self, stage: Stage[Any]) -> Mapping[str, bytes]:
        probes = self._config.probes
        groups = [texts for probe in probes.values() for texts in (probe.positive, probe.negative)]
        found = embed_texts(stage.upstream["embed"], groups)
        return make_artifact(probes, found.vectors, found.logit_scale)

    def setup(self, stage: Stage[Any]) -> None:
        assert stage.artifact is not None, "the runner fits before it asks"
        model, texts = _open_artifact(stage.artifact)
        if model["probes"] != list(self._config.probes):
            message = (
                f"the artefact answers {', '.join(model['probes'])}, the pipeline asks "
                f"{', '.join(self._config.probes)}; remove `artifact:`"
            )
            raise DatasetError(message)
        for name, probe in self._config.probes.items():
            if model.get("digests", {}).get(name) != probe.digest():
                message = (
                    f"the artefact was made from other texts of {name} than the pipeline has; "
                    "remove `artifact:`, or delete its pin"
                )
                raise DatasetError(message)
        wide = texts.astype(np.float64)
        self._differences = wide[0::2] - wide[1::2]
        self._scale = model["logit_scale"] / _UNIT
        self._sigmoids = list(sigmoids_of(stage).values())

    def answer(self, table: pa.Table) -> NDArray[np.float32]:
        column = table[VECTOR]
        chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
        flat = np.concatenate([np.zeros(0, np.float16), *chunks])
        vectors = flat.reshape(len(column), column.type.list_size).astype(np.float64)
        if vectors.shape[1] != self._differences.shape[1]:
            message = (
                f"the artefact has texts of {self._differences.shape[1]} numbers, the images' "
                f"vectors have {vectors.shape[1]}; remove `artifact:`"
            )
            raise DatasetError(message)
        # Half-precision numbers are multiples of 2^-24 and the differences whole numbers, so the
        # products are exact and it does not matter in which order, or with how many rows.
        logits = self._scale * (vectors @ self._differences.T)
        answers = [sigmoid(logits[:, n].copy()) for n, sigmoid in enumerate(self._sigmoids)]
        return np.stack(answers, axis=1).astype(np.float32)


def sigmoids_of(stage: Stage[Any]) -> dict[str, Platt]:
    """Return probe -> sigmoid of a configured `attributes`; the plain one where none was fitted.

    Raises:
        ConfigError: The calibration was made for something else.
    """
    config = stage.config
    assert isinstance(config, ZeroShotConfig)
    found = dict.fromkeys(config.probes, Platt())
    if config.calibration is None:
        return found
    calibration = Calibration.model_validate(stage.facts[ROLE])
    vector = stage.read_meanings.get(VECTOR, "")
    check_calibration(calibration, config.probes, vector, config.calibration)
    known = {n: fitted for n, fitted in calibration.probes.items() if n in config.probes}
    if not known:
        message = f"{config.calibration}: calibrates none of {', '.join(config.probes)}"
        raise ConfigError(message)
    return found | {name: Platt(fitted.slope, fitted.bias) for name, fitted in known.items()}


def make_artifact(
    probes: Mapping[str, Probe], texts: NDArray[np.float64], logit_scale: float
) -> dict[str, bytes]:
    """Return the artefact's files.

    Args:
        probes: Name -> texts.
        texts: (2 probes, dimension) unit vectors: of each probe that of yes, then that of no.
        logit_scale: Of the model.
    """
    model = {
        "format": _FORMAT,
        "kind": "zero_shot",
        "unit": _UNIT,
        "dimension": texts.shape[1],
        "logit_scale": logit_scale,
        "probes": list(probes),
        "digests": {name: probe.digest() for name, probe in probes.items()},
    }
    file = io.BytesIO()
    np.save(file, np.rint(texts * _UNIT).astype(np.int16), allow_pickle=False)
    return {PROBES: pretty_json(model), TEXTS: file.getvalue()}


def _open_artifact(artifact: Mapping[str, bytes]) -> tuple[dict[str, Any], NDArray[np.int16]]:
    if missing := sorted({PROBES, TEXTS} - set(artifact)):
        message = f"the artefact has no {missing[0]}; name one that `attributes` has made"
        raise DatasetError(message)
    model: dict[str, Any] = json.loads(artifact[PROBES])
    expected = (_FORMAT, "zero_shot", _UNIT)
    found = (model.get("format"), model.get("kind"), model.get("unit"))
    if found != expected:
        message = (
            f"the artefact's {PROBES} has format, kind and unit {found}, expected {expected}: "
            "update Longtail or make it again"
        )
        raise DatasetError(message)
    return model, np.load(io.BytesIO(artifact[TEXTS]), allow_pickle=False)
