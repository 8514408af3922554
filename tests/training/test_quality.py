"""Distances of drawn pictures to real ones."""

import pytest
import torch
from skimage import data

from training.quality import GRID, low_pass, shuffled_pixels, sliced_wasserstein


@pytest.fixture(scope="module")
def pictures():
    """Cut 48 windows of 32 px out of photographs."""
    whole = [torch.from_numpy(picture.copy()) for picture in (data.astronaut(), data.coffee())]
    corners = [(row, column) for row in range(0, 384, 96) for column in range(0, 480, 80)]
    return torch.stack([p[y : y + 32, x : x + 32] for p in whole for y, x in corners])


def test_low_pass_sees_layout_and_colour():
    """A picture that is black above and red below is so in its cells; fine stripes are grey."""
    picture = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    picture[0, 16:, :, 0] = 255
    picture[1, :, ::2] = 254

    cells = low_pass(picture).view(2, 3, GRID, GRID)

    assert float(cells[0, 0, : GRID // 2].max()) == 0
    assert float(cells[0, 0, GRID // 2 :].min()) == 1
    assert float(cells[0, 1:].max()) == 0
    assert torch.allclose(cells[1], torch.full((3, GRID, GRID), 127 / 255))


def test_a_moved_cloud_is_as_far_as_it_was_moved():
    """Along a random direction in 3 dimensions half of a move is seen, on average."""
    cloud = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    moved = cloud + torch.tensor([3.0, 0.0, 4.0])

    assert sliced_wasserstein(cloud, cloud.flip(0)) == 0
    assert sliced_wasserstein(cloud, moved, num_directions=4000) == pytest.approx(2.5, rel=0.05)


def test_clouds_of_different_sizes_are_compared_by_quantiles():
    """A cloud given three times over is the same cloud, but for what interpolation leaves."""
    cloud = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))

    assert sliced_wasserstein(cloud, cloud.repeat(3, 1)) < 0.01


def test_shuffled_pixels_keep_colours_and_lose_layout(pictures):
    """Each picture has the same pixels, its cells hardly differ any more, and it is far away."""
    shuffled = shuffled_pixels(pictures)

    assert torch.equal(shuffled.flatten(1, 2).sort(1).values, pictures.flatten(1, 2).sort(1).values)
    spread = [low_pass(shown).unflatten(1, (3, -1)).std(2).mean() for shown in (pictures, shuffled)]
    assert float(spread[1]) < 0.5 * float(spread[0])
    assert torch.equal(shuffled, shuffled_pixels(pictures))


def test_few_pictures_are_far_from_as_many_others():
    """Samples of one law are apart by their size alone: 16 times as many are at a fourth of it."""
    generator = torch.Generator().manual_seed(0)

    def distance(count):
        first, second = torch.randn(2, count, 12, generator=generator)
        return sliced_wasserstein(first, second)

    few = sum(distance(40) for _ in range(4)) / 4
    many = sum(distance(640) for _ in range(4)) / 4

    assert many == pytest.approx(few / 4, rel=0.15)
