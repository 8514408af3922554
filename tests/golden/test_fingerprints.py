"""Fingerprints, frozen; and the table of what invalidates what, and nothing else."""

import dataclasses
from typing import Any

import pytest

from curation import pixels
from curation.config import Config
from curation.pipeline import instances as instances_module
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import resolve
from curation.pipeline.stage import Stage
from schemas.columns import IDENTITY, column, table
from schemas.images import IMAGES
from tests.fakes import STAGES
from tests.fakes.stages import LumaStage, MiddleStage
from tests.golden.golden_files import check_json


class Plain:
    """A backend."""

    version = 1


class PlainTwo:
    """The same backend, changed."""

    version = 2


class GradeConfig(Config):
    """Settings of `grade`."""

    grader: str = "plain"


class GradeStage(Stage[GradeConfig]):
    """A stage with backends and weights, which reads two columns of two stages."""

    name = "grade"
    config_type = GradeConfig
    backend_key = "grader"
    backends = {"plain": Plain, "other": Plain}
    default_backend = "plain"
    content = "weights of today"

    def reads(self):
        return ("double.value", "images.num_bytes")

    def writes(self):
        return table("grade", column("grade", IDENTITY[0].type, "A grade."))

    def digests(self):
        return {"weights": self.content}

    def process(self, shard):
        raise NotImplementedError


REGISTRY: dict[str, Any] = {**STAGES, "grade": GradeStage}
STAGES_IN_USE: dict[str, dict[str, Any]] = {
    "luma": {},
    "double": {},
    "heavy": {},
    "bad": {},
    "echo": {},
    "middle": {},
    "twins": {},
    "grade": {},
}
ALL = set(STAGES_IN_USE)
BEHIND_LUMA = {"luma", "double", "heavy", "middle", "grade"}


def configure(stages=None, registry=REGISTRY, artifact="artefact of today", **pipeline):
    """Return instance name -> meaning, as if every fit had given `artifact`."""
    changed = stages or {}
    stages = {**changed, **{n: s for n, s in STAGES_IN_USE.items() if n not in changed}}
    config = PipelineConfig(**{"name": "p", "dataset": "d", "stages": stages, **pipeline})
    return {i.name: i.meaning for i in resolve(config, registry, lambda fit_key: artifact)}


def fingerprints(meanings):
    return {name: meaning.fingerprint() for name, meaning in meanings.items()}


def with_columns(stage, *columns):
    """Return the registry with another version of `stage` that writes these columns."""
    return with_attributes(stage, writes=lambda self: table(stage, *columns))


def with_attributes(stage, **attributes):
    """Return the registry with another version of `stage`."""
    return {**REGISTRY, stage: type("Changed", (REGISTRY[stage],), attributes)}


MEAN, ERROR = LumaStage(LumaStage.config_type()).writes()
NEW = column("new", MEAN.type, "A column that was added.")
BUMPED = column("mean", MEAN.type, "The same, measured otherwise.", version=2)
BUMPED_ERROR = column("error", ERROR.type, "The same, worded otherwise.", version=2)

CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, set()),
    "configuration of luma": ({"stages": {"luma": {"size_px": 8}}}, BEHIND_LUMA),
    "background of luma's views": (
        {"stages": {"luma": {"background": [0, 0, 0]}}},
        BEHIND_LUMA,
    ),
    "configuration of double": ({"stages": {"double": {"factor": 5}}}, {"double", "grade"}),
    "configuration of bad": ({"stages": {"bad": {"key": "x"}}}, {"bad", "echo"}),
    "configuration of a fitted stage": ({"stages": {"middle": {"seed": 1}}}, {"middle"}),
    "a default spelled out": (
        {"stages": {"luma": {"size_px": 16}, "double": {"factor": 2}}},
        set(),
    ),
    "run settings of an instance": (
        {
            "stages": {
                "luma": {
                    "run": {
                        "cpus": 4,
                        "gpus": 1,
                        "memory_bytes": 1 << 30,
                        "replicas": [2, 9],
                        "row_timeout_s": 5,
                    }
                }
            }
        },
        set(),
    ),
    "run settings of the pipeline": (
        {
            "run": {
                "workers": 3,
                "worker_cpus": 2,
                "memory_bytes": 2 << 30,
                "row_timeout_s": 9,
                "max_shard_rows": 7,
            }
        },
        set(),
    ),
    "another place": ({"dataset": "s3://bucket/elsewhere"}, set()),
    "another name": ({"name": "q"}, set()),
    "another source": ({"source": {"name": "other", "roots": ["/elsewhere"]}}, set()),
    "another snapshot": ({"snapshot": {"where": {"any": "TRUE"}}}, set()),
    "another order": (
        {"stages": dict(reversed(STAGES_IN_USE.items()))},
        set(),
    ),
    "a bumped column": ({"registry": with_columns("luma", BUMPED, ERROR)}, BEHIND_LUMA),
    "a bumped column that nobody reads": (
        {"registry": with_columns("luma", MEAN, BUMPED_ERROR)},
        {"luma"},
    ),
    "a new column": ({"registry": with_columns("luma", MEAN, ERROR, NEW)}, {"luma"}),
    "columns in another order": ({"registry": with_columns("luma", ERROR, MEAN)}, set()),
    "words about a column": (
        {"registry": with_columns("luma", column("mean", MEAN.type, "Said otherwise."), ERROR)},
        set(),
    ),
    "a new artefact": ({"artifact": "artefact of tomorrow"}, {"middle"}),
    "a named artefact": ({"stages": {"middle": {"artifact": "mine"}}}, {"middle"}),
    "another backend": ({"stages": {"grade": {"grader": "other"}}}, {"grade"}),
    "a backend's version": (
        {"registry": with_attributes("grade", backends={"plain": PlainTwo})},
        {"grade"},
    ),
    "weights": ({"registry": with_attributes("grade", content="others")}, {"grade"}),
}


def test_fingerprints_are_on_record():
    """A change here makes every user compute everything anew: is it meant?"""
    check_json("fingerprints.json", fingerprints(configure()))


def test_the_content_of_a_meaning_is_on_record():
    """What a fingerprint is made of."""
    meanings = {name: dataclasses.asdict(m) for name, m in configure().items()}
    for meaning in meanings.values():
        del meaning["unfitted"]  # says what to leave out of another key

    check_json("meanings.json", {name: meanings[name] for name in ("luma", "middle", "grade")})


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_invalidates_just_this(change):
    """Exactly the stages on the right of the table get another fingerprint."""
    options, expected = CHANGES[change]
    before, after = fingerprints(configure()), fingerprints(configure(**options))

    assert {name for name in ALL if before[name] != after[name]} == expected


def test_pixels_version_reaches_what_looks_at_images(monkeypatch):
    """Who sees other views, and who reads them, computes anew; the rest does not."""
    before = fingerprints(configure())
    monkeypatch.setattr(pixels, "VERSION", pixels.VERSION + 1)
    after = fingerprints(configure())

    assert {name for name in ALL if before[name] != after[name]} == BEHIND_LUMA


def test_a_column_of_ingest_reaches_its_readers(monkeypatch):
    """`bad` and its reader, since `bad` reads the key; nobody else."""
    before = fingerprints(configure())
    index = IMAGES.get_field_index("source_key")
    bumped = column("source_key", IMAGES.field("source_key").type, "The key.", version=2)
    monkeypatch.setattr(instances_module, "IMAGES", IMAGES.set(index, bumped))
    after = fingerprints(configure())

    assert {name for name in ALL if before[name] != after[name]} == {"bad", "echo"}


def test_an_instance_called_otherwise_means_the_same():
    """Names are folders and prefixes; the fingerprint of the renamed and of its readers stays."""
    config = PipelineConfig(
        name="p",
        dataset="d",
        stages={
            "bright": {"stage": "luma"},
            "twofold": {"stage": "double"},
            "grade": {},
        },
    )
    renamed = {i.name: i for i in resolve(config, REGISTRY)}
    plain = fingerprints(configure())

    assert renamed["bright"].fingerprint == plain["luma"]
    assert renamed["twofold"].fingerprint == plain["double"]
    assert renamed["grade"].fingerprint == plain["grade"]
    assert renamed["grade"].inputs == {"double": "twofold"}


def test_readers_of_a_fitted_stage_follow_its_artefact():
    """A refit recomputes whoever reads the values, and leaves the fit key alone."""

    class SideStage(MiddleStage):
        name = "side"

        def reads(self):
            return ("middle.above",)

        def fit_reads(self):
            return ("middle.above",)

    registry = {**REGISTRY, "side": SideStage}
    one = configure({"side": {}}, registry, "one")
    two = configure({"side": {"artifact": "one"}}, registry, "two")

    assert one["middle"].fit_key() == two["middle"].fit_key()
    assert one["side"].artifact == two["side"].artifact == "one"
    assert one["side"].fingerprint() != two["side"].fingerprint()
