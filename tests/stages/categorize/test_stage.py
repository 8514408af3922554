"""The stage `categorize`: fitted on a sample, then every vector gets its category."""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from curation.errors import ConfigError, DatasetError
from curation.fingerprint import digest_files
from curation.pipeline.stage import Shard, run_stage
from schemas.categorize import CATEGORIZE
from schemas.columns import IDENTITY
from schemas.embed import embed_table
from schemas.training import CAPTION
from stages.categorize.categorizer import CategorizeConfig
from stages.categorize.clusters import CENTERS, MODEL
from stages.categorize.columns import KEY, VECTOR
from stages.categorize.stage import CategorizeStage
from tests.stages.categorize.test_kmeans import blobs, unit_vectors
from tests.stages.photographs import embed_stage, file_bytes, image_shard, photograph, vectors_of


def vector_column(vectors, null=()):
    """Return vectors as a column of `embed`, the rows in `null` without one."""
    kind = embed_table(vectors.shape[1]).field("vector").type
    missing = pa.array([row in null for row in range(len(vectors))], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=kind, mask=missing)


def sample_of(vectors, keys=None, alt_texts=None):
    count = len(vectors)
    return pa.table(
        {
            VECTOR: vector_column(vectors),
            KEY: pa.array(keys or [f"{number}.jpg" for number in range(count)], pa.string()),
            "images.alt_text": pa.array(alt_texts or [None] * count, pa.string()),
        }
    )


def shard_of(vectors, null=()):
    count = len(vectors)
    identity = [
        pa.array([0] * count, pa.int32()),
        pa.array(range(count), pa.int32()),
        pa.array([number.to_bytes(16, "big") for number in range(count)], pa.binary(16)),
    ]
    names = [*(f.name for f in IDENTITY), VECTOR]
    return Shard(0, pa.table([*identity, vector_column(vectors, null)], names=names))


def unfitted(**config):
    parsed = CategorizeStage.parse(config, "stages.categorize")
    assert isinstance(parsed, CategorizeConfig)
    return CategorizeStage(parsed)


def fitted(vectors, **config):
    """Return a stage fitted on `vectors` and set up."""
    stage = unfitted(**config)
    stage = CategorizeStage(stage.config, stage.fit(sample_of(vectors)))
    stage.setup()
    return stage


def test_blobs_become_categories_in_order_of_size():
    """Each blob gets a path, a leaf number and a small distance; the biggest is c000."""
    vectors, truth = blobs((120, 60, 30))
    stage = fitted(vectors, branching=[3])

    result = run_stage(stage, shard_of(vectors))

    assert result.schema.equals(CATEGORIZE, check_metadata=True)
    assert result["leaf"].to_pylist() == truth.tolist()
    assert result["path"].to_pylist() == [f"c00{label}" for label in truth]
    assert 0 < max(result["distance"].to_pylist()) < 0.1
    assert result["error"].null_count == len(vectors)


def test_rows_without_a_vector_say_so():
    """A null vector gives nulls and `missing_input`, and moves no neighbour."""
    vectors, _ = blobs((20, 10))
    stage = fitted(vectors, branching=[2])

    whole = run_stage(stage, shard_of(vectors))
    holed = run_stage(stage, shard_of(vectors, null=(0, 7, 29)))

    gone = [0, 7, 29]
    kept = [row for row in range(30) if row not in gone]
    assert holed.take(kept).equals(whole.take(kept))
    assert (
        holed.take(gone).to_pylist()
        == [
            {
                "path": None,
                "name": None,
                "leaf": None,
                "distance": None,
                "error": "missing_input: embed.vector is null",
            }
        ]
        * 3
    )


@pytest.mark.parametrize("null", [(), range(4)])
def test_shards_without_vectors_are_fine(null):
    """An empty shard, and one in which every vector is null, keep the contract."""
    stage = fitted(unit_vectors(9, 8), branching=[2])

    result = run_stage(stage, shard_of(unit_vectors(len(null), 8), null))

    assert result["path"].to_pylist() == [None] * len(null)


def test_shuffled_and_sliced_rows_get_the_same_answer():
    """Order and slices of a shard decide nothing; marked rows keep their reason."""
    vectors = unit_vectors(700, 40)
    stage = fitted(vectors[:300], branching=[11])
    order = np.random.default_rng(1).permutation(700)

    whole = run_stage(stage, shard_of(vectors))
    mixed = run_stage(stage, shard_of(vectors[order]))
    slices = [run_stage(stage, shard_of(vectors[s : s + 97])) for s in range(0, 700, 97)]
    marked = run_stage(stage, shard_of(vectors), marks={5: "crashed: SIGSEGV"})

    assert mixed.equals(whole.take(order))
    assert pa.concat_tables(slices).combine_chunks().equals(whole.combine_chunks())
    assert marked["error"].to_pylist()[5] == "crashed: SIGSEGV"
    assert marked.slice(6).to_pylist() == whole.slice(6).to_pylist()


def test_fitting_twice_gives_the_same_bytes():
    """The artefact's digest is a function of the sample and the configuration."""
    sample = sample_of(unit_vectors(500, 32))

    first, again, seeded = (unfitted(branching=[9], seed=seed).fit(sample) for seed in (4, 4, 5))

    assert digest_files(first) == digest_files(again) != digest_files(seeded)


def test_the_artifact_says_what_was_found():
    """The model names every cluster with its size, and how many were asked for."""
    vectors, _ = blobs((40, 30, 20))

    files = unfitted(branching=[3], iterations=20).fit(sample_of(vectors))

    model = json.loads(files[MODEL])
    centers = np.load(io.BytesIO(files[CENTERS]), allow_pickle=False)
    assert set(files) == {MODEL, CENTERS}
    assert (centers.shape, centers.dtype) == ((3, 32), np.int16)
    assert model == {
        "format": 2,
        "kind": "clusters",
        "levels": 1,
        "unit": 16384,
        "dimension": 32,
        "num_clusters": 3,
        "requested_branching": [3],
        "sample_rows": 90,
        "converged": True,
        "nodes": [
            {"path": "c000", "name": "c000", "sample_rows": 40},
            {"path": "c001", "name": "c001", "sample_rows": 30},
            {"path": "c002", "name": "c002", "sample_rows": 20},
        ],
    }


def test_a_small_sample_gives_fewer_clusters_than_asked_for():
    """Five rows make at most five clusters, and the artefact tells both numbers."""
    files = unfitted(branching=[64]).fit(sample_of(unit_vectors(5, 16)))

    model = json.loads(files[MODEL])
    assert (model["num_clusters"], model["requested_branching"]) == (5, [64])


def test_paths_sort_as_numbers_do():
    """With more than a thousand clusters the names grow a digit."""
    stage = fitted(unit_vectors(1001, 64), branching=[1001], iterations=1)

    paths = [leaf.path for leaf in stage._leaves]
    assert (paths[0], paths[-1]) == ("c0000", "c1000")
    assert paths == sorted(paths)


def test_what_the_fit_asks_of_the_runner():
    """Size and seed are configuration; the vector is needed, the texts for names need not be."""
    stage = unfitted(sample_rows=1234, seed=9)

    assert stage.fit_sample() == (1234, 9)
    assert stage.reads() == (VECTOR,)
    assert stage.fit_reads() == (VECTOR, KEY, "images.alt_text")
    assert stage.fit_optional() == (KEY, "images.alt_text")
    assert unfitted(names_from=[]).fit_reads() == (VECTOR,)
    assert unfitted(names_from=["caption"]).fit_optional() == ("caption.captions",)
    assert unfitted().fit_sample() == (200_000, 0)


def test_foreign_artifacts_are_refused_in_a_sentence():
    """A newer format, a missing file and vectors of another length are told, not guessed at."""
    stage = unfitted(branching=[2])
    files = dict(stage.fit(sample_of(unit_vectors(9, 8))))
    newer = {**files, MODEL: files[MODEL].replace(b'"format": 2', b'"format": 3')}

    with pytest.raises(DatasetError, match="update Longtail or fit again"):
        CategorizeStage(stage.config, newer).setup()
    with pytest.raises(DatasetError, match=r"has no centers\.npy"):
        CategorizeStage(stage.config, {MODEL: files[MODEL]}).setup()
    loaded = CategorizeStage(stage.config, files)
    loaded.setup()
    with pytest.raises(DatasetError, match="fitted on vectors of 8 numbers, these have 16"):
        loaded.process(shard_of(unit_vectors(3, 16)))


def test_wrong_settings_are_refused():
    """No cluster at all, and unknown keys, are configuration errors."""
    for branching in ([0], [], [300, 300], [8, 6, "x"], 8):
        with pytest.raises(ConfigError, match="branching"):
            unfitted(branching=branching)
    with pytest.raises(ConfigError, match="branching"):
        unfitted(branchin=[3])


def test_the_stage_travels_to_another_process():
    """A stage with its artefact pickles before and after `setup`."""
    vectors = unit_vectors(40, 8)
    stage = fitted(vectors, branching=[4])
    fresh = pickle.loads(pickle.dumps(CategorizeStage(stage.config, stage.artifact)))
    fresh.setup()

    results = [
        run_stage(s, shard_of(vectors)) for s in (stage, fresh, pickle.loads(pickle.dumps(stage)))
    ]

    assert results[0].equals(results[1])
    assert results[0].equals(results[2])


def test_windows_of_one_photograph_share_a_category():
    """Random windows of six photographs fall into clusters that are nearly of one photograph."""
    names = ("astronaut", "brick", "coins", "dahlia", "galaxies", "retina")
    rng = np.random.default_rng(0)
    files, truth = [], []
    for number, name in enumerate(names):
        image = photograph(name)
        for _ in range(12):
            edge = rng.uniform(0.6, 0.9)
            left, top = rng.uniform(0, 1 - edge, 2)
            box = [left, top, left + edge, top + edge]
            size = [*image.size, *image.size]
            files.append(
                file_bytes(image.crop([int(b * s) for b, s in zip(box, size, strict=True)]))
            )
            truth.append(number)
    embed = embed_stage()
    vectors = vectors_of(embed.process(image_shard(files, embed.pixels())))

    for num_clusters in (6, 9, 12):
        stage = fitted(vectors, branching=[num_clusters])
        leaves = np.array(run_stage(stage, shard_of(vectors))["leaf"].to_pylist())
        largest = [np.bincount(np.array(truth)[leaves == leaf]).max() for leaf in set(leaves)]
        assert len(largest) == num_clusters
        assert sum(largest) / len(truth) > 0.8


def test_three_levels_are_the_default():
    """Paths have three parts, names as many, and siblings have different names."""
    vectors, truth = blobs((60, 50, 40, 30, 20))
    animals = ("dog", "cat", "owl", "eel", "bee")
    keys = [f"zoo/{animals[label]}/{row}.jpg" for row, label in enumerate(truth)]
    stage = unfitted()
    stage = CategorizeStage(stage.config, stage.fit(sample_of(vectors, keys)))
    stage.setup()

    result = run_stage(stage, shard_of(vectors))

    paths, names = result["path"].to_pylist(), result["name"].to_pylist()
    assert {path.count("/") for path in paths} == {2}
    assert {name.count("/") for name in names} == {2}
    assert {name.split("/")[0].split()[0] for name in names} == set(animals)
    assert len(set(zip(paths, names, strict=True))) == len(set(paths)) == len(set(names))
    first = dict(zip(truth.tolist(), names, strict=True))
    assert first[0].startswith("dog/")


def test_names_come_from_alt_texts_and_captions_too():
    """What `names_from` says is read, and nothing else; a missing text names nothing."""
    vectors, truth = blobs((30, 20))
    alt_texts = [("A red kite", None)[label] for label in truth]
    captions = [
        [{"variant": "tags", "language": "en", "text": ("boat", "lake")[label]}] for label in truth
    ]
    kind = pa.list_(CAPTION)
    sample = sample_of(vectors, alt_texts=alt_texts)
    sample = sample.append_column("caption.captions", pa.array(captions, kind))

    def names(**config):
        files = unfitted(branching=[2], **config).fit(sample)
        return [node["name"] for node in json.loads(files[MODEL])["nodes"]]

    assert names() == ["kite red", "c001"]
    assert names(names_from=["caption"]) == ["boat", "lake"]
    assert names(names_from=["source_key"]) == ["c000", "c001"]


def test_an_artifact_of_one_level_and_no_names_is_read():
    """What version 1 fitted stays of use: format 1, named by `artifact:`."""
    vectors, _ = blobs((30, 20))
    stage = unfitted(branching=[2])
    files = dict(stage.fit(sample_of(vectors)))
    model = json.loads(files[MODEL])
    for node in model["nodes"]:
        del node["name"]
    files[MODEL] = json.dumps({**model, "format": 1}).encode()

    old = CategorizeStage(stage.config, files)
    old.setup()

    result = run_stage(old, shard_of(vectors))
    assert result["path"].to_pylist() == result["name"].to_pylist()
    assert set(result["path"].to_pylist()) == {"c000", "c001"}
