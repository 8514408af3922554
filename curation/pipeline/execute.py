"""One task, done inside a worker's child process.

A shard is worked on in slices: the images of a slice are decoded once for all stages that are due,
the stages run one after the other, and only their own small columns are kept. Nothing of a step is
written before the whole shard is through it.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from curation import pixels
from curation.dataset import Dataset
from curation.ingest.load import reading_protocols
from curation.pipeline import fit, relation
from curation.pipeline.ingest_step import ingest_shard
from curation.pipeline.instances import Instance
from curation.pipeline.loaded import LoadedStages
from curation.pipeline.packet import Packet, PacketWriter
from curation.pipeline.progress import BEGINNING, PIXELS, Progress
from curation.pipeline.shard_step import (
    IDENTITY_NAMES,
    ShardStep,
    image_columns,
    input_table,
    live,
    write_step,
)
from curation.pipeline.slices import (
    Marks,
    Views,
    decode,
    image_slices,
    packed_views,
    slice_rows,
    view_of,
)
from curation.pipeline.stage import Shard, Stage, run_stage, with_identity
from curation.pipeline.tasks import StepResult, Task, TaskResult, WorkerSpec
from curation.pipeline.trouble import Trouble
from schemas import dataset as paths

log = logging.getLogger("longtail.worker")

_Packing = dict[str, tuple[int, PacketWriter]]
"""Instance -> the place of its specification among those of the task, and who takes the views."""


class Executor:
    """Runs tasks, one at a time.

    Args:
        spec: What the worker knows.
        progress: Where to say which row is in hand.
        loaded: Stages that are set up; executors in other threads share them.
    """

    def __init__(
        self, spec: WorkerSpec, progress: Progress, loaded: LoadedStages | None = None
    ) -> None:
        self.spec = spec
        self.progress = progress
        self.dataset = Dataset.open(spec.dataset_url)
        self.loaded = LoadedStages() if loaded is None else loaded
        self._trouble = Trouble()

    def run(
        self,
        task: Task,
        marks: Marks,
        only_row: int | None = None,
        packets: Mapping[str, int] | None = None,
    ) -> TaskResult:
        """Do `task` and write its files.

        Args:
            task: What to do.
            marks: Rows that must not be touched again.
            only_row: Work on this row alone and write no step, to find out whether the row by
                itself crashes, times out or runs out of memory.
            packets: Instance -> descriptor of a packet that holds its views.
        """
        started = time.perf_counter()
        self._trouble = Trouble()
        if task.kind == "shard":
            result = self._run_shard(task, marks, only_row, packets or {})
        else:
            self.progress.at(0)
            result = TaskResult({task.steps[0]: self._run_whole(task)})
        seconds = time.perf_counter() - started
        return replace(result, seconds=seconds, hindrance=self._trouble.hindrance)

    # Fits and relations ------------------------------------------------------------------------

    def _run_whole(self, task: Task) -> StepResult:
        instance = self.spec.instance(task.steps[0])
        started = time.perf_counter()
        by_name = {i.name: i for i in self.spec.instances}
        try:
            num_rows = 0
            if task.kind == "fit":
                fit.run_fit(self.dataset, instance, by_name)
            elif task.kind == "edges":
                relation.run_edges(self.dataset, instance, by_name, task.blocks)
            else:
                num_rows = relation.run_groups(self.dataset, instance, by_name)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 (becomes a charge, with the words in the log)
            return self._trouble.result(instance.name, task.name, error)
        return StepResult("done", num_rows, seconds=time.perf_counter() - started)

    # Shards ------------------------------------------------------------------------------------

    def _run_shard(
        self, task: Task, marks: Marks, only_row: int | None, packets: Mapping[str, int]
    ) -> TaskResult:
        assert task.shard is not None
        results: dict[str, StepResult] = {}
        images: pa.Table | None = None
        if paths.IMAGES in task.steps:
            self.progress.at(task.steps.index(paths.IMAGES))
            images, results[paths.IMAGES] = self._ingest(task, task.shard)
            if results[paths.IMAGES].status != "done":
                skipped = {s: StepResult("skipped") for s in task.steps if s not in results}
                return TaskResult({**results, **skipped})
        steps = self._set_up(task, results, packets)
        packing = self._begin_packing(task)
        decode_seconds = 0.0
        num_rows = 0
        inputs = self._read_inputs(task.shard, steps)
        wanting = live(steps)
        if wanting or packing:
            try:
                self.progress.at(wanting[0].index if wanting else PIXELS)
                columns = image_columns(wanting, seen=_is_seen(wanting, packing))
                rows = slice_rows(self._specs)
                for part in image_slices(self.dataset, task.shard, images, columns, rows, only_row):
                    num_rows += len(part)
                    decode_seconds += self._run_slice(
                        task.shard, part, inputs, steps, marks, packing
                    )
                    if not live(steps) and not packing:
                        break
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (becomes a charge against the first)
                self._charge_first(live(steps), task, error)
                _drop(packing)
        if only_row is not None:
            results |= {step.instance.name: StepResult("skipped") for step in steps}
            _drop(packing)
        else:
            results |= self._finish(task.shard, steps, num_rows)
        self.progress.at(len(task.steps))
        return TaskResult(results, decode_seconds=decode_seconds, packets=_finished(packing))

    def _ingest(self, task: Task, shard: int) -> tuple[pa.Table | None, StepResult]:
        assert task.work_list is not None
        assert self.spec.source is not None
        try:
            return ingest_shard(self.dataset, self.spec.source, shard, task.work_list)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 (becomes a charge, with the words in the log)
            return None, self._trouble.result(paths.IMAGES, task.name, error)

    def _charge_first(self, steps: Sequence[ShardStep], task: Task, error: Exception) -> None:
        """Charge trouble with the images, which all steps need, to the first of them.

        Where there is none, only views were to be packed: who wants them meets the same trouble.
        """
        for step in steps:
            step.failure = StepResult("skipped")
        for step in steps[:1]:
            assert task.shard is not None
            file = paths.images_path(task.shard)
            step.failure = self._trouble.result(step.instance.name, task.name, error, file)

    def _set_up(
        self, task: Task, results: dict[str, StepResult], packets: Mapping[str, int]
    ) -> list[ShardStep]:
        steps: list[ShardStep] = []
        specs: list[pixels.PixelSpec] = []
        for index, name in enumerate(task.steps):
            if name == paths.IMAGES:
                continue
            instance = self.spec.instance(name)
            if any(i in results and results[i].status != "done" for i in instance.inputs.values()):
                results[name] = StepResult("skipped")
                continue
            self.progress.at(index, BEGINNING)
            try:
                loaded = self.loaded.get(instance, partial(self._make, instance))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (becomes a sentence)
                results[name] = self._trouble.of_setup(name, error)
                continue
            spec = loaded.stage.pixels()
            if spec is None or name in packets:
                position = None
            else:
                position = _place(specs, spec)
            packet = Packet(packets[name]) if name in packets else None
            steps.append(ShardStep(index, instance, loaded, position, packet))
        self._specs = specs
        return steps

    def _begin_packing(self, task: Task) -> _Packing:
        packing: _Packing = {}
        for name in task.packs:
            spec = self.spec.instance(name).make().pixels()
            assert spec is not None
            try:
                packing[name] = (_place(self._specs, spec), PacketWriter())
            except OSError as error:
                _give_up(packing, error)
                break
        return packing

    def _make(self, instance: Instance) -> Stage[Any]:
        artifact = None
        if instance.artifact is not None:
            artifact = fit.read_artifact(self.dataset, instance.name, instance.artifact)
        return instance.make(artifact)

    def _read_inputs(self, shard: int, steps: Sequence[ShardStep]) -> dict[str, pa.Table]:
        """Read, for each instance outside this task, the columns that the steps want.

        A file that cannot be read is charged to the steps that read it, and to no other.
        """
        own = {step.instance.name for step in steps}
        wanted: dict[str, set[str]] = {}
        readers: dict[str, list[ShardStep]] = {}
        for step in steps:
            for _, owner, column in step.sources():
                if owner not in own and owner != paths.IMAGES:
                    wanted.setdefault(owner, set()).add(column)
                    readers.setdefault(owner, []).append(step)
        inputs: dict[str, pa.Table] = {}
        for owner, columns in wanted.items():
            fingerprint = self.spec.instance(owner).fingerprint
            path = paths.instance_path(owner, fingerprint, shard)
            self.progress.at(readers[owner][0].index)
            try:
                names = [*IDENTITY_NAMES, *sorted(columns)]
                inputs[owner] = self.dataset.read_instance(owner, fingerprint, shard, names)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (becomes a charge against the readers)
                for step in live(readers[owner]):
                    where = f"shard {shard}"
                    step.failure = self._trouble.result(step.instance.name, where, error, path)
        return inputs

    def _run_slice(
        self,
        shard: int,
        images: pa.Table,
        inputs: Mapping[str, pa.Table],
        steps: Sequence[ShardStep],
        marks: Marks,
        packing: _Packing,
    ) -> float:
        started = time.perf_counter()
        identity = images.select(IDENTITY_NAMES)
        views: Views = []
        if _is_seen(live(steps), packing):
            protocols = reading_protocols(self.spec.source)
            views = decode(images, self._specs, protocols, marks, self.progress)
        _pack(packing, images, views)
        decode_seconds = time.perf_counter() - started
        done: dict[str, pa.Table] = {}
        for step in live(steps):
            begun = time.perf_counter()
            self.progress.at(step.index)
            if step.reads_any({s.instance.name for s in steps if s.failure is not None}):
                step.failure = StepResult("skipped")
                continue
            try:
                table = input_table(step, identity, images, inputs, done)
                part = Shard(
                    shard,
                    table,
                    _views_of(step, views, images),
                    self.progress.row,
                )
                own = {row: text for (index, row), text in marks.items() if index == step.index}
                with step.loaded.turn:
                    result = run_stage(step.stage, part, own)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (becomes a charge)
                step.failure = self._trouble.result(step.instance.name, f"shard {shard}", error)
                continue
            finally:
                step.seconds += time.perf_counter() - begun
            named = with_identity(identity, result, step.instance.name)
            done[step.instance.name] = named
            step.parts.append(named)
        return decode_seconds

    def _finish(
        self, shard: int, steps: Sequence[ShardStep], num_rows: int
    ) -> dict[str, StepResult]:
        """Write the steps' files, or say why there is none.

        Only what was computed from values that are on disk is written: where the file of another
        worker stands, with other values, the steps after it go again and read those.
        """
        results: dict[str, StepResult] = {}
        elsewhere: set[str] = set()  # what has other values on disk than in this task, or none
        for step in steps:
            name = step.instance.name
            self.progress.at(step.index)
            is_own = False
            if step.failure is not None:
                results[name] = step.failure
            elif step.reads_any(elsewhere):
                results[name] = StepResult("skipped")
            else:
                try:
                    results[name], is_own = write_step(self.dataset, shard, step, num_rows)
                except MemoryError:
                    raise
                except Exception as error:  # noqa: BLE001 (becomes a charge)
                    results[name] = self._trouble.result(name, f"shard {shard}", error)
            if not is_own:
                elsewhere.add(name)
        return results


def _place(specs: list[pixels.PixelSpec], spec: pixels.PixelSpec) -> int:
    """Return where a specification stands among those of the task, the last if it is new."""
    if spec not in specs:
        specs.append(spec)
    return specs.index(spec)


def _is_seen(steps: Sequence[ShardStep], packing: _Packing) -> bool:
    return bool(packing) or any(step.spec is not None for step in steps)


def _views_of(
    step: ShardStep, views: Views, images: pa.Table
) -> Callable[[int], pixels.View | str] | None:
    if step.packet is not None:
        return packed_views(step.packet, images, step.instance.name)
    return None if step.spec is None else view_of(views, step.spec)


def _pack(packing: _Packing, images: pa.Table, views: Views) -> None:
    """Pack the views of a slice; without memory for that, whoever wants them makes them himself."""
    try:
        for position, writer in packing.values():
            writer.add(images["image_id"].to_pylist(), [row[position] for row in views])
    except OSError as error:
        _give_up(packing, error)


def _finished(packing: _Packing) -> dict[str, int]:
    """Return the descriptors of the packets, as far as they could be finished."""
    made: dict[str, int] = {}
    try:
        for name, (_, writer) in packing.items():
            made[name] = writer.finish()
    except OSError as error:
        _give_up({name: packing[name] for name in packing if name not in made}, error)
    return made


def _give_up(packing: _Packing, error: OSError) -> None:
    log.warning("views are not packed: %s", error)
    _drop(packing)


def _drop(packing: _Packing) -> None:
    for _, writer in packing.values():
        writer.drop()
    packing.clear()
