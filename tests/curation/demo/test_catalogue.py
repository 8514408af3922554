"""Every category can be painted, and the tail is long."""

import pytest

from curation.demo import seeds
from curation.demo.catalogue import LEAVES, shares
from curation.demo.scenes.job import Job
from curation.demo.windows import Windows

SCENES = [(leaf, scene) for leaf in LEAVES for scene in leaf.scenes]


def paint(leaf, scene, size, layout, content):
    shot = None
    if leaf.photographs:
        rng = seeds.rolls("window", layout)
        shot = Windows().reserve(
            rng, leaf.photographs[0], size[0] / size[1], flipped=leaf.flipped, subject=leaf.named
        )
    return scene(Job(size, seeds.rolls("layout", layout), seeds.rolls("content", content), shot))


@pytest.mark.parametrize(
    ("leaf", "scene"), SCENES, ids=[f"{leaf.path}:{scene.__name__}" for leaf, scene in SCENES]
)
@pytest.mark.parametrize("size", [(96, 64), (33, 90)])
def test_a_scene_fills_its_size_and_paints_the_same_twice(leaf, scene, size):
    """Also sizes in which hardly anything fits."""
    picture = paint(leaf, scene, size, 1, 2)

    assert picture.size == size
    assert picture.mode == ("RGBA" if leaf.alpha else "RGB")
    assert picture.tobytes() == paint(leaf, scene, size, 1, 2).tobytes()
    assert picture.tobytes() != paint(leaf, scene, size, 3, 4).tobytes()


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf.template], ids=lambda x: x.path)
def test_a_template_shows_other_content_in_one_layout(leaf):
    """Hard negatives are never the same picture."""
    one, two = (paint(leaf, leaf.scenes[0], (120, 90), 1, content) for content in (1, 2))

    assert one.tobytes() != two.tobytes()


def test_silhouettes_are_black_on_transparent_black():
    """The trap: without the alpha channel there is nothing to see."""
    leaf = next(leaf for leaf in LEAVES if leaf.path == "icon/silhouette")
    picture = paint(leaf, leaf.scenes[0], (64, 64), 1, 1)

    assert picture.convert("RGB").getextrema() == ((0, 0), (0, 0), (0, 0))
    assert picture.getchannel("A").getextrema() == (0, 255)


def test_category_paths_are_two_levels_and_unique():
    """So that the leaf's name alone says the category."""
    assert all(leaf.path.count("/") == 1 for leaf in LEAVES)
    assert len({leaf.name for leaf in LEAVES}) == len(LEAVES)


def test_the_head_has_hundreds_and_the_tail_one_to_three():
    """At 2,000 images; no category is empty."""
    numbers = shares(1560)

    assert sum(numbers) == 1560
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > 250
    assert 1 <= numbers[-1] <= 3


@pytest.mark.parametrize("count", [0, 1, 13, 300, 15_000])
def test_shares_add_up(count):
    """Whatever the number, small ones too."""
    assert sum(shares(count)) == count
    assert min(shares(count)) >= 0
