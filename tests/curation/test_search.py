"""Search by example: exact, in one order, bounded in memory, and refused in sentences."""

import io
import itertools

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation.dataset import Dataset
from curation.errors import UsageError
from curation.ingest.tombstones import add_tombstones
from curation.pipeline.config import parse_pipeline
from curation.pipeline.session import Session
from curation.search import _Best, search_by_image
from schemas.embed import embed_table
from schemas.tombstones import TOMBSTONES
from stages.registry import STAGES
from tests.fakes.inline_runner import InlineRunner
from tests.stages.photographs import edited_copies, file_bytes, photograph

NAMES = ("astronaut", "brick", "coffee", "coins", "retina", "rocket")
PIPELINE = """\
name: {name}
dataset: {dataset}
source: {{name: lake, kind: folder, roots: ["{lake}"]}}
stages: {stages}
run: {{max_shard_rows: 4}}
"""


def run(root, stages="{embed: {}}", name="search"):
    """Bring the dataset up to date and return it."""
    text = PIPELINE.format(name=name, dataset=root / "data", lake=root / "lake", stages=stages)
    config = parse_pipeline(text, "search.yaml")
    assert Session(config, text, STAGES).run(InlineRunner, runner_name="inline").complete
    return Dataset.open(str(root / "data"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Six photographs, an edited copy of each, and a broken file, in shards of four."""
    folder = tmp_path_factory.mktemp("search")
    for name in NAMES:
        (folder / "lake" / name).mkdir(parents=True)
        (folder / "lake" / name / "whole.jpg").write_bytes(file_bytes(photograph(name)))
        (folder / "lake" / name / "half.jpg").write_bytes(edited_copies(photograph(name))["half"])
    (folder / "lake" / "broken.jpg").write_bytes(b"no picture")
    run(folder)
    return folder


@pytest.fixture
def dataset(root):
    return Dataset.open(str(root / "data"))


def find(dataset, data, limit=20, **options):
    return search_by_image(dataset, STAGES, data, limit=limit, **options)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_finds_itself_and_then_its_copy(root, dataset, name):
    """The same bytes score 1 to the last bit; the copy of half the size comes second."""
    found = find(dataset, (root / "lake" / name / "whole.jpg").read_bytes(), limit=3)

    assert [match.source_key for match in found.matches[:2]] == [
        f"{name}/whole.jpg",
        f"{name}/half.jpg",
    ]
    assert found.matches[0].score == 1.0
    assert 0.9 < found.matches[1].score < 1.0
    assert found.matches[2].score < found.matches[1].score
    assert (found.instance, found.num_vectors, found.num_missing) == ("embed", 12, 0)


def test_the_ranking_is_that_of_exact_cosines(root, dataset):
    """Scores are the cosines of the stored vectors, and no vector is left out."""
    data = (root / "lake" / "coffee" / "half.jpg").read_bytes()
    found = find(dataset, data, limit=100)
    vectors = {}
    instance = next(i for i in dataset.store.names("embed"))
    for shard in dataset.image_shards():
        table = dataset.read_instance("embed", instance, shard)
        rows = zip(table["row"].to_pylist(), table["embed_vector"].to_pylist(), strict=True)
        vectors.update({(shard, row): v for row, v in rows if v is not None})
    query = np.array(vectors[found.matches[0].shard, found.matches[0].row], np.float64)

    exact = {
        place: float(np.dot(v, query) / np.linalg.norm(v) / np.linalg.norm(query))
        for place, v in ((p, np.array(v, np.float64)) for p, v in vectors.items())
    }

    assert len(found.matches) == len(exact) == 12
    for match in found.matches:
        assert match.score == pytest.approx(exact[match.shard, match.row], abs=1e-12)
    assert all(a.score >= b.score for a, b in itertools.pairwise(found.matches))


def test_fewer_are_the_first_of_more(root, dataset):
    """Whatever the limit, the order is the same."""
    data = (root / "lake" / "coins" / "whole.jpg").read_bytes()

    everything = find(dataset, data, limit=50).matches

    assert [find(dataset, data, limit=n).matches for n in (1, 5, 11)] == [
        everything[:n] for n in (1, 5, 11)
    ]


def test_equal_scores_go_by_image_id_however_rows_are_cut():
    """Ties at the edge of the best are decided by id, in one shard or in many."""
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(4, 16))
    unit = (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float16)
    vectors = unit[rng.integers(0, 4, 90)]
    ids = [bytes(rng.integers(0, 256, 16, dtype=np.uint8)) for _ in vectors]
    kind = embed_table(16).field("vector").type

    def table(rows):
        flat = pa.array(vectors[rows].ravel())
        return pa.table(
            {
                "shard": pa.array([0] * len(rows), pa.int32()),
                "row": pa.array(rows, pa.int32()),
                "image_id": pa.array([ids[row] for row in rows], pa.binary(16)),
                "v": pa.FixedSizeListArray.from_arrays(flat, type=kind),
            }
        )

    def best(*parts):
        found = _Best(unit[0], 30)
        for part in parts:
            found.add(table(part), "v")
        return found.places()

    order = rng.permutation(90).tolist()
    whole = best(list(range(90)))
    assert whole == best(*(order[start : start + 7] for start in range(0, 90, 7)))
    assert whole == sorted(whole, key=lambda place: (-place[0], place[1]))
    assert len({score for score, *_ in whole}) < 5


def test_what_a_tombstone_forbids_is_not_shown(root, tmp_path):
    """A forgotten image is not found by its own picture."""
    (tmp_path / "lake").symlink_to(root / "lake")
    dataset = run(tmp_path)
    data = (root / "lake" / "rocket" / "whole.jpg").read_bytes()
    first = find(dataset, data).matches[0]
    row = {f.name: None for f in TOMBSTONES} | {"image_id": first.image_id}
    add_tombstones(dataset, pa.Table.from_pylist([row], schema=TOMBSTONES))

    found = find(dataset, data)

    assert first.image_id not in {match.image_id for match in found.matches}
    assert found.matches[0].source_key == "rocket/half.jpg"


def test_the_instance_decides_what_is_near(root, tmp_path):
    """Of two instances one must be named; each looks at pictures with its own configuration."""
    (tmp_path / "lake").symlink_to(root / "lake")
    stages = "{embed: {}, color: {stage: embed, texture_weight: 0, color_weight: 1}}"
    dataset = run(tmp_path, stages)
    picture = photograph("coffee")
    sink = io.BytesIO()
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(sink, "PNG")

    with pytest.raises(UsageError, match=r"2 instances have vectors; choose .*: embed, color"):
        find(dataset, sink.getvalue())
    by_shape = find(dataset, sink.getvalue(), instance="embed").matches
    by_color = find(dataset, sink.getvalue(), instance="color").matches

    assert {m.source_key for m in by_color[:2]} == {"coffee/whole.jpg", "coffee/half.jpg"}
    assert by_color[0].score > by_shape[0].score


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", r"cannot be embedded by embed: empty: "),
        (b"<svg/>", r"cannot be embedded by embed: unsupported: "),
    ],
)
def test_examples_that_are_no_pictures_are_refused(dataset, data, said):
    """The code that a row would get is the reason."""
    with pytest.raises(UsageError, match=said):
        find(dataset, data)


def test_wrong_requests_are_refused_in_sentences(root, dataset, tmp_path):
    """Unknown instances, datasets without vectors, and pipelines that have not run."""
    data = (root / "lake" / "coins" / "whole.jpg").read_bytes()
    (tmp_path / "lake").symlink_to(root / "lake")
    bare = run(tmp_path, "{inspect: {}}")

    with pytest.raises(UsageError, match=r"no instance 'embd' with vectors \(did you mean embed"):
        find(dataset, data, instance="embd")
    with pytest.raises(UsageError, match="no stage has written vectors; add `embed: {}`"):
        find(bare, data)
    later = PIPELINE.format(name="later", dataset="d", lake="l", stages="{embed: {}}")
    bare.store.put("pipelines/later.yaml", later.encode())
    with pytest.raises(UsageError, match="embed has finished no shard yet; run the pipeline"):
        find(bare, data, pipeline="later")
