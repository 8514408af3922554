"""`categorize: classifier`: a head that was built goes into a pipeline, or is refused."""

import json
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation.dataset import Dataset
from curation.demo import make_corpus
from curation.endpoint import EndpointConfig
from curation.errors import ConfigError, UsageError
from curation.ingest.tombstones import add_tombstones
from curation.inventory import applied_instances, choose_pipeline
from curation.pipeline.config import parse_pipeline
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.session import Session
from curation.search import choose_instance
from curation.storage import Store
from schemas.categorize import CATEGORIZE_SCORED
from schemas.tombstones import TOMBSTONES
from stages.categorize.build import BuildSettings, build
from stages.categorize.build_sample import read_sample
from stages.categorize.head import DESCRIPTION, TENSORS, Head
from stages.categorize.leaf_names import NamingModel
from stages.registry import STAGES
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.openai_server import serve

pytestmark = pytest.mark.slow

IMAGES = 150
PIPELINE = """\
name: categories
dataset: {dataset}
source: {{name: demo, kind: folder, roots: ["{images}"]}}
stages: {stages}
run: {{max_shard_rows: 100}}
"""


def session(root, stages):
    text = PIPELINE.format(dataset=root / "data", images=root / "corpus" / "images", stages=stages)
    return Session(parse_pipeline(text, "categories.yaml"), text, STAGES)


def run(root, stages, runner=InlineRunner):
    assert session(root, stages).run(runner, runner_name="test").complete
    return Dataset.open(str(root / "data"))


def build_head(dataset, out, naming=None, **settings):
    instance = choose_instance(dataset, STAGES, None, None)
    instances = applied(dataset)
    chosen = BuildSettings(**{"branching": (3, 3), "max_epochs": 2, **settings})
    return build(dataset, instances, instance, chosen, out=Store(str(out)), naming=naming)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A demo corpus with the descriptor's vectors, and a head built on them."""
    folder = tmp_path_factory.mktemp("classifier")
    make_corpus(folder / "corpus", images=IMAGES, seed=3)
    build_head(run(folder, "{embed: {}}"), folder / "head")
    return folder


def applied(dataset):
    """Return name -> instance of the only pipeline."""
    config = choose_pipeline(dataset, None)
    assert config is not None
    return {instance.name: instance for instance in applied_instances(dataset, config, STAGES)}


def classified(head, **options):
    return json.dumps(
        {"embed": {}, "categorize": {"categorizer": "classifier", "head": str(head), **options}}
    )


def categories(dataset):
    """Return the rows of the classifier and of ingest, with logical names."""
    found = applied(dataset)["categorize"]
    shards = dataset.image_shards()
    tables = [dataset.read_instance(found.name, found.fingerprint, shard) for shard in shards]
    keys = pa.concat_tables([dataset.read_images(shard, ["source_key"]) for shard in shards])
    return found, pa.concat_tables(tables).append_column("source_key", keys["source_key"])


def test_a_built_head_classifies_its_dataset(root):
    """Every row with a vector gets a leaf with score, margin and distance; the others say why."""
    dataset = run(root, classified(root / "head"), LocalRunner)

    instance, rows = categories(dataset)
    head = Head.read(root / "head")
    known = rows.filter(pc.is_null(rows["categorize_error"]))
    assert instance.make().writes().equals(CATEGORIZE_SCORED, check_metadata=True)
    assert not instance.is_fitted
    assert 0.8 * IMAGES < len(known) < IMAGES
    assert set(known["categorize_path"].to_pylist()) <= {leaf.path for leaf in head.leaves}
    for name, low, high in (("score", 1 / 9, 1), ("margin", 0, 1), ("distance", 0, 2)):
        values = known[f"categorize_{name}"].to_pylist()
        assert all(low <= value <= high for value in values), name
    lost = rows.filter(pc.is_valid(rows["categorize_error"]))
    assert set(lost["categorize_error"].to_pylist()) == {"missing_input: embed.vector is null"}
    assert lost["categorize_score"].null_count == len(lost)


def test_it_agrees_with_the_clustering_of_real_vectors(root):
    """The measured agreement is high, and no leaf is empty."""
    head = Head.read(root / "head")
    agreement, sample = head.facts["agreement"], head.facts["sample"]

    assert agreement["top1"] > 0.8
    assert agreement["top1"] > agreement["biggest_leaf"]
    assert sample["rows"] == sum(
        sample[f"{part}_rows"] for part in ("training", "validation", "test")
    )
    assert min(head.facts["leaf_rows"]) > 0


def test_leaves_are_named_by_the_words_of_their_images(root):
    """Names come from paths in the source; letters and `/` only, one part a level."""
    names = [leaf.name for leaf in Head.read(root / "head").leaves]

    assert all(name.count("/") == 1 for name in names)
    assert any(not name.split("/")[0].startswith("c0") for name in names)
    report = (root / "head" / "report.md").read_text()
    assert all(name in report for name in names)


def test_names_are_paths_where_no_names_are_wanted(root, tmp_path):
    """`names: none` reads no text at all."""
    head = build_head(Dataset.open(str(root / "data")), tmp_path / "head", names="none")

    assert [leaf.name for leaf in head.leaves] == [leaf.path for leaf in head.leaves]


def test_building_again_gives_the_same_files(root, tmp_path):
    """Byte for byte, report included; another seed does not."""
    dataset = Dataset.open(str(root / "data"))
    build_head(dataset, tmp_path / "again")
    build_head(dataset, tmp_path / "other", seed=1)

    for name in (DESCRIPTION, TENSORS, "report.md"):
        assert (tmp_path / "again" / name).read_bytes() == (root / "head" / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (root / "head" / name).read_bytes()


def fingerprint(root, head, **options):
    config = session(root, classified(head, **options))
    return config._unpinned[-1].fingerprint


def test_the_heads_content_is_its_meaning(root, tmp_path):
    """A copy elsewhere changes nothing, another leaf's name does."""
    copy = shutil.copytree(root / "head", tmp_path / "copy")
    renamed = shutil.copytree(root / "head", tmp_path / "renamed")
    description = json.loads((renamed / DESCRIPTION).read_bytes())
    description["leaves"][0]["name"] = "something else"
    (renamed / DESCRIPTION).write_text(json.dumps(description))
    (copy / "report.md").write_text("notes of mine\n")

    here, there, other = (fingerprint(root, head) for head in (root / "head", copy, renamed))

    assert here == there != other
    assert fingerprint(root, root / "head", any_vectors=True) == here


def test_a_head_for_other_vectors_is_refused(root, tmp_path):
    """The same length is not enough: before anything starts, the difference is named."""
    stages = json.loads(classified(root / "head"))
    stages["embed"] = {"color_weight": 0.3}

    with pytest.raises(
        ConfigError, match=r"config color_weight was 0\.25 and is 0\.3; build a head on these"
    ):
        session(root, json.dumps(stages)).run(InlineRunner, runner_name="test")

    stages["categorize"]["any_vectors"] = True
    for instance in session(root, json.dumps(stages))._unpinned:
        instance.make().check()


def test_a_head_for_vectors_of_another_length_is_refused(root, tmp_path):
    """Even where any vectors are wanted."""
    head = Head.read(root / "head")
    first = head.layers[0]
    shorter = type(head)(
        head.leaves,
        (type(first)(first.weight[:, :-1], first.bias, first.unit),),
        head.hidden_unit,
        head.temperature,
        head.centers[:, :-1],
        {name: value for name, value in head.facts.items() if name != "dimension"},
    )
    (tmp_path / "short").mkdir()
    for name, data in shorter.to_files().items():
        (tmp_path / "short" / name).write_bytes(data)

    with pytest.raises(
        ConfigError, match="takes vectors of 487 numbers, those of `embed` have 488"
    ):
        session(root, classified(tmp_path / "short", any_vectors=True)).run(
            InlineRunner, runner_name="test"
        )


def test_too_few_rows_are_refused(root, tmp_path):
    """The sentence says how many leaves there could be; nothing is written."""
    with pytest.raises(UsageError, match=r"too few for 10,000 leaves: .* at most \d+ leaves"):
        build_head(Dataset.open(str(root / "data")), tmp_path / "head", branching=(100, 100))
    with pytest.raises(UsageError, match="100,000 leaves, expected at most 65,536"):
        build_head(Dataset.open(str(root / "data")), tmp_path / "head", branching=(1000, 100))

    assert not (tmp_path / "head").exists()


def test_a_folder_with_something_in_it_is_refused(root, tmp_path):
    """Nothing of anybody's is overwritten."""
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(UsageError, match=r"holds 'notes\.txt'; name an empty or a new folder"):
        build_head(Dataset.open(str(root / "data")), tmp_path)


def test_captions_for_names_need_an_instance_of_caption(root, tmp_path):
    """There is none in this pipeline."""
    with pytest.raises(UsageError, match="expected one instance of caption .* found none"):
        build_head(Dataset.open(str(root / "data")), tmp_path / "head", names_from=("caption",))


def test_forgotten_images_and_copies(root, tmp_path):
    """What must never be used again is in no sample; copies of a file are on one side."""
    shutil.copytree(root / "data", tmp_path / "data")
    dataset = Dataset.open(str(tmp_path / "data"))
    instance = choose_instance(dataset, STAGES, None, None)

    def sample():
        return read_sample(
            dataset, {instance.name: instance}, instance, size=10_000, seed=0, names_from=()
        )

    before = sample()
    places = {tuple(place): part for place, part in zip(before.places, before.parts, strict=True)}
    by_content: dict[bytes, set[int]] = {}
    images = {n: dataset.read_images(n, ["content_sha256"]) for n in dataset.image_shards()}
    for (shard, row), part in places.items():
        by_content.setdefault(images[shard]["content_sha256"][row].as_py(), set()).add(int(part))
    assert len(by_content) < len(places), "the corpus has exact copies"
    assert all(len(parts) == 1 for parts in by_content.values())

    forgotten = images[0]["content_sha256"][int(before.places[0, 1])]
    shard, row = before.places[0].tolist()
    forgotten = images[shard]["content_sha256"][row].as_py()
    values = {"content_sha256": [forgotten], "reason": ["test"]}
    columns = [pa.array(values.get(f.name, [None]), f.type) for f in TOMBSTONES]
    add_tombstones(dataset, pa.Table.from_arrays(columns, schema=TOMBSTONES))

    after = {tuple(place) for place in sample().places.tolist()}
    assert (shard, row) not in after
    assert after < set(places)


def test_a_model_names_the_leaves_by_their_pictures(root, tmp_path):
    """Each leaf's sheet is made of originals of the dataset; what was named is kept."""
    dataset = Dataset.open(str(root / "data"))
    with serve() as fake:
        naming = NamingModel(EndpointConfig(url=fake.url), "fake-vl", ("file",))
        head = build_head(dataset, tmp_path / "head", naming=naming)

    count = len(head.leaves)
    assert head.facts["names"] == {
        "by": "words",
        "model": "fake-vl",
        "named": count,
        "not_named": {},
    }
    assert all("words name" in leaf.name for leaf in head.leaves)
    sheets = {asked.images[0] for asked in fake.asked[2:]}
    assert len(sheets) == count
