"""Addresses with secrets are refused, and what is said of them repeats none."""

import pytest

from curation.errors import ConfigError
from curation.urls import check_url, check_values, redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:hush@bucket/a", "s3://***@bucket/a"),
        ("s3://hush@bucket/a", "s3://***@bucket/a"),
        ("s3://key:hu/sh+hush@bucket/a", "s3://***@bucket/a"),
        ("https://user:hush@host:8080/a@b", "https://***@host:8080/a@b"),
        ("abfs://container:hush@account/a", "abfs://***@account/a"),
        (
            "https://host/a?X-Amz-Signature=hush&v=1",
            "https://host/a?X-Amz-Signature=***&v=1",
        ),
        ("s3://bucket/a?token=hush hush", "s3://bucket/a?token=*** hush"),
        ("gs://bucket/a?x=1;sig=hush", "gs://bucket/a?x=1;sig=***"),
        ("simplecache::s3://key:hush@bucket/a", "simplecache::s3://***@bucket/a"),
        ("zip://x::s3://key:hush@bucket/a", "zip://x::s3://***@bucket/a"),
    ],
)
def test_secrets_are_refused_and_hidden(url, shown):
    """The sentence shows the address without them and says where they belong."""
    with pytest.raises(ConfigError) as caught:
        check_url(url, "dataset")

    assert str(caught.value).startswith(f"dataset: {shown.removesuffix(' hush')}")
    assert "through the environment" in str(caught.value)
    assert redacted(f"cannot open '{url}'") == f"cannot open '{shown}'"


@pytest.mark.parametrize(
    "url",
    [
        "/data/me@home?token=1",
        "file:///data/me:x@home",
        "s3://bucket/p@q",
        "s3://bucket/a?versionId=1&token=",
        "abfs://container@account.dfs.core.windows.net/a",
        "sftp://me@host/a",
        "http://host:80/a@b",
        "http://[::1]/a@b",
        "memory://x",
        "a prompt: see https://host/x and write to me@host",
    ],
)
def test_addresses_without_secrets_pass(url):
    """A name before `@` is part of some addresses, and file names may hold anything."""
    check_url(url, "dataset")
    assert redacted(url) == url


def test_a_configuration_is_checked_throughout():
    """The path to the value is named, in lists too."""
    check_values({"a": {"b": [1, None, "s3://bucket"]}})
    with pytest.raises(ConfigError, match=r"^stages\.embed\.weights: s3://\*\*\*@bucket: has cred"):
        check_values({"stages": {"embed": {"weights": ["x", "s3://a:hush@bucket"]}}})
