"""How far drawn pictures are from real ones, where no network that judges pictures is at hand.

Shape suffixes: N pictures or points, F features, K directions.
"""

import torch
from torch import Tensor

GRID = 8
"""Pictures are compared by the mean colours of 8 x 8 cells: layout and colour, not detail."""


def low_pass(pixels_NYX3: Tensor) -> Tensor:
    """Return (N, F) mean colours of 8 x 8 cells, in 0..1.

    Args:
        pixels_NYX3: uint8; edges are at least 8 px.
    """
    values = pixels_NYX3.permute(0, 3, 1, 2).float() / 255
    return torch.nn.functional.adaptive_avg_pool2d(values, GRID).flatten(1)


def sliced_wasserstein(
    first_NF: Tensor, second_NF: Tensor, *, num_directions: int = 256, seed: int = 0
) -> float:
    """Return the mean Wasserstein-1 distance of two clouds along random directions.

    Clouds of different sizes are compared at the quantiles of the smaller one.

    Source: Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing".
    """
    generator = torch.Generator().manual_seed(seed)
    width = first_NF.shape[1]
    directions_FK = torch.randn(width, num_directions, generator=generator, dtype=torch.float64)
    directions_FK /= directions_FK.norm(dim=0, keepdim=True)
    count = min(len(first_NF), len(second_NF))
    quantiles = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    found = []
    for cloud in (first_NF, second_NF):
        shadows_NK = cloud.double() @ directions_FK
        found.append(torch.quantile(shadows_NK, quantiles, dim=0))
    return float((found[0] - found[1]).abs().mean())


def shuffled_pixels(pixels_NYX3: Tensor, seed: int = 0) -> Tensor:
    """Return pictures whose pixels are at random places: the right colours, no layout."""
    generator = torch.Generator().manual_seed(seed)
    count, rows, columns, _ = pixels_NYX3.shape
    order = torch.argsort(torch.rand(count, rows * columns, generator=generator), dim=1)
    flat = pixels_NYX3.flatten(1, 2)
    return flat.gather(1, order[..., None].expand(-1, -1, 3)).view_as(pixels_NYX3)
