"""The one function that calls a stage refuses every break of the contract, by name."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation.config import Config
from curation.errors import ConfigError, ContractError
from curation.pipeline.stage import Shard, Stage, run_stage, with_identity
from schemas.columns import IDENTITY, column, table

WRITES = table(
    "probe",
    column("score", pa.float32(), "A score."),
    column("vector", pa.list_(pa.float32(), 2), "Two numbers."),
    column("words", pa.list_(pa.list_(pa.float64())), "Nested numbers."),
    column("error", pa.string(), "Why the others are null."),
)


class ProbeStage(Stage[Config]):
    """Returns what the test wants."""

    name = "probe"
    config_type = Config

    def __init__(self, answer):
        super().__init__(Config())
        self.answer = answer
        self.seen = []

    def reads(self):
        return ("images.num_bytes",)

    def writes(self):
        return WRITES

    def process(self, shard):
        self.seen = shard.column("images.num_bytes").to_pylist()
        return self.answer(shard)


def answer(shard):
    """A right answer: the score is the number of bytes."""
    sizes = shard.column("images.num_bytes").to_pylist()
    return pa.table(
        {
            "score": pa.array(sizes, pa.float32()),
            "vector": pa.array([[size, 1] for size in sizes], pa.list_(pa.float32(), 2)),
            "words": pa.array([[[size]] for size in sizes], pa.list_(pa.list_(pa.float64()))),
            "error": pa.nulls(len(sizes), pa.string()),
        }
    )


def make_shard(first=0, num_rows=4, **options):
    columns = {
        "shard": pa.array([3] * num_rows, pa.int32()),
        "row": pa.array(range(first, first + num_rows), pa.int32()),
        "image_id": pa.array([bytes([n] * 16) for n in range(num_rows)], pa.binary(16)),
        "images.num_bytes": [10 * n for n in range(first, first + num_rows)],
    }
    return Shard(3, pa.table(columns), **options)


def replaced(name, values):
    """Give the right answer but for one column."""

    def wrong(shard):
        table = answer(shard)
        return table.set_column(table.column_names.index(name), name, values)

    return ProbeStage(wrong)


def test_a_right_answer_comes_back_in_the_declared_form():
    """Columns are put in the order of `writes()`, with its metadata."""
    stage = ProbeStage(lambda shard: answer(shard).select(["error", "words", "vector", "score"]))

    result = run_stage(stage, make_shard())

    assert result.schema.equals(WRITES, check_metadata=True)
    assert result["score"].to_pylist() == [0, 10, 20, 30]


def test_an_empty_shard_is_a_shard():
    """No rows in, no rows out."""
    assert len(run_stage(ProbeStage(answer), make_shard(num_rows=0))) == 0


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        (
            ProbeStage(lambda shard: None),
            "stage probe: process returned NoneType, expected a pyarrow.Table",
        ),
        (
            ProbeStage(lambda shard: answer(shard).drop_columns(["score", "error"])),
            "stage probe: missing score, error; it must return exactly score, vector, words, error",
        ),
        (
            ProbeStage(lambda shard: answer(shard).append_column("inspect.width", [[1] * 4])),
            (
                "stage probe: unexpected inspect.width; "
                "it must return exactly score, vector, words, error"
            ),
        ),
        (
            ProbeStage(lambda shard: answer(shard).slice(1)),
            "stage probe: 4 rows in, 3 rows out",
        ),
        (
            ProbeStage(lambda shard: pa.concat_tables([answer(shard)] * 2)),
            "stage probe: 4 rows in, 8 rows out",
        ),
        (
            replaced("score", pa.array([1.0] * 4, pa.float64())),
            "stage probe, column score: type double, expected float",
        ),
        (
            replaced("vector", pa.array([[1.0]] * 4, pa.list_(pa.float32(), 1))),
            (
                "stage probe, column vector: type fixed_size_list<item: float>[1], "
                "expected fixed_size_list<item: float>[2]"
            ),
        ),
        (
            replaced("score", pa.array([1, None, float("nan"), 2], pa.float32())),
            "stage probe, column score: NaN or infinity; write null and a reason instead",
        ),
        (
            replaced("score", pa.array([1, None, float("-inf"), 2], pa.float32())),
            "stage probe, column score: NaN or infinity; write null and a reason instead",
        ),
        (
            replaced(
                "vector",
                pa.array([[1, 2], None, [float("nan"), 2], [0, 0]], pa.list_(pa.float32(), 2)),
            ),
            "stage probe, column vector: NaN or infinity; write null and a reason instead",
        ),
        (
            replaced(
                "words",
                pa.array(
                    [None, [], [None, [1.0, None]], [[float("inf")]]],
                    pa.list_(pa.list_(pa.float64())),
                ),
            ),
            "stage probe, column words: NaN or infinity; write null and a reason instead",
        ),
    ],
)
def test_a_break_of_the_contract_is_named(stage, sentence):
    """The error names the stage, the column, what was found and what was expected."""
    with pytest.raises(ContractError) as caught:
        run_stage(stage, make_shard())

    assert str(caught.value) == sentence


def failing(errors, **values):
    """Answer with nulls in the second row but for `values`, and these errors."""

    def wrong(shard):
        keep = pa.array([True, False, True, True])
        table = answer(shard)
        for index, name in enumerate(["score", "vector", "words"]):
            blank = pc.if_else(keep, table[name], pa.scalar(None, table[name].type))
            table = table.set_column(index, name, values.get(name, blank))
        return table.set_column(3, "error", pa.array(errors, pa.string()))

    return ProbeStage(wrong)


REASON = "empty: the file has no bytes"


def test_a_row_has_values_or_a_reason():
    """Nulls throughout with a reason of the vocabulary is what a bad row looks like."""
    result = run_stage(failing([None, REASON, None, None]), make_shard())

    assert result["error"].to_pylist() == [None, REASON, None, None]
    assert result["score"].to_pylist() == [0, None, 20, 30]


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        (
            failing([None] * 4),
            (
                "stage probe, row 11: every column is null and so is error; say why with "
                "schemas.error_codes.row_error"
            ),
        ),
        (
            failing([None, REASON, REASON, None]),
            (
                "stage probe, column score, row 12: has a value beside an error; a row with a "
                "reason has nulls"
            ),
        ),
        (
            failing([None, REASON, None, None], words=pa.array([[], [], [], []], WRITES[2].type)),
            (
                "stage probe, column words, row 11: has a value beside an error; a row with a "
                "reason has nulls"
            ),
        ),
        *(
            (
                failing([None, text, None, None]),
                (
                    f"stage probe, column error: {text!r} is no `code: text` of "
                    "schemas.error_codes; word it with row_error"
                ),
            )
            for text in ("broken: in its own words", "empty", "empty: ", "", "Empty: x")
        ),
    ],
)
def test_nulls_and_reasons_go_together(stage, sentence):
    """No null without a reason, no value beside one, and only reasons that others can count."""
    with pytest.raises(ContractError) as caught:
        run_stage(stage, make_shard(first=10))

    assert str(caught.value) == sentence


def test_nan_is_found_in_every_chunk():
    """A table of several pieces is checked whole."""
    stage = ProbeStage(answer)
    pieces = [pa.array([1.0, 2.0], pa.float32()), pa.array([3.0, float("nan")], pa.float32())]
    stage.answer = lambda shard: answer(shard).set_column(0, "score", pa.chunked_array(pieces))

    with pytest.raises(ContractError, match="column score: NaN"):
        run_stage(stage, make_shard())


def test_nulls_are_finite():
    """Null with a reason is how a stage says that it has no value, whatever lies below."""
    masked = pa.array([1.0, float("nan"), 3.0, 4.0], pa.float32(), mask=[False, True, False, False])
    stage = replaced("score", pa.array(masked, pa.float32()))

    assert run_stage(stage, make_shard())["score"].to_pylist() == [1, None, 3, 4]


def test_marked_rows_are_not_touched_again():
    """Rows over which a process died get nulls and the reason; the others are as ever."""
    stage = ProbeStage(answer)
    marks = {11: "crashed: SIGSEGV", 13: "timeout: no answer within 60 s", 99: "crashed: SIGBUS"}

    result = run_stage(stage, make_shard(first=10), marks)

    assert stage.seen == [100, 120]
    assert result["score"].to_pylist() == [100, None, 120, None]
    assert result["vector"].to_pylist() == [[100, 1], None, [120, 1], None]
    assert result["error"].to_pylist() == [None, marks[11], None, marks[13]]
    assert result.schema.equals(WRITES, check_metadata=True)


def test_a_shard_of_marked_rows_is_not_processed():
    """Where every row is marked, the stage is not called at all."""
    stage = ProbeStage(lambda shard: pytest.fail("called"))

    result = run_stage(stage, make_shard(num_rows=2), {0: "crashed: a", 1: "crashed: b"})

    assert result["score"].to_pylist() == [None, None]
    assert result["error"].to_pylist() == ["crashed: a", "crashed: b"]


def test_views_follow_their_rows_past_marked_ones():
    """A view belongs to its row, also where rows before it were left out."""
    seen = []

    def look(shard):
        seen.extend(shard.views())
        return answer(shard)

    shard = make_shard(_views=lambda position: f"view {position}")

    run_stage(ProbeStage(look), shard, {1: "crashed: x"})

    assert seen == ["view 0", "view 2", "view 3"]


def test_rows_tell_which_is_in_hand():
    """The runner hears the row's number, not its position, and that the loop has ended."""
    told: list[int] = []

    positions = list(make_shard(first=128, num_rows=3, _progress=told.append).rows())

    assert positions == [0, 1, 2]
    assert told == [128, 129, 130, -1]


def test_views_tell_which_row_is_in_hand():
    """Looking at views counts as work on the row."""
    told: list[int] = []
    shard = make_shard(num_rows=2, _views=lambda position: "empty: x", _progress=told.append)

    assert list(shard.views()) == ["empty: x", "empty: x"]
    assert told == [0, 1, -1]


def test_identity_and_prefix_make_the_columns_on_disk():
    """A file holds the identity of its rows, then `<instance>_<column>`."""
    shard = make_shard()

    named = with_identity(shard.table, run_stage(ProbeStage(answer), shard), "mine")

    assert named.column_names == [
        *(field.name for field in IDENTITY),
        "mine_score",
        "mine_vector",
        "mine_words",
        "mine_error",
    ]
    assert named["row"].to_pylist() == [0, 1, 2, 3]
    assert named.schema.field("mine_score").metadata == WRITES.field("score").metadata


class PlainConfig(Config):
    """What every scorer takes."""

    scorer: str = "plain"


class FancyConfig(PlainConfig):
    """What the fancy one takes besides."""

    power: int = 2


class Plain:
    """The first backend."""

    version = 1


class Fancy:
    """A backend with a configuration of its own."""

    version = 4
    config_type = FancyConfig


class GradeStage(ProbeStage):
    """A stage with backends."""

    name = "grade"
    config_type = PlainConfig
    backend_key = "scorer"
    backends = {"plain": Plain, "fancy": Fancy}
    default_backend = "plain"


def test_the_backend_brings_its_own_configuration():
    """Keys of one backend are unknown to another; without a choice the default is taken."""
    assert GradeStage.parse({}, "stages.grade") == PlainConfig(scorer="plain")
    fancy = GradeStage.parse({"scorer": "fancy", "power": 3}, "stages.grade")
    assert fancy == FancyConfig(scorer="fancy", power=3)
    with pytest.raises(ConfigError, match="stages.grade.power: unknown key"):
        GradeStage.parse({"power": 3}, "stages.grade")


def test_an_unknown_backend_is_refused():
    """The sentence names the nearest one, or all."""
    with pytest.raises(ConfigError) as caught:
        GradeStage.parse({"scorer": "fansy"}, "stages.grade")
    assert str(caught.value) == (
        "stages.grade.scorer: unknown scorer 'fansy' (did you mean fancy?)"
    )

    with pytest.raises(ConfigError) as caught:
        GradeStage.parse({"scorer": "zzz"}, "stages.grade")
    assert str(caught.value) == "stages.grade.scorer: unknown scorer 'zzz'; known: fancy, plain"
