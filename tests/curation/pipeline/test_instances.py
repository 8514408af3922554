"""Names are bound, or refused in a sentence that says how to bind them."""

from typing import Any

import pyarrow as pa
import pytest

from curation.config import Config
from curation.errors import ConfigError
from curation.pipeline.config import PipelineConfig, RunSettings
from curation.pipeline.instances import resolve
from curation.pipeline.stage import Stage
from schemas.columns import column, table
from tests.fakes import STAGES
from tests.fakes.stages import MiddleStage


class ChainStage(Stage[Config]):
    """Reads another instance of itself."""

    name = "chain"
    config_type = Config

    def reads(self):
        return ("chain.value",)

    def writes(self):
        return table(
            "chain", column("value", pa.int32(), "A number."), column("error", pa.string(), "Why.")
        )

    def process(self, shard):
        raise NotImplementedError


class NosyStage(ChainStage):
    """Reads a relation, which no row-local stage may."""

    name = "nosy"

    def reads(self):
        return ("twins.group",)


class LostStage(ChainStage):
    """Reads a column that nobody writes."""

    name = "lost"

    def reads(self):
        return ("luma.median",)


class ReadyMiddleStage(MiddleStage):
    """A fitted stage whose backend brings what the fit would find."""

    name = "ready"

    def needs_fit(self):
        return False

    def fit_reads(self):
        raise AssertionError("nothing is fitted")


class BytesStage(ChainStage):
    """Writes a column called `bytes`."""

    name = "count"

    def reads(self):
        return ()

    def writes(self):
        return table(
            "count",
            column("bytes", pa.int32(), "A number."),
            column("a_error", pa.string(), "A number."),
            column("error", pa.string(), "Why."),
        )


REGISTRY: dict[str, Any] = {
    **STAGES,
    "chain": ChainStage,
    "nosy": NosyStage,
    "lost": LostStage,
    "count": BytesStage,
    "ready": ReadyMiddleStage,
}


def configure(stages, find_pin=lambda fit_key: None):
    config = PipelineConfig(name="p", dataset="d", stages=stages)
    return {instance.name: instance for instance in resolve(config, REGISTRY, find_pin)}


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ({"lumma": {}}, "stages.lumma: unknown stage 'lumma' (did you mean luma?)"),
        (
            {"mine": {"stage": "qqq"}},
            "stages.mine: unknown stage 'qqq'; known: " + ", ".join(sorted(REGISTRY)),
        ),
        ({"mine": {"stage": 7}}, "stages.mine: unknown stage 7; known: "),
        (
            {"luma": {"size_x": 3}},
            "stages.luma.size_x: unknown key (did you mean size_px?)",
        ),
        (
            {"luma": {"run": {"gpu": 1}}},
            "stages.luma.run.gpu: unknown key (did you mean gpus?)",
        ),
        (
            {"luma": {"run": {"gpus": -1}}},
            "stages.luma.run.gpus: Input should be greater than or equal to 0, found -1 (int)",
        ),
        (
            {"Luma": {"stage": "luma"}},
            "stages.Luma: an instance name has lower-case letters, digits and '_' only",
        ),
        (
            {"images": {"stage": "luma"}},
            "stages.images: images is a folder of every dataset; choose another name",
        ),
        (
            {"runs": {"stage": "luma"}},
            "stages.runs: runs is a folder of every dataset; choose another name",
        ),
        (
            {"double": {}},
            "stages.double: it reads luma, which is not in the pipeline; add `luma: {}`",
        ),
        (
            {"a": {"stage": "luma"}, "b": {"stage": "luma"}, "double": {}},
            "stages.double: luma could be a or b; say `inputs: {luma: a}`",
        ),
        (
            {"luma": {}, "double": {"inputs": {"luma": "lumma"}}},
            "stages.double.inputs.luma: 'lumma' is no instance of luma (did you mean luma?)",
        ),
        (
            {"luma": {}, "bad": {}, "double": {"inputs": {"luma": "bad"}}},
            "stages.double.inputs.luma: 'bad' is no instance of luma (did you mean bad?)",
        ),
        (
            {"luma": {}, "double": {"inputs": {"lumma": "luma"}}},
            "stages.double.inputs: it does not read 'lumma' (did you mean luma?)",
        ),
        (
            {"luma": {}, "double": {"inputs": ["luma"]}},
            "stages.double.inputs: expected STAGE: INSTANCE pairs, found ['luma']",
        ),
        (
            {"luma": {}, "lost": {}},
            "stages.lost: reads luma.median, but luma, as configured, writes no median",
        ),
        (
            {"twins": {}, "nosy": {}},
            (
                "stages.nosy: reads twins.group, but twins answers for the whole dataset and "
                "changes with every new shard; only snapshots may read it"
            ),
        ),
        (
            {
                "a": {"stage": "chain", "inputs": {"chain": "b"}},
                "b": {"stage": "chain", "inputs": {"chain": "a"}},
                "luma": {},
            },
            "stages: a, b read each other in a circle",
        ),
        ({"chain": {}}, "stages: chain read each other in a circle"),
        (
            {"num": {"stage": "count"}},
            "stages.num: its column num_bytes is also written by images; rename the instance",
        ),
        (
            {"x": {"stage": "count"}, "x_a": {"stage": "luma"}},
            "stages.x_a: its column x_a_error is also written by x; rename the instance",
        ),
        (
            {"luma": {"artifact": "0123"}},
            "stages.luma.artifact: only a fitted stage takes one, as the digest of a fit",
        ),
        (
            {"luma": {}, "middle": {"artifact": 7}},
            "stages.middle.artifact: only a fitted stage takes one, as the digest of a fit",
        ),
    ],
)
def test_a_wrong_pipeline_is_refused(stages, sentence):
    """The sentence names the place in the file, and the way out."""
    with pytest.raises(ConfigError) as caught:
        configure(stages)

    assert str(caught.value).startswith(sentence)
    assert caught.value.exit_code == 2


def test_an_input_binds_to_the_only_instance():
    """Where there is one, nothing need be said; it may stand later in the file."""
    found = configure({"double": {}, "bright": {"stage": "luma"}})

    assert list(found) == ["bright", "double"]
    assert found["double"].inputs == {"luma": "bright"}
    assert found["double"].source_of("luma.mean") == ("bright", "bright_mean")
    assert found["bright"].source_of("images.source_key") == ("images", "source_key")


def test_inputs_choose_among_several():
    """Two instances of a stage have two folders, and a reader says which it means."""
    found = configure(
        {
            "small": {"stage": "luma", "size_px": 8},
            "large": {"stage": "luma", "size_px": 32},
            "double": {"inputs": {"luma": "large"}},
            "twice": {"stage": "double", "inputs": {"luma": "small"}},
        }
    )

    assert len({instance.fingerprint for instance in found.values()}) == 4
    assert found["double"].inputs == {"luma": "large"}
    assert found["twice"].disk_schema().names == [
        "shard",
        "row",
        "image_id",
        "twice_value",
        "twice_error",
    ]


def test_two_names_for_the_same_are_the_same_meaning():
    """Two instances that are configured alike differ in their names only."""
    found = configure({"one": {"stage": "luma"}, "two": {"stage": "luma"}})

    assert found["one"].fingerprint == found["two"].fingerprint


def test_an_empty_section_is_the_default():
    """`luma:` and `luma: {}` are one."""
    assert configure({"luma": None}) == configure({"luma": {}})


def test_run_settings_are_kept_apart():
    """How a stage runs is checked and kept, and is no part of its configuration."""
    found = configure({"luma": {"run": {"cpus": 2, "row_timeout_s": 5}}})

    assert found["luma"].run == RunSettings(cpus=2, row_timeout_s=5)
    assert found["luma"].config == configure({"luma": {}})["luma"].config


@pytest.mark.parametrize(
    "key", [{"replicas": 2}, {"shards_in_flight": 2}, {"runtime_env": {"a": 1}}]
)
def test_settings_of_a_pool_are_refused_where_there_is_none(key):
    """They would do nothing; a part of a GPU gives an instance workers of its own."""
    with pytest.raises(ConfigError, match=rf"^stages\.luma\.run\.{next(iter(key))}: .*CPU pool"):
        configure({"luma": {"run": key}})
    assert configure({"luma": {"run": {"gpus": 0.5, **key}}})["luma"].resources.own_pool
    assert configure({"engine": {"run": key}})["engine"].resources.own_pool


def test_before_its_fit_a_stage_has_a_key_but_is_not_ready():
    """The fit's place is known, and nothing behind it is."""
    found = configure({"luma": {}, "middle": {}})

    assert found["luma"].is_ready
    assert not found["middle"].is_ready
    assert found["middle"].artifact is None
    assert found["middle"].fingerprint == found["middle"].meaning.fit_key()


def test_after_its_fit_a_stage_is_ready():
    """The pinned artefact enters the fingerprint, never the fit key."""
    before = configure({"luma": {}, "middle": {}})["middle"]

    after = configure({"luma": {}, "middle": {}}, find_pin=lambda key: f"digest of {key}")["middle"]

    assert after.is_ready
    assert after.artifact == f"digest of {before.meaning.fit_key()}"
    assert after.meaning.fit_key() == before.meaning.fit_key()
    assert after.fingerprint != before.fingerprint


def test_a_stage_that_brings_its_model_waits_for_no_fit():
    """No pin is looked for, and what reads it has a meaning at once."""
    asked: list[str] = []

    found = configure({"luma": {}, "ready": {}}, find_pin=asked.append)

    assert found["ready"].is_ready
    assert not found["ready"].is_fitted
    assert (found["ready"].meaning.artifact, asked) == (None, [])


def test_an_artefact_for_a_stage_that_brings_its_model_is_refused():
    """It would be ignored, which is worse."""
    with pytest.raises(
        ConfigError, match=r"stages\.ready\.artifact: only a fitted stage takes one"
    ):
        configure({"luma": {}, "ready": {"artifact": "abc"}})


def test_a_stage_knows_what_its_columns_mean():
    """Weights made for some vectors can refuse others of the same length."""
    found = configure({"luma": {}, "double": {}})["double"]

    assert found.make().read_meanings == found.meaning.reads


def test_a_named_artefact_overrides_the_pin():
    """A pipeline may state which fit it wants."""
    found = configure({"luma": {}, "middle": {"artifact": "abc"}}, find_pin=lambda key: "pinned")

    assert found["middle"].artifact == "abc"
    assert found["middle"].is_ready


def test_lineage_says_where_columns_came_from():
    """`stage.json` names instances, for people; meanings, for machines."""
    found = configure({"bright": {"stage": "luma"}, "double": {"factor": 3}})

    lineage = found["double"].lineage()

    assert lineage["config"] == {"factor": 3}
    assert lineage["fingerprint"] == found["double"].fingerprint
    assert lineage["reads"] == {
        "luma.mean": {
            "column": "bright.bright_mean",
            "meaning": found["bright"].meaning.column("mean"),
        }
    }
