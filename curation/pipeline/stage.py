"""The stage contract, and the one function that calls a stage.

A stage reads some columns of a shard and owns others: one row out for each row in, in the same
order. It never drops a row and never writes another stage's columns. It imports no Ray: runners
bring it to the data through `run_stage`.

Columns have logical names, `<stage>.<column>`, inside a stage: `inspect.width`. What ingest knows
is `images.<column>`. On disk and in SQL they are `<instance>_<column>` and, for ingest, the bare
column name; the pipeline binds logical names to instances.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.config import Config, nearest, validate
from curation.errors import ConfigError, ContractError
from curation.pixels import PixelSpec, View
from curation.weights import local_weights, weights_digest
from schemas.columns import IDENTITY
from schemas.error_codes import is_row_error

C = TypeVar("C", bound=Config)

ERROR = "error"
"""Every row-local stage writes this column: `code: text` where the row has no values."""


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage holds while it lives.

    Attributes:
        cpus: Cores, as Ray counts them.
        gpus: GPUs or a fraction of one.
        memory_bytes: Address space of the child process that runs the stage's rows.
        own_pool: The stage loads something heavy and gets actors of its own, instead of being fused
            with the other CPU stages.
        shards_in_flight: Shards that a worker has in hand at once, each in a thread of its own, so
            that an engine's queue never runs empty. Above 1, `process` is called by several threads
            at the same time.
        max_workers: Workers that the pool may grow to where YAML names no `replicas`; null for as
            many as fit. Not so many where what a worker waits for is one server elsewhere.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 4 << 30
    own_pool: bool = False
    shards_in_flight: int = 1
    max_workers: int | None = None


@dataclass(frozen=True)
class Execution:
    """How a stage runs here; never part of its meaning.

    Attributes:
        device: Where its model computes, in torch's words.
        batch_size: Images that its model takes at once; null for its own choice.
        cpus: Cores of its worker, for a stage that starts a process of its own.
        gpus: GPUs of its worker, or a fraction of one.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    batch_size: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class Finding:
    """What a stage saw of its surroundings; see `Stage.probe`.

    Attributes:
        subject: What was looked at, in a word or two: `endpoint http://127.0.0.1:8000/v1`.
        is_good: Whether the stage can work with it.
        found: What there is, without secrets.
        advice: What to do; empty where nothing is to be done.
    """

    subject: str
    is_good: bool
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Cost:
    """What a stage will put on disk, about.

    Attributes:
        row_bytes: Bytes for one row, on average over those that it is given.
        what: What they are, and what is not known of them yet, in a line.
    """

    row_bytes: int
    what: str


@dataclass
class Shard:
    """Some consecutive rows of one image shard, as a stage sees them.

    A runner may hand over a shard in several slices: a stage must not assume that it sees the
    whole. Rows whose processing already killed a process are left out by the runner.

    Attributes:
        number: The shard's number.
        table: `shard`, `row`, `image_id` and the columns that the stage reads, by logical name.
    """

    number: int
    table: pa.Table
    _views: Callable[[int], View | str] | None = None
    _progress: Callable[[int], None] = field(default=lambda row: None)

    def __len__(self) -> int:
        return len(self.table)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column by its logical name, for example `inspect.width`."""
        return self.table[name]

    def rows(self) -> Iterator[int]:
        """Yield positions in `table`, telling the runner which row is in hand.

        Work that can crash, hang or eat memory on one row belongs in such a loop: then it costs
        that row, not the shard.
        """
        numbers = self.table["row"].to_pylist()
        for position, row in enumerate(numbers):
            self._progress(row)
            yield position
        self._progress(-1)

    def views(self) -> Iterator[View | str]:
        """Yield, for each row in order, its view or the `code: text` that says why there is none.

        The view follows the stage's `pixels()`; decoding is shared with the other stages that are
        due for the shard.
        """
        assert self._views is not None, "only a stage with pixels() has views"
        for position in self.rows():
            yield self._views(position)


class Stage(ABC, Generic[C]):
    """Annotate a shard: columns in, columns out, one row for each row.

    A row that cannot be processed gets nulls and a reason in `error`; raising fails the whole
    shard, which the runner tries again and, after three tries, puts into quarantine.

    So every row is one of two kinds. Either `error` is null and at least one other column has a
    value; single values may be missing, and the column's `doc` says when. Or `error` is
    `code: text` with a code of `schemas.error_codes`, and all other columns are null. Where a stage
    may find nothing in a good row, a column of its own says so: a count of 0, an empty list.

    Attributes:
        name: `[a-z_]+`; the key in YAML.
        config_type: The configuration class; everything in it is meaning and enters the
            fingerprint. A backend may bring a subclass of its own.
        backend_key: The configuration key that chooses the backend; null without backends.
        backends: Backend name -> class with `version` and, if it differs, `config_type`.
        default_backend: The backend taken where YAML names none.
        resources: What a worker needs; a backend may have its own, YAML's `run:` overrides both.
        execution: How it runs here; set by whoever makes it.
        facts: What `learn` said, here or where the pipeline was run.
        upstream: Logical stage name -> the stage that it reads, as configured and not set up.
        read_meanings: Logical column -> what it means, for every column that it reads; empty while
            a fit before it is waited for. Weights made for some columns can refuse others.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[Config]]
    backend_key: ClassVar[str | None] = None
    backends: ClassVar[Mapping[str, Any]] = {}
    default_backend: ClassVar[str | None] = None
    resources: ClassVar[Resources] = Resources()

    def __init__(self, config: C, artifact: Mapping[str, bytes] | None = None) -> None:
        """Keep the configuration; nothing is loaded before `setup`.

        Args:
            config: A checked configuration.
            artifact: The files of the fitted artefact, for a `FittedStage` that has one.
        """
        self.config = config
        self.artifact = artifact
        self.execution = Execution()
        self.facts: Mapping[str, Any] = {}
        self.upstream: Mapping[str, Stage[Any]] = {}
        self.read_meanings: Mapping[str, str] = {}

    @classmethod
    def parse(cls, value: Mapping[str, Any], where: str) -> Config:
        """Check a YAML mapping and return the configuration of the chosen backend.

        Raises:
            ConfigError: Unknown backend or key (with the nearest known one), or a wrong type.
        """
        value = dict(value)
        config_type = cls.config_type
        if cls.backend_key is not None:
            name = str(value.setdefault(cls.backend_key, cls.default_backend))
            if name not in cls.backends:
                known = sorted(cls.backends)
                hint = nearest(name, known) or f"; known: {', '.join(known)}"
                message = f"{where}.{cls.backend_key}: unknown {cls.backend_key} {name!r}{hint}"
                raise ConfigError(message)
            config_type = getattr(cls.backends[name], "config_type", config_type)
        return validate(config_type, value, where)

    @property
    def backend(self) -> Any:
        """The class of the chosen backend; null for a stage without backends."""
        if self.backend_key is None:
            return None
        return self.backends[getattr(self.config, self.backend_key)]

    @property
    def needs(self) -> Resources:
        """What a worker needs as configured: the backend's word, else the stage's."""
        found: Resources = getattr(self.backend, "resources", None) or self.resources
        return found

    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Return the logical names of the columns that this configured stage reads."""

    @abstractmethod
    def writes(self) -> pa.Schema:
        """Return the columns that this configured stage owns, without prefix or identity.

        Every row-local stage has `error` among them.
        """

    def pixels(self) -> PixelSpec | None:
        """Return what `Shard.views` shall show; null for a stage that looks at no image."""
        return None

    def digests(self) -> Mapping[str, str]:
        """Return digests of prompts and of weights that come with packages, for the fingerprint."""
        return {}

    def weights(self) -> Mapping[str, str]:
        """Return role -> reference of weights that the user names; see `curation.weights`.

        Their place is no part of the meaning, so it stands in a configuration field with
        `exclude=True`; the digest of their content is.
        """
        return {}

    def learn(self) -> Mapping[str, Any]:
        """Return, as JSON, what must be known of weights and packages before `setup`.

        It is kept with the pipeline, so that whoever reads the dataset needs neither. `weights`
        in it enters the fingerprint: role -> digest of what `weights` names.

        Raises:
            MissingWeightsError: They are not here; says how to get them. Only then may what an
                earlier run learnt of them stand in.
            ConfigError: They are here and wrong.
        """
        named = self.weights()
        return {"weights": {role: weights_digest(named[role]) for role in named}} if named else {}

    def weights_path(self, role: str) -> Path:
        """Return where the weights of a role lie on this machine, fetched if need be.

        Raises:
            ConfigError: They are not to be had, or are not those that the plan was made with.
        """
        return local_weights(self.weights()[role], self.facts["weights"][role])

    def check(self) -> None:
        """Refuse what cannot work here, such as a package that is not installed.

        Called where a run is driven, before it starts anything. To read what the stage wrote, none
        of it is needed.

        Raises:
            ConfigError: Says what is missing and how to get it.
        """

    def probe(self) -> Iterable[Finding]:
        """Look at what the stage would use besides packages and weights, and say what is there.

        `longtail doctor` calls it, nothing else does: an endpoint answers and knows the model, a
        Python of its own has its packages. It loads no weights, computes nothing, ends within
        seconds, and raises nothing for what is absent or refuses: that is a finding.
        """
        return ()

    def cost_reads(self) -> tuple[str, ...] | None:
        """Return those of `reads` that `cost` looks at; null for a stage whose columns are small.

        What a stage with `cost_reads` will put on disk is said before it is built.
        """
        return None

    def cost(self, sample: pa.Table) -> Cost:
        """Estimate what the stage will put on disk; called before anything is run.

        Args:
            sample: Some rows of `cost_reads`, by logical name; none where they are not there yet.
        """
        raise NotImplementedError(self.name)

    def setup(self) -> None:
        """Load what `process` needs; called once in the process that runs the stage."""

    @abstractmethod
    def process(self, shard: Shard) -> pa.Table:
        """Return `writes()` for the rows of `shard`, in order, without identity columns."""


class FittedStage(Stage[C]):
    """A row-local stage whose values come from an artefact fitted once on a sample.

    The artefact is pinned: new shards never change it, re-fitting is an explicit command. `setup`
    finds its files in `self.artifact`.
    """

    def needs_fit(self) -> bool:
        """Return whether this configured stage is fitted at all.

        A backend that brings all it needs, such as a trained head, says no: then nothing is
        sampled, pinned or waited for, and `self.artifact` is null.
        """
        return True

    @abstractmethod
    def fit_reads(self) -> tuple[str, ...]:
        """Return the logical names of the metadata columns that `fit` reads."""

    def fit_optional(self) -> tuple[str, ...]:
        """Return those of `fit_reads` that may be null in a row of the sample."""
        return ()

    def fit_ignores(self) -> frozenset[str]:
        """Return keys of the configuration and roles of `weights` that `fit` does not look at.

        They decide on values all the same. When one of them changes, the artefact stays.
        """
        return frozenset()

    def fit_with(self) -> str | None:
        """Return the logical name of a stage whose workers shall do the fit; null for any.

        A fit that needs the model of a stage that it reads gets its device and memory that way.
        """
        return None

    @abstractmethod
    def fit_sample(self) -> tuple[int, int]:
        """Return the sample's size in rows and the seed that draws it.

        The sample is the rows with the smallest hash of `image_id` and seed, in that order, among
        rows in which no column that `fit` needs is null. It does not depend on shard sizes.
        """

    @abstractmethod
    def fit(self, sample: pa.Table) -> Mapping[str, bytes]:
        """Return the artefact as named files, deterministically, from at least one row.

        `setup` is not called before: it is for `process`, which needs the artefact.
        """


class RelationStage(Stage[C]):
    """A whole-dataset answer, such as duplicate groups: edges between blocks, then groups.

    Row-local stages may not read it; snapshots do. A block is a run of consecutive shards. Edges of
    a pair of blocks are kept for ever; groups are made anew for each set of shards.
    """

    @abstractmethod
    def edge_schema(self) -> pa.Schema:
        """Return the schema of an edge table."""

    @abstractmethod
    def edges(self, left: pa.Table, right: pa.Table | None) -> pa.Table:
        """Return the edges between two blocks, or within `left` if `right` is null.

        Both have `shard`, `row`, `image_id` and the columns of `reads()` by logical name. Whether
        two rows are linked may depend on those two rows alone, never on the block's other rows:
        else the shard size would change the answer.
        """

    @abstractmethod
    def groups(
        self, rows: pa.Table, edges: Iterable[pa.Table]
    ) -> tuple[pa.Table, Mapping[str, Any]]:
        """Return `writes()` for every row of `rows`, in order, and facts for the report.

        `rows` has `shard`, `row`, `image_id` and the columns of `reads()`.
        """

    def process(self, shard: Shard) -> pa.Table:
        """Relations are never run by shard."""
        raise NotImplementedError(self.name)


def is_fitted(stage: Stage[Any]) -> bool:
    """Say whether a stage, as configured, needs an artefact."""
    return isinstance(stage, FittedStage) and stage.needs_fit()


def run_stage(stage: Stage[Any], shard: Shard, marks: Mapping[int, str] | None = None) -> pa.Table:
    """Call `stage.process` and check everything that the contract promises.

    Args:
        stage: A stage that is set up.
        shard: Its rows, with exactly the columns of `reads()`.
        marks: Row number -> `code: text` for rows that must not be touched again, because a process
            died over them. They get nulls and that reason.

    Returns:
        The columns of `writes()`, one row for each row of `shard`.

    Raises:
        ContractError: Names the stage and the column that is missing, unexpected, of the wrong type
            or length, or not finite; or the row that has neither values nor a reason, values beside
            a reason, or a reason that is none of `schemas.error_codes`.
    """
    schema = stage.writes()
    total = len(shard)
    rows = shard.table["row"].to_pylist()
    marked = [position for position, row in enumerate(rows) if marks and row in marks]
    if marked:
        keep = [p for p in range(total) if p not in set(marked)]
        views = shard._views
        shard = Shard(
            shard.number,
            shard.table.take(pa.array(keep, pa.int64())),
            (lambda position: views(keep[position])) if views is not None else None,
            shard._progress,
        )
    result = stage.process(shard) if len(shard) or not marked else schema.empty_table()
    _check(stage.name, schema, result, len(shard))
    _check_reasons(stage.name, result, shard.table["row"])
    result = pa.Table.from_arrays([result[f.name] for f in schema], schema=schema)
    if marked:
        assert marks is not None
        order: list[int | None] = [None] * total
        for source, target in enumerate(keep):
            order[target] = source
        result = result.take(pa.array(order, pa.int64()))
        reasons = pa.array([marks.get(row) for row in rows], pa.string())
        errors = pc.coalesce(reasons, result[ERROR])
        result = result.set_column(schema.get_field_index(ERROR), schema.field(ERROR), errors)
    return result


def _check(name: str, schema: pa.Schema, result: pa.Table, num_rows: int) -> None:
    if not isinstance(result, pa.Table):
        message = (
            f"stage {name}: process returned {type(result).__name__}, expected a pyarrow.Table"
        )
        raise ContractError(message)
    missing = [f.name for f in schema if f.name not in result.column_names]
    extra = [c for c in result.column_names if c not in schema.names]
    if missing or extra:
        found = f"missing {', '.join(missing)}" if missing else f"unexpected {', '.join(extra)}"
        message = f"stage {name}: {found}; it must return exactly {', '.join(schema.names)}"
        raise ContractError(message)
    if len(result) != num_rows:
        message = f"stage {name}: {num_rows} rows in, {len(result)} rows out"
        raise ContractError(message)
    for column_field in schema:
        column = result[column_field.name]
        where = f"stage {name}, column {column_field.name}"
        if column.type != column_field.type:
            message = f"{where}: type {column.type}, expected {column_field.type}"
            raise ContractError(message)
        if not _finite(column):
            message = f"{where}: NaN or infinity; write null and a reason instead"
            raise ContractError(message)


def _check_reasons(name: str, result: pa.Table, rows: pa.ChunkedArray) -> None:
    """Refuse rows without values and reason, with both, and reasons outside the vocabulary."""
    if ERROR not in result.column_names:
        return
    reasons = result[ERROR]
    owned = [result[column] for column in result.column_names if column != ERROR]
    empty = _all_null(owned, len(result))
    failed = pc.is_valid(reasons)
    silent = pc.and_(empty, pc.invert(failed))
    if owned and (row := _first(silent, rows)) is not None:
        message = (
            f"stage {name}, row {row}: every column is null and so is {ERROR}; say why with "
            "schemas.error_codes.row_error"
        )
        raise ContractError(message)
    if (row := _first(pc.and_(failed, pc.invert(empty)), rows)) is not None:
        both = next(
            column
            for column in result.column_names
            if column != ERROR and _first(pc.and_(failed, pc.is_valid(result[column])), rows) == row
        )
        message = (
            f"stage {name}, column {both}, row {row}: has a value beside an {ERROR}; a row with a "
            "reason has nulls"
        )
        raise ContractError(message)
    for reason in pc.unique(reasons).to_pylist():
        if reason is not None and not is_row_error(reason):
            message = (
                f"stage {name}, column {ERROR}: {reason[:80]!r} is no `code: text` of "
                "schemas.error_codes; word it with row_error"
            )
            raise ContractError(message)


def _all_null(columns: Sequence[pa.ChunkedArray], num_rows: int) -> pa.ChunkedArray:
    empty = pa.chunked_array([pa.repeat(True, num_rows)])
    for column in columns:
        empty = pc.and_(empty, pc.is_null(column))
    return empty


def _first(wanted: pa.ChunkedArray, rows: pa.ChunkedArray) -> int | None:
    """Return the number of the first row for which `wanted` is true."""
    position = pc.index(wanted, True).as_py()
    return None if position < 0 else int(rows[position].as_py())


def _finite(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if pa.types.is_floating(kind):
        for chunk in column.chunks:
            values = chunk.drop_null().to_numpy(zero_copy_only=False)
            if not bool(np.isfinite(values).all()):
                return False
        return True
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        flat = [chunk.flatten() for chunk in column.chunks]
        return all(_finite(pa.chunked_array([values])) for values in flat)
    return True


def with_identity(shard: pa.Table, result: pa.Table, prefix: str) -> pa.Table:
    """Put the identity columns of `shard` before `result`, whose columns get `prefix`."""
    fields = [*IDENTITY, *(f.with_name(f"{prefix}_{f.name}") for f in result.schema)]
    arrays = [shard[f.name] for f in IDENTITY] + list(result.columns)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
