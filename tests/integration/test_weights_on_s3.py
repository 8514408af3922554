"""Weights in an object store: S3 as moto serves it, over HTTP."""

import pytest

from curation.errors import ConfigError
from curation.storage import Store
from curation.weights import fetch, local_weights, weights_digest
from tests.integration.conftest import BUCKET

LARGE = bytes(range(256)) * (60 << 12)  # 60 MiB: more than one piece
MODEL = f"s3://{BUCKET}/models/tiny"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch, endpoint):
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))


def test_a_folder_and_a_file_of_a_bucket(tmp_path):
    """Fetched whole, and seen to have changed by the store's tag alone."""
    store = Store(MODEL)
    store.put("config.json", b"{}")
    store.put("model.safetensors", LARGE)
    store.put("README.md", b"x")

    held = fetch(MODEL)

    assert sorted(p.name for p in held.path.iterdir()) == ["config.json", "model.safetensors"]
    assert (held.path / "model.safetensors").read_bytes() == LARGE
    assert fetch(f"{MODEL}/config.json").path.read_bytes() == b"{}"
    store.put("config.json", b"[]")
    changed = weights_digest(MODEL)
    assert changed != held.digest
    assert (local_weights(MODEL, changed) / "config.json").read_bytes() == b"[]"


@pytest.mark.parametrize("url", [f"s3://{BUCKET}/nothing", "s3://no-such-bucket/x.pt"])
def test_what_is_not_there_is_said(url):
    """As everywhere."""
    with pytest.raises(ConfigError, match="there is nothing to be had"):
        weights_digest(url)
