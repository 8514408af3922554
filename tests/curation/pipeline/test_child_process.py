"""A child is started with the code, the threads and the memory that its supervisor means."""

import importlib
import os
import subprocess
import sys

import pytest

from curation.pipeline.child_process import ENVIRONMENT, ChildProcess
from curation.pipeline.messages import Ready, Reply, Request, Unable
from curation.pipeline.tasks import Task, WorkerSpec

START_S = 60.0


def test_a_child_says_when_it_can_be_asked():
    """Its first word comes after its imports, and it ends when nobody listens any more."""
    child = ChildProcess(4 << 30)

    assert child.receive(START_S) == Reply(0, Ready())
    assert child.is_alive
    assert child.close() == "exit code 0"


def test_the_working_directory_is_no_source_of_code(tmp_path, monkeypatch):
    """Another copy of the code that lies where a worker happens to run is not imported."""
    (tmp_path / "curation" / "pipeline").mkdir(parents=True)
    for module in ("curation/__init__.py", "curation/pipeline/__init__.py"):
        (tmp_path / module).touch()
    (tmp_path / "curation" / "pipeline" / "child.py").write_text("raise SystemExit(5)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    child = ChildProcess(4 << 30)

    assert child.receive(START_S) == Reply(0, Ready())
    child.close()


def test_a_relative_entry_is_where_the_supervisor_is(tmp_path, monkeypatch):
    """An empty entry of the search path means the supervisor's working directory."""
    (tmp_path / "pyarrow.py").write_text("raise SystemExit(6)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    child = ChildProcess(4 << 30)

    with pytest.raises(EOFError):
        child.receive(START_S)
    assert child.close() == "exit code 6"


def test_a_killed_child_says_so():
    """The name of the signal is what a row's error will hold."""
    child = ChildProcess(4 << 30)
    child.kill()

    assert child.close() == "SIGKILL"
    child.kill()


def test_each_library_has_one_thread_to_compute():
    """Workers are as many as cores; Arrow reads files with two more, which only wait."""
    program = (
        "import cv2, pyarrow as pa; "
        "print(cv2.getNumThreads(), pa.cpu_count(), pa.io_thread_count(), "
        "pa.default_memory_pool().backend_name)"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, check=True
    ).stdout

    assert output.decode().split() == ["1", "1", "2", "system"]


@pytest.mark.parametrize("num_slots", [1, 2])
def test_what_a_child_cannot_read_leaves_nothing_behind(tmp_path, monkeypatch, num_slots):
    """A specification of code that it has not, with a packet: it says so, as often as asked."""
    child = ChildProcess(4 << 30, num_slots)
    assert child.receive(START_S) == Reply(0, Ready())
    (tmp_path / "of_this_process.py").write_text("class Stage: pass")
    monkeypatch.syspath_prepend(tmp_path)
    strange = importlib.import_module("of_this_process").Stage
    spec = WorkerSpec("data", (strange(),), None, 1.0, 1.0)
    packet = os.memfd_create("packet")
    request = Request(spec, Task("shard", "a", ("luma",), 0), {}, packets={"luma": packet})

    for _ in range(3):
        child.send(request)
        reply = child.receive(START_S)
        assert reply is not None
        assert isinstance(reply.answer, Unable)
        assert "of_this_process" in reply.answer.text
        assert reply.slot == (0 if num_slots == 1 else None)

    os.close(packet)
    child.close()
