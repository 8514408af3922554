"""What an exception of a step becomes."""

import errno

from curation.errors import ConfigError, ContractError
from curation.pipeline.trouble import MAX_TEXT, Trouble

SECRET = "https://someone:hunter2@host/a?token=abc123&x=1"


def test_a_charge_says_what_happened_without_secrets():
    """Its text stands in charge sheets, logs and reports."""
    trouble = Trouble()

    result = trouble.result("luma", "shard 3", ValueError(f"no answer from {SECRET}"))

    assert (result.status, result.code) == ("failed", "exception")
    assert result.text == "ValueError: no answer from https://***@host/a?token=***&x=1"
    assert trouble.hindrance == ""


def test_a_charge_names_the_file_and_is_short():
    """A broken contract has a code of its own."""
    error = ContractError("x" * 2 * MAX_TEXT)

    result = Trouble().result("luma", "shard 3", error, "images/00000003.parquet")

    assert result.code == "contract"
    assert result.text.startswith("ContractError: images/00000003.parquet: xxx")
    assert len(result.text) == MAX_TEXT


def test_trouble_of_the_machine_is_no_charge_and_the_first_stays():
    """Its sentence is free of secrets too."""
    trouble = Trouble()

    result = trouble.result("luma", "shard 3", OSError(errno.ENOSPC, f"full: {SECRET}"))
    also = trouble.of_setup("echo", ValueError("later"))

    assert result.status == also.status == "skipped"
    assert trouble.hindrance.startswith("luma, shard 3: ")
    assert "full: https://***@host" in trouble.hindrance
    assert "hunter2" not in trouble.hindrance


def test_what_we_say_on_purpose_comes_without_a_place_in_the_code(caplog):
    """A server that is down is a sentence; what nobody foresaw shows where it came from."""
    Trouble().of_setup("clip", ConfigError(f"weights are missing at {SECRET}; fetch them"))
    Trouble().of_setup("clip", KeyError("model"))

    said, unforeseen = caplog.records
    assert said.exc_info is None
    assert "hunter2" not in said.getMessage()
    assert unforeseen.exc_info is not None
