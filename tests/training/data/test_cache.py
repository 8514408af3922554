"""Training from what the stage `encode` made, against encoding on the fly."""

import itertools
import json
import shutil
from typing import Any

import pyarrow as pa
import pytest
import torch
import yaml
from click.testing import CliRunner

from curation.cli import longtail
from curation.dataset import Dataset
from curation.errors import ResourceError, SnapshotError, UsageError
from curation.forget import Request, erase, find
from curation.sql import open_tables
from curation.storage import Store
from curation.tables import read_table, write_table
from jobs.sessions import open_session
from jobs.snapshot import create_snapshot
from stages.registry import STAGES
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.tiny_encoders import save_tiny_ministral, save_tiny_vae
from training.data.cache_columns import CachedColumns
from training.data.plan import Cursor
from training.encoders.latents import BlockDctCodec
from training.encoders.texts import HashedTokensEncoder
from training.journal import read_journal
from training.recipe import parse_recipe
from training.run import Run, train

CPU = torch.device("cpu")
EXACT = {"edge_px": 32, "latent_precision": "fp32", "text_precision": "fp32"}
DATA = {"edge_px": 32, "batch": {"size": 6}, "micro_size": 4}


class Curated:
    """A copy of the corpus that more stages can be run on."""

    def __init__(self, corpus, folder):
        self.dataset = folder / "dataset"
        self.file = folder / "pipeline.yaml"
        self.pipeline = yaml.safe_load(corpus.read_text())
        self.pipeline["dataset"] = str(self.dataset)
        shutil.copytree(corpus.parent / "dataset", self.dataset)

    def run(self, **stages):
        """Add stages, or change them, and run the pipeline."""
        self.pipeline["stages"] |= stages
        self.file.write_text(yaml.safe_dump(self.pipeline), encoding="utf-8")
        summary = open_session(self.file).run(InlineRunner, runner_name="inline")
        assert summary.complete, summary.lines()

    def folders(self, instance="encode"):
        """Return the folders of an instance, the oldest first."""
        found = (self.dataset / instance).iterdir()
        return sorted(found, key=lambda path: (path / "stage.json").stat().st_mtime_ns)


@pytest.fixture
def curated(corpus, tmp_path):
    return Curated(corpus, tmp_path)


@pytest.fixture
def parsed(recipe, curated):
    """Return what parses a recipe for the copy; `data` is merged with what all have."""

    def make(data=None, **changes):
        value = {"dataset": str(curated.dataset), "data": {**DATA, **(data or {})}, **changes}
        return parse_recipe(recipe(**value), "toy.yaml")

    return make


def losses(recipe, output):
    """Train and return every loss and held-out loss."""
    changed = recipe.model_copy(update={"output": str(output)})
    train(changed, device=CPU)
    lines = read_journal(output)
    wanted = ("model/loss", "held_out/loss", "model/grad_norm")
    return [[line[name] for name in wanted if name in line] for line in lines]


def batches(run, count=8):
    """Return all tensors of the first global batches."""
    found = itertools.islice(run.source(run.table).batches(Cursor()), count)
    return [
        (batch.latent_BCHW, batch.text_BTD, batch.text_lens_B, batch.null_TD)
        for given in found
        for batch in given.micro
    ]


def assert_equal(first, second):
    for some, others in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def forbid_encoders(monkeypatch):
    """Fail where an embedded encoder is asked for anything."""

    def fail(self, *args, **kwargs):
        pytest.fail("an encoder was asked")

    monkeypatch.setattr(BlockDctCodec, "encode", fail)
    monkeypatch.setattr(HashedTokensEncoder, "encode", fail)
    monkeypatch.setattr(HashedTokensEncoder, "lengths", fail)


def test_a_run_from_a_cache_is_the_run_without_one(curated, parsed, tmp_path):
    """Losses, held-out losses and gradients are the same to the bit, mirrored visits included."""
    torch.set_num_threads(1)
    curated.run(encode={**EXACT, "flip": True})

    plain = losses(parsed({"flip": True}), tmp_path / "plain")
    cached = losses(parsed({"flip": True, "cache": "encode"}), tmp_path / "cached")

    assert cached == plain
    assert len(plain) >= 6
    states = [
        json.loads((tmp_path / name / "step-00000006/state.json").read_text())
        for name in ("plain", "cached")
    ]
    assert states[0]["meaning"] == states[1]["meaning"]
    assert states[0]["null_text"] == states[1]["null_text"]
    (folder,) = curated.folders()
    name = f"encode/{folder.name}"
    assert [state["cache"] for state in states] == [{}, {"codec": name, "text": name}]


def test_no_encoder_is_asked_for_what_is_cached(curated, parsed, monkeypatch):
    """Batches, lengths of texts and dropped captions all come from the cache."""
    curated.run(encode=EXACT)
    plain = batches(Run(parsed({"captions": {"dropout": 0.5}}), CPU))
    forbid_encoders(monkeypatch)

    run = Run(parsed({"captions": {"dropout": 0.5}, "cache": "encode"}), CPU)

    assert_equal(batches(run), plain)
    null = plain[0][3]
    assert any(length == 1 for batch in plain for length in batch[2].tolist())
    assert not torch.equal(null, torch.zeros_like(null))


def test_latents_and_texts_may_lie_apart(curated, parsed, tmp_path):
    """So new captions encode no pictures again; what no instance has is computed."""
    curated.run(
        latents={"stage": "encode", **EXACT, "text": None},
        texts={"stage": "encode", **EXACT, "codec": None},
    )

    plain = batches(Run(parsed(), CPU))

    assert_equal(batches(Run(parsed({"cache": ["latents", "texts"]}), CPU)), plain)
    assert_equal(batches(Run(parsed({"cache": "latents"}), CPU)), plain)
    assert_equal(batches(Run(parsed({"cache": "texts"}), CPU)), plain)


def test_rounded_features_are_another_run(curated, parsed, tmp_path):
    """A checkpoint of a cache in fp16 does not go on without it, and says so."""
    curated.run(encode={"edge_px": 32})
    recipe = parsed({"cache": "encode"}, loop={"steps": 2}, evaluation={"images": 0})
    train(recipe, device=CPU)

    with pytest.raises(UsageError, match="made by another recipe"):
        train(parsed(loop={"steps": 3}, evaluation={"images": 0}), device=CPU, resume=True)


def test_rounded_features_of_a_stage_are_another_run(curated, parsed):
    """Once the stage has begun; what is still to come may change."""
    curated.run(encode={"edge_px": 32})

    def staged(steps, **second):
        stages = [{"batches": 1, "edge_px": 64}, {"edge_px": 32, **second}]
        data = {"edge_px": 256, "stages": stages}
        return parsed(data, loop={"steps": steps}, evaluation={"images": 0})

    train(staged(1), device=CPU)
    train(staged(2, cache="encode"), device=CPU, resume=True)

    with pytest.raises(UsageError, match="precisions, or gaps, of the features in data.cache"):
        train(staged(3), device=CPU, resume=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text": {"width": 32}}, "text.width is 64, and the recipe's is 32"),
        ({"text": {"max_tokens": 100}}, "text.max_tokens is 256, and the recipe's is 100"),
        ({"data": {"edge_px": 64, "cache": "encode"}}, "edge_px is 32, and the recipe's is 64"),
        ({"data": {"flip": True, "cache": "encode"}}, "made with flip: false"),
        ({"data": {"cache": "encodes"}}, r"no instance 'encodes' .*\(did you mean encode\?\)"),
    ],
)
def test_a_cache_that_is_not_the_recipes_is_refused(curated, parsed, change, sentence):
    """Before anything is computed, in a sentence that names both."""
    curated.run(encode={"edge_px": 32})

    with pytest.raises(SnapshotError, match=sentence):
        Run(parsed(**{"data": {"cache": "encode"}, **change}), CPU)


def test_another_encoder_never_gets_what_the_first_one_made(curated, parsed, tmp_path):
    """Other weights make another folder; each recipe finds its own, and no third one finds any."""
    words = [save_tiny_ministral(tmp_path / f"words{seed}", seed) for seed in (0, 1, 2)]
    vaes = [save_tiny_vae(tmp_path / f"vae{seed}", seed) for seed in (0, 1)]

    def encoders(vae, text):
        return {
            "codec": {"codec": "flux2_vae", "weights": str(vaes[vae])},
            "text": {"encoder": "ministral", "weights": str(words[text]), "precision": "fp32"},
        }

    for chosen in ((0, 0), (0, 1)):
        curated.run(encode={**EXACT, **encoders(*chosen), "run": {"device": "cpu"}})
    assert len(curated.folders()) == 2
    cached = {"cache": "encode"}

    for chosen in ((0, 0), (0, 1)):
        found = batches(Run(parsed(cached, **encoders(*chosen)), CPU), 1)
        plain = batches(Run(parsed(**encoders(*chosen)), CPU), 1)
        for some, others in zip(found, plain, strict=True):
            assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(some, others, strict=True))
    with pytest.raises(SnapshotError, match="text.weights is .*, and the recipe's is"):
        Run(parsed(cached, **encoders(0, 2)), CPU)
    with pytest.raises(SnapshotError, match="codec.weights is .*, and the recipe's is"):
        Run(parsed(cached, **encoders(1, 0)), CPU)


def test_encoders_stay_unloaded_where_all_is_cached(curated, parsed, tmp_path):
    """Their files say what must be known of them; not even the processor's memory holds them."""
    encoders = {
        "codec": {"codec": "flux2_vae", "weights": str(save_tiny_vae(tmp_path / "vae"))},
        "text": {"encoder": "ministral", "weights": str(save_tiny_ministral(tmp_path / "words"))},
    }
    curated.run(encode={"edge_px": 32, **encoders, "run": {"device": "cpu"}})

    run = Run(parsed({"cache": "encode"}, **encoders), CPU)
    batches(run, 2)

    assert "loaded" not in vars(run.codec)
    assert "loaded" not in vars(run.texts)


def test_shards_that_are_not_encoded_are_named(curated, parsed):
    """A cache that was killed before its end is not trained on."""
    curated.run(encode=EXACT)
    (folder,) = curated.folders()
    (folder / "00000/shard-00000001.parquet").unlink()

    with pytest.raises(SnapshotError, match=r"1 shards have no file \(00000001\)") as error:
        Run(parsed({"cache": "encode"}), CPU)

    assert "Run the pipeline again" in str(error.value)
    run = Run(parsed({"cache": {"instances": ["encode"], "on_miss": "encode"}}), CPU)
    assert_equal(batches(run), batches(Run(parsed(), CPU)))


def test_rows_that_were_not_selected_are_counted(curated, parsed):
    """`where` must cover what the snapshot keeps."""
    curated.run(encode={**EXACT, "where": "inspect_width >= 50"})

    with pytest.raises(SnapshotError, match=r"\d+ of \d+ train images .* error not_selected"):
        Run(parsed({"cache": "encode"}), CPU)


def test_a_changed_caption_is_a_miss(curated, parsed):
    """Features are found by the text: the same words of another captioner are, new ones are not."""
    curated.run(encode=EXACT)
    plain = {"captions": {"variants": {"long": 1, "tags": 1}}}
    curated.pipeline["stages"].pop("encode")

    curated.run(caption={"category": False, "variants": ["long", "tags"]})
    create_snapshot(curated.file)
    found = batches(Run(parsed({**plain, "cache": "encode"}), CPU))
    assert_equal(found, batches(Run(parsed(plain), CPU)))

    curated.run(caption={"category": False, "variants": ["tags", "long"]})
    for path in (curated.folders("caption")[-1] / "00000").iterdir():
        _rewrite_captions(path)
    create_snapshot(curated.file)
    with pytest.raises(SnapshotError, match="captions that may be drawn are not encoded"):
        Run(parsed({**plain, "cache": "encode"}), CPU)
    run = Run(parsed({**plain, "cache": {"instances": ["encode"], "on_miss": "encode"}}), CPU)
    assert_equal(batches(run), batches(Run(parsed(plain), CPU)))


def _rewrite_captions(path):
    """Put other words into a file of captions, as a captioner that answers otherwise would."""
    store = Store(str(path.parent))
    table = read_table(store, path.name)
    place = table.schema.get_field_index("caption_captions")
    told = [
        [{**caption, "text": caption["text"] + " anew"} for caption in captions]
        for captions in table["caption_captions"].to_pylist()
    ]
    field = table.schema.field(place)
    write_table(store, path.name, table.set_column(place, field, pa.array(told, field.type)))


def test_what_was_forgotten_needs_no_features(curated, parsed):
    """Its pixels, latents and captions are erased; it keeps its place in batches, and weight 0."""
    curated.run(encode=EXACT)
    run = Run(parsed(), CPU)
    gone = run.table.image_ids[5].tobytes()
    found = find(run.dataset, Request(image_ids=frozenset({gone})), STAGES)
    erased = erase(run.dataset, found, "asked to", "ticket 1", purge=False)
    assert any(name.startswith("encode/") for name in erased.stage_files)
    (folder,) = curated.folders()
    shard = int(run.table.shard[5])
    kept = run.dataset.read_instance("encode", folder.name, shard).to_pylist()[run.table.row[5]]
    assert {v for name, v in kept.items() if "encode" in name} == {None, kept["encode_error"]}

    cached = Run(parsed({"cache": "encode", "captions": {"without": "unconditional"}}), CPU)
    weights: dict[str, float] = {}
    for given in itertools.islice(cached.source(cached.table).batches(Cursor()), 14):
        for batch in given.micro:
            weights.update(zip(batch.image_ids, batch.weight_B.tolist(), strict=True))

    assert weights[gone.hex()] == 0
    assert sorted(weights.values())[1:] == [1.0] * (len(weights) - 1)


def test_sql_shows_what_is_small(curated):
    """A `SELECT *` over a cache does not pull gigabytes; captions and sizes are there."""
    curated.run(encode={"edge_px": 32, "flip": True})

    with open_tables(Dataset.open(str(curated.dataset)), STAGES).query(
        "SELECT * FROM encode WHERE encode_error IS NULL"
    ) as result:
        table = result.read()

    small = ["encode_latent_height", "encode_latent_width", "encode_texts", "encode_error"]
    assert table.column_names == ["shard", "row", "image_id", *small]
    assert len(table) == 48


def test_a_plan_says_what_a_cache_will_take(curated):
    """As text and as JSON, from the captions that are there; nothing is said of one that is."""
    curated.pipeline["stages"]["encode"] = {"edge_px": 32}
    curated.file.write_text(yaml.safe_dump(curated.pipeline), encoding="utf-8")

    said = CliRunner().invoke(longtail, ["plan", str(curated.file)]).output
    told = json.loads(CliRunner().invoke(longtail, ["plan", str(curated.file), "--json"]).output)

    (step,) = [step for step in told["steps"] if step["instance"] == "encode"]
    assert step["cost"]["bytes"] == 48 * step["cost"]["row_bytes"]
    assert f"48 rows of {step['cost']['row_bytes']:,} bytes (9,216 bytes of latents" in said
    assert [s["instance"] for s in told["steps"] if "cost" in s] == ["encode"]

    curated.run(encode={"edge_px": 32})
    held = sum(p.stat().st_size for p in curated.folders()[0].glob("00000/*.parquet"))
    # The largest bucket stands for all, and footers come on top of tiny rows.
    assert 0.5 < step["cost"]["bytes"] / held < 1.5
    after = CliRunner().invoke(longtail, ["plan", str(curated.file)]).output
    assert "will take" not in after


def test_a_cache_that_takes_too_much_is_not_begun(curated):
    """The run is refused with the estimate, and nothing of it is there."""
    curated.pipeline["stages"]["encode"] = {"edge_px": 32, "run": {"max_bytes": 100_000}}
    curated.file.write_text(yaml.safe_dump(curated.pipeline), encoding="utf-8")

    with pytest.raises(ResourceError, match=r"stages.encode will take .* run.max_bytes = 100,000"):
        open_session(curated.file).run(InlineRunner, runner_name="inline")

    assert not (curated.dataset / "encode").exists()


def test_values_are_read_by_row_groups_within_bounds(curated, parsed, monkeypatch):
    """What is kept in memory stays below the limit, and order and values do not depend on it."""
    monkeypatch.setattr("curation.tables.BULK_GROUP_BYTES", 30_000)
    curated.run(encode=EXACT)
    run = Run(parsed({"cache": "encode"}), CPU)
    latents = run.caches[False][0].latents
    assert latents is not None
    folder = latents.folder
    wanted = [(int(run.table.shard[n]), int(run.table.row[n])) for n in (9, 0, 20, 9, 3)]

    found = []
    for limit in (0, 40_000, 1 << 30):
        columns = CachedColumns(run.dataset, folder.instance, folder.fingerprint, limit)
        found.append([columns.read("latent", wanted) for _ in range(2)])
        assert columns._held_bytes <= limit
    assert found[0] == found[1] == found[2]
    assert found[0][0] == found[0][1]
    assert columns._footer(0).num_row_groups > 1


@pytest.mark.slow
def test_a_cache_that_child_processes_made_is_the_same(curated, parsed, tmp_path):
    """The local runner's workers, with their memory limits, write the files that a run reads."""
    from curation.pipeline.local_runner import LocalRunner

    torch.set_num_threads(1)
    curated.pipeline["stages"]["encode"] = EXACT
    curated.file.write_text(yaml.safe_dump(curated.pipeline), encoding="utf-8")
    told: list[Any] = []
    summary = open_session(curated.file).run(LocalRunner, runner_name="local", on_event=told.append)
    assert summary.complete, summary.lines()
    assert [event["step"] for event in told if event["event"] == "cost"] == ["encode"]

    plain = losses(parsed(loop={"steps": 5, "log_every": 1}), tmp_path / "plain")
    cached = losses(
        parsed({"cache": "encode"}, loop={"steps": 5, "log_every": 1}), tmp_path / "cached"
    )

    assert cached == plain
