"""The pipeline file: what is refused before anything is opened."""

import pytest

from curation.config import validate
from curation.dataset import DatasetInfo
from curation.errors import ConfigError
from curation.pipeline.config import (
    PipelineConfig,
    RunConfig,
    RunSettings,
    check_memory,
    parse_pipeline,
)

HEAD = "name: a\ndataset: data\n"

URLS = """
name: web
dataset: data/web
source:
  {name: web, kind: urls, roots: [lists], download: {contact: a@b.org, deadline_s: %s}}
"""


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(text, "a.yaml", overrides)
    return str(caught.value)


def test_workers_must_hold_a_shard_several_times():
    """Both numbers are named, and the one that is enough."""
    found = refusal(HEAD + "run: {memory_bytes: 1000000000, max_shard_bytes: 200000000}")

    assert found == (
        "a.yaml: run.max_shard_bytes: run.memory_bytes = 1000000000 is less than 6 x 200000000; a "
        "worker holds a shard's files several times over while it reads, packs and writes them, so "
        "set run.memory_bytes to 1200000000 or more, or make this smaller, found 200000000 (int)"
    )
    assert "6 x 268435456" in refusal(HEAD + "run: {memory_bytes: 1000000000}")
    assert "6 x 1073741824" in refusal(HEAD, "run.max_shard_bytes=1073741824")
    config = parse_pipeline(HEAD + "run: {memory_bytes: 300000000, max_shard_bytes: 50000000}", "")
    assert config.run.memory_bytes == 300_000_000


def test_the_shards_that_count_are_those_of_the_dataset():
    """An existing dataset keeps its limits, whatever the pipeline file says."""
    check_memory(RunConfig(), DatasetInfo(dataset_id="a"))
    with pytest.raises(
        ConfigError, match=r"dataset\.json: .* = 4294967296 is less than 6 x 1073741"
    ):
        check_memory(RunConfig(), DatasetInfo(dataset_id="a", max_shard_bytes=1 << 30))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("name: a\ndataset: s3://id:hush@bucket/a\n", "dataset: s3://***@bucket/a"),
        (HEAD + "source: {name: l, roots: [x, 's3://b/x?token=hush']}", "source.roots: s3://b/x?"),
        (HEAD + "stages: {embed: {weights: 'https://u:hush@h/w'}}", "stages.embed.weights: https"),
        # Another mistake beside it does not bring the address into its own sentence.
        ("name: a\ndataset: [s3://id:hush@bucket]\nnme: b\n", "dataset: s3://***@bucket"),
    ],
)
def test_secrets_in_urls_are_refused_and_not_repeated(text, path):
    """Pipeline files are stored beside the data; the sentence names the key that is wrong."""
    found = refusal(text)

    assert found.startswith(f"a.yaml: {path}")
    assert "has credentials in it" in found
    assert "hush" not in found


def test_secrets_in_overrides_are_not_repeated():
    """Neither where the value is refused, nor where the override itself is wrong."""
    for override in (
        "dataset=s3://id:hush@bucket",
        "dataset.x=s3://id:hush@bucket",
        "s3://a:hush@b",
    ):
        found = refusal(HEAD, override)
        assert "hush" not in found
        assert "***" in found or "is no mapping" in found


def test_a_value_of_the_wrong_kind_is_shown_without_its_secrets():
    """As when a configuration is checked that was not read from a file."""
    with pytest.raises(ConfigError) as caught:
        validate(PipelineConfig, {"name": "a", "dataset": ["s3://id:hush@bucket"]}, "")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(("deadline_s", "run"), [(5000, ""), (60, "run: {task_timeout_s: 60}")])
def test_a_download_must_end_before_its_task(deadline_s, run):
    """Also where `run` is not in the file; a shard that ends early keeps what it has."""
    with pytest.raises(ConfigError, match="task_timeout_s must be more than source.download"):
        parse_pipeline(URLS % deadline_s + run, "p.yaml")


def test_a_contact_is_asked_for():
    """Who downloads says who they are."""
    text = "name: web\ndataset: d\nsource: {name: web, kind: urls, roots: [l], download: %s}"

    for download, found in (("{}", "this key is required"), ("{contact: me}", "expected a URL")):
        with pytest.raises(ConfigError, match=f"source.download.contact: {found}"):
            parse_pipeline(text % download, "p.yaml")


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"GPU": 1}, "'GPU' is Ray's own; say run.cpus, run.gpus"),
        ({"lens": 1.5}, "lens: a worker has a part of one, or whole ones, found 1.5"),
        ({"lens": 0}, "greater than 0"),
    ],
)
def test_custom_resources_that_ray_would_refuse(resources, message):
    """Here they are refused by a sentence."""
    with pytest.raises(ConfigError, match=message):
        validate(RunSettings, {"resources": resources}, "run")
    assert validate(RunSettings, {"resources": {"lens": 0.5, "prism": 2}}, "").resources["lens"]
