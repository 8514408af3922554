"""`categorize: taxonomy`: texts in a tree, and the category of a vector."""

import numpy as np
import pytest

from curation.errors import ConfigError, DatasetError, MissingWeightsError, UsageError
from curation.fingerprint import digest_files
from curation.pipeline.stage import run_stage
from schemas.categorize import CATEGORIZE_SCORED
from stages.categorize.stage import CategorizeStage
from stages.categorize.taxonomy import TaxonomyConfig, make_artifact, open_artifact
from stages.categorize.taxonomy_file import SHIPPED, read_taxonomy
from stages.embed.embedder import EmbedConfig
from stages.embed.stage import EmbedStage
from tests.fakes.tiny_clip import clip_folder
from tests.stages.categorize.test_kmeans import unit_vectors
from tests.stages.categorize.test_stage import sample_of, shard_of

TREE = """\
format: 1
name: small
templates: ["a photo of {}", "{}"]
children:
  - name: animals
    children: [cat, dog, horse]
  - name: places
    prompts: [a place]
    children:
      - name: towns
        children: [Lagos, Lima]
      - {name: hills, children: [Fuji, Uluru]}
"""
LEAVES = ["animals/cat", "animals/dog", "animals/horse", "other", "places/hills/fuji"]
LEAVES += ["places/hills/uluru", "places/towns/lagos", "places/towns/lima"]
DIMENSION = 16


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "tree.yaml"
    path.write_text(TREE, encoding="utf-8")
    return path


def stage_of(artifact=None, **config):
    parsed = CategorizeStage.parse({"categorizer": "taxonomy", **config}, "stages.categorize")
    assert isinstance(parsed, TaxonomyConfig)
    stage = CategorizeStage(parsed, artifact)
    if artifact is not None:
        stage.setup()
    return stage


def planted(tree, logit_scale=50.0):
    """Return an artefact in which every leaf has a direction of its own, and those directions."""
    taxonomy = read_taxonomy(tree)
    texts = np.linalg.qr(np.random.default_rng(0).normal(size=(DIMENSION, DIMENSION)))[0]
    texts = texts[: len(taxonomy.nodes)]
    own = {n.path: texts[i] for i, n in enumerate(taxonomy.nodes) if n.is_leaf}
    given = np.where([[bool(n.texts)] for n in taxonomy.nodes], texts, 0)
    return make_artifact(taxonomy, given, logit_scale), own


def test_an_image_gets_the_category_whose_texts_are_nearest(tree):
    """Vectors planted near a leaf's texts get its path, name and number, and a score near 1."""
    artifact, own = planted(tree)
    noise = 0.1 * np.random.default_rng(1).normal(size=(len(own), DIMENSION))
    vectors = np.stack(list(own.values())) + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    result = run_stage(stage_of(artifact), shard_of(vectors.astype(np.float16)))

    assert result.schema.equals(CATEGORIZE_SCORED, check_metadata=True)
    assert result["path"].to_pylist() == list(own)
    assert result["name"][list(own).index("places/towns/lima")].as_py() == "places/towns/Lima"
    assert [LEAVES[leaf] for leaf in result["leaf"].to_pylist()] == list(own)
    assert min(result["score"].to_pylist()) > 0.9
    cosines = (vectors * np.stack(list(own.values()))).sum(axis=1)
    assert result["distance"].to_pylist() == pytest.approx((1 - cosines).tolist(), abs=1e-3)


def test_score_and_margin_are_probabilities(tree):
    """Between two leaves of one parent the score is about a half and the margin about nothing."""
    artifact, own = planted(tree)
    middle = own["animals/cat"] + own["animals/dog"]
    vectors = np.stack([own["animals/cat"], middle / np.linalg.norm(middle)]).astype(np.float16)

    result = run_stage(stage_of(artifact), shard_of(vectors))

    scores, margins = result["score"].to_pylist(), result["margin"].to_pylist()
    assert scores[1] == pytest.approx(0.5, abs=0.01)
    assert margins[1] == pytest.approx(0, abs=0.02)
    assert margins[0] > 0.9
    assert all(0 <= margin <= score <= 1 for margin, score in zip(margins, scores, strict=True))


def test_what_fits_no_category_is_other(tree):
    """Below the threshold the path is `other`, and score and margin say what was refused."""
    artifact, own = planted(tree, logit_scale=5.0)
    vectors = np.stack([own["animals/dog"], *unit_vectors(6, DIMENSION)]).astype(np.float16)

    free = run_stage(stage_of(artifact, threshold=0), shard_of(vectors))
    scores = free["score"].to_pylist()
    threshold = sorted(scores)[3]
    strict = run_stage(stage_of(artifact, threshold=threshold), shard_of(vectors))

    assert "other" not in free["path"].to_pylist()
    for row, score in enumerate(scores):
        refused = score < threshold
        assert strict["path"][row].as_py() == ("other" if refused else free["path"][row].as_py())
    is_other = strict["path"].to_pylist().index("other")
    assert strict["name"][is_other].as_py() == "other"
    assert LEAVES[strict["leaf"][is_other].as_py()] == "other"
    assert strict.select(["score", "margin", "distance"]).equals(
        free.select(["score", "margin", "distance"])
    )


def test_a_higher_temperature_is_less_sure(tree):
    """Temperature divides the model's scale: the order of leaves stays, the score falls."""
    artifact, _ = planted(tree)
    vectors = unit_vectors(50, DIMENSION)

    cold, warm = (
        run_stage(stage_of(artifact, temperature=t, threshold=0), shard_of(vectors))
        for t in (0.5, 4)
    )

    sure, unsure = (np.array(result["score"].to_pylist()) for result in (cold, warm))
    assert (unsure < sure).all()
    halved, _ = planted(tree, logit_scale=12.5)
    again = run_stage(stage_of(halved, threshold=0), shard_of(vectors))
    assert again.equals(warm)


def test_rows_decide_alone_and_without_a_vector_say_so(tree):
    """Slices and order change nothing; a null vector gives nulls and a reason."""
    artifact, _ = planted(tree, logit_scale=10.0)
    stage = stage_of(artifact)
    vectors = unit_vectors(90, DIMENSION)
    order = np.random.default_rng(1).permutation(90)

    whole = run_stage(stage, shard_of(vectors, null=(5,)))
    parts = [run_stage(stage, shard_of(vectors[n : n + 1])) for n in range(90)]
    mixed = run_stage(stage, shard_of(vectors[order]))

    assert whole["error"][5].as_py() == "missing_input: embed.vector is null"
    assert whole["score"][5].as_py() is None
    for row in (0, 4, 6, 89):
        assert parts[row].to_pylist() == whole.slice(row, 1).to_pylist()
    place = order.tolist().index(44)
    assert mixed.slice(place, 1).to_pylist() == parts[44].to_pylist()
    assert len(run_stage(stage, shard_of(vectors[:0]))) == 0


def test_inner_nodes_are_between_their_children_and_their_own_prompts(tree):
    """A group without prompts is the mean of its children; with prompts, these count half."""
    artifact, own = planted(tree)
    model, centers = open_artifact(artifact)
    found = {n["path"]: centers[i] / 16384 for i, n in enumerate(model["nodes"])}

    def direction(*vectors):
        mean = np.mean(vectors, axis=0)
        return mean / np.linalg.norm(mean)

    towns = direction(own["places/towns/lagos"], own["places/towns/lima"])
    hills = direction(own["places/hills/fuji"], own["places/hills/uluru"])
    assert found["places/towns"] == pytest.approx(towns, abs=1e-4)
    places = read_taxonomy(tree).nodes[1]
    assert places.texts == ("a photo of a place", "a place")
    below = direction(towns, hills)
    stated = found["places"] - below * (found["places"] @ below)
    assert found["places"] @ below == pytest.approx(np.sqrt(0.5), abs=1e-3)
    assert np.linalg.norm(stated) == pytest.approx(np.sqrt(0.5), abs=1e-3)


def embed_of(**config):
    parsed = EmbedStage.parse(config, "stages.embed")
    assert isinstance(parsed, EmbedConfig)
    return EmbedStage(parsed)


def with_clip(tree, weights, **config):
    """Return the stage as a pipeline makes it: behind an `embed` whose model is tiny."""
    embed = embed_of(embedder="open_clip", weights=str(weights))
    embed.facts = embed.learn()
    stage = stage_of(taxonomy=str(tree), **config)
    stage.facts = stage.learn()
    stage.upstream = {"embed": embed}
    return stage


def test_the_texts_vectors_are_those_of_open_clip(tree, tmp_path):
    """The artefact has what open_clip's zero-shot recipe gives for the same templates."""
    weights = clip_folder(tmp_path / "clip")
    stage = with_clip(tree, weights)
    stage.check()
    tree.unlink()  # the worker that fits need not have it

    artifact = stage.fit(sample_of(unit_vectors(1, 32)))

    import torch
    from open_clip import build_zero_shot_classifier, create_model_and_transforms, get_tokenizer

    model, _, _ = create_model_and_transforms(f"local-dir:{weights}")
    templates = [lambda c: f"a photo of {c}", lambda c: f"{c}"]
    names = ["cat", "Lagos", "Uluru"]
    with torch.no_grad():
        theirs = build_zero_shot_classifier(
            model, get_tokenizer(f"local-dir:{weights}"), names, templates, None
        ).numpy()
        scale = float(model.logit_scale.exp())
    tree_model, centers = open_artifact(artifact)
    paths = [node["path"] for node in tree_model["nodes"]]
    for column, path in enumerate(["animals/cat", "places/towns/lagos", "places/hills/uluru"]):
        ours = centers[paths.index(path)] / 16384
        assert ours == pytest.approx(theirs[:, column], abs=2e-4)
    assert tree_model["logit_scale"] == pytest.approx(scale, rel=1e-6)
    assert digest_files(stage.fit(sample_of(unit_vectors(1, 32)))) == digest_files(artifact)
    tree.write_text(TREE, encoding="utf-8")
    moved = {"beam": 3, "temperature": 2.0, "threshold": 0.5}
    calibrated = with_clip(tree, weights, **moved)
    assert calibrated.fit_ignores() == set(moved)
    assert digest_files(calibrated.fit(sample_of(unit_vectors(1, 32)))) == digest_files(artifact)


def test_an_embedder_without_texts_is_refused(tree):
    """The descriptor cannot read; the message says what can."""
    stage = stage_of(taxonomy=str(tree))
    stage.facts = stage.learn()
    stage.upstream = {"embed": embed_of()}

    with pytest.raises(ConfigError, match=r"'descriptor', which has no text tower; take"):
        stage.check()


def test_a_wrong_taxonomy_is_refused_before_a_run(tree):
    """Planning looks at the file, and what an earlier run knew of it does not stand in."""
    tree.write_text(TREE + "  - animals\n", encoding="utf-8")

    with pytest.raises(UsageError, match="both have the id animals") as caught:
        stage_of(taxonomy=str(tree)).learn()

    assert not isinstance(caught.value, MissingWeightsError)


def test_what_a_taxonomy_says_enters_the_meaning_and_where_it_lies_does_not(tree, tmp_path):
    """The digest of the content is a fact; the path is not among what is hashed."""
    copy = tmp_path / "copy.yaml"
    copy.write_text(TREE, encoding="utf-8")
    here, there = stage_of(taxonomy=str(tree)), stage_of(taxonomy=str(copy))

    assert here.learn() == there.learn()
    assert here.config.model_dump() == there.config.model_dump()
    copy.write_text(TREE + "  - insects\n", encoding="utf-8")
    assert here.learn() != there.learn()
    assert stage_of().weights() == {"taxonomy": str(SHIPPED)}


def test_a_foreign_artifact_is_refused(tree):
    """That of a clustering, and one for vectors of another length, say what to do."""
    artifact, _ = planted(tree)

    with pytest.raises(DatasetError, match=r"has no texts\.npy"):
        stage_of({"taxonomy.json": artifact["taxonomy.json"]})
    with pytest.raises(DatasetError, match="format, kind and unit"):
        stage_of({**artifact, "taxonomy.json": b'{"format": 9}'})
    with pytest.raises(DatasetError, match="texts of 16 numbers, the images' vectors have 8"):
        run_stage(stage_of(artifact), shard_of(unit_vectors(3, 8)))
