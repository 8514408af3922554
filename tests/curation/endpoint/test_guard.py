"""The guard of a server: whatever becomes of whom, nothing of it stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation.endpoint import guard

START = [sys.executable, "-I", "-S", guard.__file__]

BRANCHING = """
import os, signal, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ours, theirs = os.pipe()
if os.fork() == 0:
    os.setsid()                                     # in a session of its own, out of the group,
    if os.fork() == 0:
        os.write(theirs, str(os.getpid()).encode())
        time.sleep(600)
    os._exit(0)                                     # and its parent gone
os.wait()
print(os.getpid(), int(os.read(ours, 99)), flush=True)
if "ends" in sys.argv:
    os._exit(7)
time.sleep(600)
"""
"""Prints its own number and that of an orphan."""

DEAF = f"""
import sys
from curation.endpoint import guard
guard.GRACE_S = 0.2
sys.exit(guard.main([sys.executable, "-c", {BRANCHING!r}, "deaf"]))
"""


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int]) -> bool:
    """Wait until processes are no more; false after a quarter of a minute."""
    deadline = time.monotonic() + 15
    while any(is_there(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def begin(*command: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, [int(word) for word in process.stdout.readline().split()]


@pytest.mark.parametrize("way", ["close", "terminate"])
def test_all_processes_go(way):
    """Whoever started it hangs up, or ends the guard: even a detached grandchild goes."""
    process, pids = begin(*START, sys.executable, "-c", BRANCHING)
    assert len(pids) == 2
    assert all(is_there(pid) for pid in pids)

    if way == "close":
        assert process.stdin is not None
        process.stdin.close()
    else:
        process.terminate()

    process.wait(15)
    assert gone(pids)


def test_the_program_follows_a_guard_that_was_killed():
    """So even the kernel's choice of the guard leaves no server behind."""
    process, (program, orphan) = begin(*START, sys.executable, "-c", BRANCHING)

    process.kill()

    process.wait(15)
    assert gone([program])
    os.kill(orphan, signal.SIGKILL)  # nobody was left who could


def test_what_outlives_its_program_goes_with_it():
    """The program ends by itself: its exit code is told, and its orphans go."""
    process, pids = begin(*START, sys.executable, "-c", BRANCHING, "ends")

    assert process.wait(15) == 7
    assert gone(pids)


def test_who_does_not_hear_is_killed():
    """A program that ignores the request to end has some seconds, no more."""
    process, pids = begin(sys.executable, "-c", DEAF)
    assert process.stdin is not None

    process.stdin.close()

    assert process.wait(15) == 0
    assert gone(pids)


def test_a_workers_limit_of_address_space_is_not_the_servers():
    """The worker's is for decoding; an engine maps many times what it uses."""
    show = "import resource; print(*resource.getrlimit(resource.RLIMIT_AS))"
    limited = ["bash", "-c", 'ulimit -S -v 4194304; exec "$@"', "-"]

    process, (soft, hard) = begin(*limited, *START, sys.executable, "-c", show)

    process.wait(15)
    assert soft == hard
