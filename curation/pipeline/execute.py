"""One task, done inside a worker's child process.

A shard is worked on in slices: the images of a slice are decoded once for all stages that are due,
the stages run one after the other, and only their own small columns are kept. Nothing of a step is
written before the whole shard is through it.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation import pixels
from curation.dataset import Dataset
from curation.errors import ConservationError, ContractError
from curation.fingerprint import pretty_json
from curation.ingest.load import LOAD_COLUMNS, load_bytes, reading_protocols
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import read_tombstones
from curation.pipeline import fit, relation
from curation.pipeline.hindrance import hindrance, setup_hindrance
from curation.pipeline.instances import Instance
from curation.pipeline.progress import BEGINNING, OUTSIDE, PIXELS, Progress
from curation.pipeline.stage import ERROR, Shard, Stage, run_stage, with_identity
from curation.pipeline.tasks import StepResult, Task, TaskResult, WorkerSpec
from curation.tables import (
    IMAGE_ROW_GROUP,
    create_table,
    from_parquet,
    read_table,
    write_table,
)
from schemas import dataset as paths
from schemas.columns import IDENTITY
from schemas.error_codes import error_code
from schemas.images import IMAGES

SLICE_ROWS = 2 * IMAGE_ROW_GROUP
"""Rows decoded at a time: bounds the memory that views take, whatever the shard's size."""

FULL_SLICE_ROWS = 8
"""The same for stages that see pictures in full: up to 192 MB each."""

Marks = Mapping[tuple[int, int], str]
"""(step index or `PIXELS`, row) -> `code: text` for rows over which a process has died."""

_IDENTITY_NAMES = [f.name for f in IDENTITY]
log = logging.getLogger("longtail.worker")


@dataclass
class _Step:
    """A row-local step while its shard is being worked on."""

    index: int
    instance: Instance
    stage: Stage[Any]
    spec: int | None
    parts: list[pa.Table] = field(default_factory=list)
    seconds: float = 0.0
    failure: StepResult | None = None


class Executor:
    """Runs tasks; keeps stages that are set up, so that a model loads once.

    Args:
        spec: What the worker knows.
        progress: Where to say which row is in hand.
        stages: Stages that an executor before this one has set up; a fit changes the specification,
            not the models that are loaded.

    Attributes:
        stages: `<instance>/<fingerprint>` -> the stage, set up.
    """

    def __init__(
        self, spec: WorkerSpec, progress: Progress, stages: Mapping[str, Stage[Any]] | None = None
    ) -> None:
        self.spec = spec
        self.progress = progress
        self.dataset = Dataset.open(spec.dataset_url)
        self.stages: dict[str, Stage[Any]] = dict(stages or {})
        self._hindrance = ""

    def run(self, task: Task, marks: Marks, only_row: int | None = None) -> TaskResult:
        """Do `task` and write its files.

        Args:
            task: What to do.
            marks: Rows that must not be touched again.
            only_row: Work on this row alone and write no step, to find out whether the row by
                itself crashes, times out or runs out of memory.
        """
        started = time.perf_counter()
        self._hindrance = ""
        if task.kind == "shard":
            result = self._run_shard(task, marks, only_row)
        else:
            self.progress.at(0)
            result = TaskResult({task.steps[0]: self._run_whole(task)})
        seconds = time.perf_counter() - started
        return replace(result, seconds=seconds, hindrance=self._hindrance)

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
            return self._trouble(instance.name, task.name, error)
        return StepResult("done", num_rows, seconds=time.perf_counter() - started)

    # Shards ------------------------------------------------------------------------------------

    def _run_shard(self, task: Task, marks: Marks, only_row: int | None) -> TaskResult:
        assert task.shard is not None
        results: dict[str, StepResult] = {}
        images: pa.Table | None = None
        if paths.IMAGES in task.steps:
            self.progress.at(task.steps.index(paths.IMAGES))
            images, results[paths.IMAGES] = self._ingest(task, task.shard)
            if results[paths.IMAGES].status != "done":
                skipped = {s: StepResult("skipped") for s in task.steps if s not in results}
                return TaskResult({**results, **skipped})
        steps = self._set_up(task, results)
        decode_seconds = 0.0
        num_rows = 0
        if steps:
            try:
                self.progress.at(steps[0].index)
                inputs = self._read_inputs(task.shard, steps)
                for part in self._small_slices(task.shard, images, steps, only_row):
                    num_rows += len(part)
                    decode_seconds += self._run_slice(task.shard, part, inputs, steps, marks)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (becomes a charge against the first)
                for step in steps:
                    step.failure = StepResult("skipped")
                steps[0].failure = self._trouble(steps[0].instance.name, task.name, error)
        for step in steps:
            if only_row is not None:
                results[step.instance.name] = StepResult("skipped")
            else:
                self.progress.at(step.index)
                results[step.instance.name] = self._finish(task.shard, step, num_rows)
        self.progress.at(len(task.steps))
        return TaskResult(results, decode_seconds=decode_seconds)

    def _ingest(self, task: Task, shard: int) -> tuple[pa.Table | None, StepResult]:
        started = time.perf_counter()
        path = paths.images_path(shard)
        try:
            if self.dataset.store.exists(path):
                return None, self._standing(path)  # made before this task's process died
            assert task.work_list is not None
            rows = self.dataset.read_list(*task.work_list)
            rows = rows.filter(pc.equal(rows["shard"], shard))
            assert self.spec.source is not None
            images = make_image_shard(rows, self.spec.source, read_tombstones(self.dataset))
            if len(images) != len(rows):
                message = f"ingest: {len(rows)} files listed, {len(images)} rows made"
                raise ConservationError(message)
            if not create_table(self.dataset.store, path, images):
                return None, self._standing(path)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 (becomes a charge, with the words in the log)
            return None, self._trouble(paths.IMAGES, task.name, error)
        errors = _count_errors(images["source_error"])
        return images, StepResult("done", len(images), errors, time.perf_counter() - started)

    def _standing(self, path: str) -> StepResult:
        """Answer for an image shard that is there: the first one stands, whoever made it.

        Two writers differ at most in rows with passing errors. Had the second one replaced the
        file, stages that read the first would not fit to it.
        """
        source_error = read_table(self.dataset.store, path, ["source_error"])["source_error"]
        return StepResult("done", len(source_error), _count_errors(source_error))

    def _set_up(self, task: Task, results: dict[str, StepResult]) -> list[_Step]:
        steps: list[_Step] = []
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
                stage = self._stage(instance)
            except MemoryError:
                raise
            except Exception as error:
                log.warning("%s cannot be set up: %s", name, error, exc_info=error)
                self._hindrance = self._hindrance or setup_hindrance(name, error)
                results[name] = StepResult("skipped")
                continue
            spec = stage.pixels()
            if spec is not None and spec not in specs:
                specs.append(spec)
            position = specs.index(spec) if spec is not None else None
            steps.append(_Step(index, instance, stage, position))
        self._specs = specs
        return steps

    def _stage(self, instance: Instance) -> Stage[Any]:
        key = f"{instance.name}/{instance.fingerprint}"
        if key not in self.stages:
            artifact = None
            if instance.artifact is not None:
                artifact = fit.read_artifact(self.dataset, instance.name, instance.artifact)
            stage = instance.make(artifact)
            stage.setup()
            self.stages[key] = stage
        return self.stages[key]

    def _read_inputs(self, shard: int, steps: Sequence[_Step]) -> dict[str, pa.Table]:
        """Read, for each instance outside this task, the columns that the steps want."""
        own = {step.instance.name for step in steps}
        wanted: dict[str, set[str]] = {}
        for step in steps:
            for logical in step.stage.reads():
                owner, column = step.instance.source_of(logical)
                if owner not in own and owner != paths.IMAGES:
                    wanted.setdefault(owner, set()).add(column)
        return {
            owner: self.dataset.read_instance(
                owner,
                self.spec.instance(owner).fingerprint,
                shard,
                [*_IDENTITY_NAMES, *sorted(columns)],
            )
            for owner, columns in wanted.items()
        }

    def _small_slices(
        self, shard: int, images: pa.Table | None, steps: Sequence[_Step], only_row: int | None
    ) -> Iterator[pa.Table]:
        """Yield slices whose views fit into memory."""
        full = any(spec.fit == "full" for spec in self._specs)
        num_rows = FULL_SLICE_ROWS if full else SLICE_ROWS
        for part in self._slices(shard, images, steps, only_row):
            for start in range(0, len(part), num_rows):
                yield part.slice(start, num_rows)

    def _slices(
        self, shard: int, images: pa.Table | None, steps: Sequence[_Step], only_row: int | None
    ) -> Iterator[pa.Table]:
        """Yield the image rows of a shard, with the columns that are wanted, a slice at a time."""
        if only_row is not None and images is not None:
            yield images.slice(only_row, 1)
        elif images is not None:
            for start in range(0, len(images), SLICE_ROWS):
                yield images.slice(start, SLICE_ROWS)
        else:
            wanted = set(_IDENTITY_NAMES)
            if any(step.spec is not None for step in steps):
                wanted |= set(LOAD_COLUMNS)
            for step in steps:
                reads = [name.partition(".") for name in step.stage.reads()]
                wanted |= {column for owner, _, column in reads if owner == paths.IMAGES}
            names = [name for name in IMAGES.names if name in wanted]
            with self.dataset.store.open(paths.images_path(shard)) as file:
                parquet = pq.ParquetFile(file)
                per_slice = SLICE_ROWS // IMAGE_ROW_GROUP
                for first in range(0, parquet.num_row_groups, per_slice):
                    groups = range(first, min(first + per_slice, parquet.num_row_groups))
                    if only_row is None:
                        yield from_parquet(file, names, groups)
                    elif only_row // IMAGE_ROW_GROUP in groups:
                        part = from_parquet(file, names, groups)
                        yield part.slice(only_row - first * IMAGE_ROW_GROUP, 1)

    def _run_slice(
        self,
        shard: int,
        images: pa.Table,
        inputs: Mapping[str, pa.Table],
        steps: Sequence[_Step],
        marks: Marks,
    ) -> float:
        started = time.perf_counter()
        identity = images.select(_IDENTITY_NAMES)
        rows = identity["row"].to_pylist()
        views = self._decode(images, rows, marks) if self._specs else []
        decode_seconds = time.perf_counter() - started
        done: dict[str, pa.Table] = {}
        for step in steps:
            if step.failure is not None:
                continue
            begun = time.perf_counter()
            self.progress.at(step.index)
            if any(name in step.instance.inputs.values() for name in self._failed(steps)):
                step.failure = StepResult("skipped")
                continue
            try:
                table = _input_table(step, identity, images, inputs, done, rows)
                part = Shard(
                    shard,
                    table,
                    None if step.spec is None else _view_of(views, step.spec),
                    self.progress.row,
                )
                own = {row: text for (index, row), text in marks.items() if index == step.index}
                result = run_stage(step.stage, part, own)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (becomes a charge)
                step.failure = self._trouble(step.instance.name, f"shard {shard}", error)
                continue
            finally:
                step.seconds += time.perf_counter() - begun
            named = with_identity(identity, result, step.instance.name)
            done[step.instance.name] = named
            step.parts.append(named)
        return decode_seconds

    def _failed(self, steps: Sequence[_Step]) -> set[str]:
        return {step.instance.name for step in steps if step.failure is not None}

    def _decode(
        self, images: pa.Table, rows: Sequence[int], marks: Marks
    ) -> list[list[pixels.View | str]]:
        """Return, for each row, its view or error for every spec that is due."""
        protocols = reading_protocols(self.spec.source)
        self.progress.at(PIXELS)
        data = load_bytes(images, protocols)
        views: list[list[pixels.View | str]] = []
        for row, content in zip(rows, data, strict=True):
            mark = marks.get((PIXELS, row))
            self.progress.at(PIXELS, row)
            if mark is not None:
                views.append([mark] * len(self._specs))
            elif isinstance(content, str):
                views.append([content] * len(self._specs))
            else:
                views.append(pixels.views(content, self._specs))
        self.progress.at(PIXELS, OUTSIDE)
        return views

    def _finish(self, shard: int, step: _Step, num_rows: int) -> StepResult:
        """Write a step's file, or say why there is none."""
        name = step.instance.name
        if step.failure is not None:
            return step.failure
        schema = step.instance.disk_schema()
        metadata = {"table": name, "stage": step.stage.name}
        schema = schema.with_metadata(metadata)
        fingerprint = step.instance.fingerprint
        try:
            table = pa.concat_tables(step.parts) if step.parts else schema.empty_table()
            table = pa.Table.from_arrays(table.combine_chunks().columns, schema=schema)
            if len(table) != num_rows:
                message = f"{name}, shard {shard}: {num_rows} rows in, {len(table)} rows out"
                raise ConservationError(message)
            write_lineage(self.dataset, step.instance)
            write_table(self.dataset.store, paths.instance_path(name, fingerprint, shard), table)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 (becomes a charge)
            return self._trouble(name, f"shard {shard}", error)
        errors = _count_errors(table[f"{name}_{ERROR}"])
        return StepResult("done", len(table), errors, step.seconds)

    def _trouble(self, step: str, where: str, error: Exception) -> StepResult:
        """Turn an exception into a charge, or into the task's hindrance if no shard is at fault."""
        log.warning("%s, %s: %s", step, where, error, exc_info=error)
        if sentence := hindrance(f"{step}, {where}", error):
            self._hindrance = self._hindrance or sentence
            return StepResult("skipped")
        code = "contract" if isinstance(error, ContractError) else "exception"
        return StepResult("failed", code=code, text=f"{type(error).__name__}: {error}"[:1000])


def write_lineage(dataset: Dataset, instance: Instance) -> None:
    """Write `stage.json` of a configured stage unless it is there."""
    name = f"{paths.instance_folder(instance.name, instance.fingerprint)}/stage.json"
    if not dataset.store.exists(name):
        dataset.store.create(name, pretty_json(instance.lineage()))


def _view_of(views: list[list[pixels.View | str]], spec: int) -> Any:
    return lambda position: views[position][spec]


def _input_table(
    step: _Step,
    identity: pa.Table,
    images: pa.Table,
    inputs: Mapping[str, pa.Table],
    done: Mapping[str, pa.Table],
    rows: Sequence[int],
) -> pa.Table:
    """Put together the columns that a stage reads, under their logical names."""
    table = identity
    for logical in step.stage.reads():
        owner, column = step.instance.source_of(logical)
        if owner == paths.IMAGES:
            values = images[column]
        elif owner in done:
            values = done[owner][column]
        else:
            start = rows[0] if rows else 0
            upstream = inputs[owner].slice(start, len(rows))
            if upstream["image_id"].combine_chunks() != identity["image_id"].combine_chunks():
                message = f"{step.instance.name}: {owner} holds other rows than images"
                raise ContractError(message)
            values = upstream[column]
        table = table.append_column(logical, values)
    return table


def _count_errors(column: pa.ChunkedArray) -> dict[str, int]:
    counts = Counter(error_code(text) for text in column.to_pylist() if text is not None)
    return dict(sorted(counts.items()))
