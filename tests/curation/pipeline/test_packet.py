"""Views that are made in one process and seen in another."""

import errno
import fcntl
import os
from dataclasses import replace

import numpy as np
import pytest

from curation import pixels
from curation.ingest.work_list import freeze_lists
from curation.pipeline import slices
from curation.pipeline.execute import Executor
from curation.pipeline.flight import make_worker
from curation.pipeline.packet import (
    MAX_SIZE_PX,
    Packet,
    PacketWriter,
    is_worth_packing,
    packet_array,
    packet_bytes,
    packet_file,
)
from curation.pipeline.progress import Progress
from curation.pipeline.tasks import Task, WorkerSpec
from curation.pixels import PixelSpec, View
from curation.storage import Store
from tests.fakes import decode
from tests.fakes.lake import image_bytes, make_lake
from tests.fakes.runs import make_session, read_instance

IDS = [bytes([n]) * 16 for n in range(4)]
MARKER = b"breaks the decoder"


@pytest.fixture
def packet_of():
    """Make a packet of views; it is closed in the end."""
    made = []

    def make(views):
        writer = PacketWriter()
        for image_id, view in zip(IDS, views, strict=False):
            writer.add([image_id], [view])
        made.append(writer.finish())
        return made[-1]

    yield make
    for descriptor in made:
        os.close(descriptor)


@pytest.mark.parametrize("fit", ["squash", "cover", "inside"])
def test_a_view_comes_out_as_it_went_in(packet_of, fit):
    """The pixels, their shape, what the file says of itself, and a reason where there is none."""
    spec = PixelSpec(size_px=12, fit=fit)
    (png,), (jpeg,) = (pixels.views(image_bytes(f"a.{kind}"), [spec]) for kind in ("png", "jpg"))
    reason = "truncated: it ends too early"

    packet = Packet(packet_of([png, reason, jpeg]))

    for image_id, view in ((IDS[0], png), (IDS[2], jpeg)):
        found = packet.view(image_id)
        assert isinstance(found, View)
        assert isinstance(view, View)
        assert np.array_equal(found.pixels, view.pixels)
        assert found.pixels.dtype == np.uint8
        assert not found.pixels.flags.writeable
        assert found.header == view.header
    assert packet.view(IDS[1]) == reason
    assert packet.holds(IDS[:3])
    assert not packet.holds(IDS)


def test_a_packet_of_no_rows_is_one(packet_of):
    """An empty shard has views too: none."""
    assert Packet(packet_of([])).holds([])


def test_a_packet_goes_through_an_array(packet_of):
    """As it does through the object store; no byte is lost."""
    (view,) = pixels.views(image_bytes("a.png"), [PixelSpec(size_px=8)])
    copy = packet_file(packet_array(packet_of([view])).copy())
    found = Packet(copy).view(IDS[0])

    assert isinstance(found, View)
    assert isinstance(view, View)
    assert np.array_equal(found.pixels, view.pixels)
    os.close(copy)


def test_small_views_are_worth_it():
    """Large ones are more bytes than the file, and of those seen in full nobody knows how many."""
    assert is_worth_packing(PixelSpec(size_px=MAX_SIZE_PX, fit="squash"))
    assert not is_worth_packing(PixelSpec(size_px=MAX_SIZE_PX + 1, fit="squash"))
    assert not is_worth_packing(PixelSpec(fit="full"))
    assert packet_bytes(PixelSpec(size_px=224, fit="squash"), 1024) < 160 << 20


@pytest.fixture
def begin(tmp_path):
    """Take in a lake of images good and bad; return session, spec, task of glow and of packing."""
    lake = make_lake(tmp_path / "lake", 9)

    def start(marker=b"", **settings):
        with (lake / "d0/img000.png").open("ab") as file:
            file.write(marker)
        session = make_session(
            tmp_path / "data", lake, {"glow": settings}, max_shard_rows=64, row_timeout_s=0.5
        )
        dataset = session.create_dataset()
        assert session.config.source is not None
        list(freeze_lists(dataset, session.config.source))
        spec = WorkerSpec(
            dataset.store.url, session.instances(dataset), session.config.source, 0.5, 60.0
        )
        ingest, glow = session.plan(dataset).tasks
        assert (ingest.steps, glow.steps) == (("images",), ("glow",))
        return session, spec, ingest, glow

    return start


@pytest.fixture
def worker():
    worker = make_worker(4 << 30)
    yield worker
    worker.close()


def only_packing(task):
    return Task("shard", task.name, (), task.shard, packs=("glow",), key="pixels")


def glow_file(session):
    return {
        name: session.create_dataset().store.read(name)
        for name in session.create_dataset().store.files("glow")
        if name.endswith(".parquet")
    }


def forget(session):
    store = Store(session.config.dataset)
    for name in glow_file(session):
        store.delete(name)


def test_a_packet_gives_the_bytes_of_decoding(begin, worker):
    """Made beside ingest in one child, seen in another, errors of rows among them."""
    session, spec, ingest, glow = begin()
    made = worker.run(spec, replace(ingest, packs=("glow",)))
    assert made.is_done
    other = make_worker(4 << 30)
    assert other.run(spec, glow, made.packets).is_done
    fed = glow_file(session)
    errors = read_instance(session, "glow")["glow_error"].drop_null().to_pylist()
    forget(session)

    assert other.run(spec, glow).is_done

    other.close()
    os.close(made.packets["glow"])
    assert glow_file(session) == fed
    assert sorted(text.split(":")[0] for text in errors) == ["empty", "truncated"]


def test_a_fed_worker_reads_no_image(begin, worker):
    """The bytes of the files stay where they are."""
    session, spec, ingest, glow = begin()
    assert worker.run(spec, ingest).is_done
    made = worker.run(spec, only_packing(ingest))
    assert made.steps == {}
    progress = Progress.create()
    executor = Executor(spec, progress)

    def no_bytes(images, protocols):
        pytest.fail("it reads the files")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "load_bytes", no_bytes)
        result = executor.run(glow, {}, packets=made.packets)

    progress.close()
    os.close(made.packets["glow"])
    assert result.is_done, result
    assert read_instance(session, "glow")["glow_mean"].null_count == 2


@pytest.mark.parametrize(
    ("what", "reason"),
    [("segfault", "crashed: SIGSEGV"), ("hang", "timeout: no answer within 0.5 s")],
)
def test_a_crash_in_packing_costs_the_row_that_it_cost_before(
    begin, worker, monkeypatch, what, reason
):
    """The reason travels with the views, and the worker with the model never meets the file."""
    monkeypatch.setenv(decode.VARIABLE, f"{what}:{MARKER.decode()}")
    session, spec, ingest, glow = begin(MARKER)
    assert worker.run(spec, ingest).is_done

    made = worker.run(spec, only_packing(ingest))

    assert made.restarts == 2
    result = worker.run(spec, glow, made.packets)
    os.close(made.packets["glow"])
    assert result.is_done
    assert result.restarts == 0
    assert reason in read_instance(session, "glow")["glow_error"].to_pylist()


def test_packing_that_fails_charges_nobody(begin, worker):
    """There is no packet, and no step to blame."""
    session, spec, ingest, _ = begin()

    result = worker.run(spec, only_packing(ingest))  # the image shard is not there

    assert (result.steps, dict(result.packets), result.hindrance) == ({}, {}, "")
    assert not session.create_dataset().store.files("quarantine")


@pytest.mark.parametrize(
    ("left", "size_px"),
    [("no descriptor", 64), ("no memory", 64), ("some memory", 64), ("no memory", 4)],
)
def test_a_packet_for_which_there_is_no_memory_charges_nobody(begin, monkeypatch, left, size_px):
    """Neither where it is begun, nor in the middle, nor where its last bytes are written."""
    _, spec, ingest, _ = begin(size_px=size_px)
    progress = Progress.create()
    monkeypatch.setattr(os, "memfd_create", full(left))

    result = Executor(spec, progress).run(replace(ingest, packs=("glow",)), {})

    progress.close()
    assert result.is_done, result
    assert result.packets == {}


def test_a_packet_that_does_not_fit_leaves_no_descriptor(monkeypatch):
    """Where it comes out of the object store."""
    monkeypatch.setattr(os, "memfd_create", full("some memory"))
    before = len(list(os.scandir("/proc/self/fd")))

    with pytest.raises(OSError, match="not permitted"):
        packet_file(np.zeros(100_000, np.uint8))

    assert len(list(os.scandir("/proc/self/fd"))) == before


def full(left):
    """Return what makes memory files on a machine that has only this left."""
    make = os.memfd_create

    def refuse(name):
        if left == "no descriptor":
            raise OSError(errno.EMFILE, "Too many open files")
        descriptor = make(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, 0 if left == "no memory" else 20_000)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
        return descriptor

    return refuse


def test_a_packet_of_other_images_is_not_looked_at(begin, worker, packet_of):
    """Nobody gets a value for an image that the model did not see."""
    _, spec, ingest, glow = begin()
    assert worker.run(spec, ingest).is_done

    result = worker.run(spec, glow, {"glow": packet_of([])})

    assert result.steps["glow"].code == "contract"
    assert "other rows" in result.steps["glow"].text


def test_nothing_of_a_packet_is_left_behind(begin, worker):
    """Descriptors of both processes are as many as before."""
    _, spec, ingest, glow = begin()
    assert worker.run(spec, ingest).is_done
    before = len(list(os.scandir("/proc/self/fd"))), open_files(worker)

    for _ in range(3):
        made = worker.run(spec, only_packing(ingest))
        assert worker.run(spec, glow, made.packets).is_done
        os.close(made.packets["glow"])

    assert (len(list(os.scandir("/proc/self/fd"))), open_files(worker)) == before


def open_files(worker):
    return len(list(os.scandir(f"/proc/{worker._child.pid}/fd")))
