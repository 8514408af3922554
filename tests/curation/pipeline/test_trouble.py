"""What an exception of a step becomes."""

import errno

from curation.errors import ContractError
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
