"""What the doctor finds, and that it leaves no trace."""

import dataclasses
import json
import os
import stat
from importlib import metadata

import pytest

from curation.doctor import check_machine, check_packages, check_pipeline, check_store
from curation.doctor import packages as packages_module
from curation.storage import Store
from jobs.sessions import open_session
from stages.registry import STAGES
from tests.curation.cli.cli_runs import longtail
from tests.curation.kept_dataset import write_pipeline


def test_a_store_that_keeps_its_promises_is_fine_and_as_before(tmp_path):
    """Folders that were made for the trial are gone, also above."""
    (check,) = check_store(str(tmp_path / "a" / "b"))

    assert (check.state, check.advice) == ("ok", "")
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_memory_is_tried_through_the_same_calls():
    """Any fsspec URL."""
    (check,) = check_store("memory://doctor")

    assert check.state == "ok"
    assert Store("memory://doctor").names("") == []


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    """A file where the folder should be; root may write anywhere else."""
    (tmp_path / "file").write_text("")

    (check,) = check_store(str(tmp_path / "file" / "dataset"))

    assert check.state == "wrong"
    assert str(tmp_path / "file") in check.found


class ForgetfulStore(Store):
    """A store that lists late and lets both writers win, as eventual consistency would."""

    def names(self, folder):
        return []

    def create(self, name, data):
        self.put(name, data)
        return True


def test_a_store_that_breaks_its_promises_is_found_out(tmp_path, monkeypatch):
    """Each broken promise is named."""
    monkeypatch.setattr("curation.doctor.stores.Store", ForgetfulStore)

    (check,) = check_store(str(tmp_path))

    assert check.state == "wrong"
    assert "of two exclusive creates both won" in check.found
    assert "is not listed" in check.found


def test_the_machine_is_described_without_any_framework():
    """Each thing once."""
    subjects = [check.subject.split(" in ")[0] for check in check_machine()]

    assert subjects == ["Python", "system", "cores", "memory", "space", "GPUs"]


@pytest.mark.parametrize(
    ("script", "state", "found"),
    [
        ("echo 'NVIDIA H200, 143771 MiB'; echo 'NVIDIA H200, 143771 MiB'", "ok", "H200"),
        ("echo broken >&2; exit 9", "wrong", "nvidia-smi failed"),
    ],
)
def test_gpus_are_what_the_driver_says(tmp_path, monkeypatch, script, state, found):
    """A program of that name stands in for the driver, which is not everywhere."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    check = list(check_machine())[-1]

    assert check.state == state
    assert found in check.found


def test_packages_are_those_of_the_installed_metadata():
    """The core is whole here, or these tests would not run."""
    by_subject = {check.subject: check for check in check_packages()}

    assert by_subject["core packages"].state == "ok"
    assert "pyarrow" in by_subject["core packages"].found
    assert by_subject["extra [dev]"].state == "ok"


class Metadata:
    """Stands for `importlib.metadata`, with a distribution of its own."""

    PackageNotFoundError = metadata.PackageNotFoundError
    versions = {"thing": "1.0", "old": "1.9"}

    @classmethod
    def version(cls, name):
        if name not in cls.versions:
            raise cls.PackageNotFoundError(name)
        return cls.versions[name]

    @staticmethod
    def requires(name):
        return [
            "old<3,>=2",
            'absent>=1; extra == "more"',
            'thing[more]; extra == "all"',
            'gone; sys_platform == "none"',
        ]

    @staticmethod
    def metadata(name):
        return Provides()


class Provides:
    """The header that names the extras."""

    def get_all(self, name):
        return ["more", "all"]


def test_what_is_absent_or_of_another_version_is_said_with_the_command(monkeypatch):
    """An extra that is absent is no fault; the core is."""
    monkeypatch.setattr(packages_module, "metadata", Metadata)

    checks = [dataclasses.astuple(check) for check in check_packages("thing")]

    assert checks == [
        ("thing", "ok", "1.0", ""),
        ("core packages", "wrong", "old 1.9 is not <3,>=2", "pip install thing"),
        ("extra [more]", "missing", "without absent", "pip install 'thing[more]'"),
    ]


def test_a_pipeline_is_looked_at_stage_by_stage(tmp_path):
    """Its source, its store, and what each stage loads; nothing is made."""
    pipeline = write_pipeline(tmp_path)

    checks = list(check_pipeline(open_session(pipeline, ()).config, STAGES))

    assert [(check.subject.split()[0], check.state) for check in checks] == [
        ("store", "ok"),
        ("source", "ok"),
        ("stage", "ok"),
        ("stage", "ok"),
    ]
    assert not (tmp_path / "dataset").exists()


def test_a_dataset_that_cannot_be_read_is_one_line_among_the_others(tmp_path, capsys):
    """What else was found is still said."""
    pipeline = write_pipeline(tmp_path)
    (tmp_path / "file").write_text("")
    where = f"dataset={tmp_path / 'file' / 'dataset'}"

    ran = longtail(capsys, "doctor", pipeline, "--set", where, "--json")

    wrong = [check["subject"] for check in json.loads(ran.out) if check["state"] == "wrong"]
    assert ran.code == 1
    assert wrong == [f"store {tmp_path / 'file' / 'dataset'}", "dataset"]


def test_the_command_says_what_is_wrong_and_exits_1(tmp_path, capsys):
    """A source that is not there."""
    pipeline = write_pipeline(tmp_path)
    (tmp_path / "lake").rename(tmp_path / "elsewhere")

    ran = longtail(capsys, "doctor", pipeline, "--json")

    wrong = [check for check in json.loads(ran.out) if check["state"] == "wrong"]
    assert ran.code == 1
    assert [check["subject"] for check in wrong] == ["source"]
    assert str(tmp_path / "lake") in wrong[0]["found"]
