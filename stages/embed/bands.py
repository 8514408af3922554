"""A bank of oriented octave filters, and the local energy of an image in each of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZE_PX = 96
"""Edge of the square images that the bank takes."""

CELLS = 4
"""Energies are averaged on a grid of 4 x 4 cells, as in GIST."""

NUM_ORIENTATIONS = 6

_PAD_PX = 16  # mirrored border, so that opposite ends of an image are no neighbours in the FFT
_FIELD_PX = SIZE_PX + 2 * _PAD_PX
_OCTAVES = ((32, 64), (16, 32), (8, 16), (4, 16))
"""Centre of each octave in cycles a field, and the edge of the grid that its responses lie on."""

NUM_BANDS = len(_OCTAVES) * NUM_ORIENTATIONS
_SILENT = 1 / 255  # responses below one level of an 8-bit image count as none, gradually


@dataclass(frozen=True)
class Octave:
    """The filters of one octave, as windows to cut out of an image's spectrum.

    Attributes:
        index: (orientations, grid, grid) positions in the flat spectrum.
        weight: (orientations, grid, grid) transfer function there.
        grid: Edge of the window.
    """

    index: NDArray[np.intp]
    weight: NDArray[np.float32]
    grid: int


Bank = tuple[Octave, ...]


@dataclass(frozen=True)
class Responses:
    """How an image answers the bank.

    Attributes:
        energy: (bands, cells, cells) root mean square response in each cell, in units of lightness;
            the finest octave first, in it the filter for vertical edges first.
        density: (bands,) mean response over root mean square response: 0.89 for noise, less the
            more of the band's energy sits in few places, fading to 0 for bands that hardly respond.
    """

    energy: NDArray[np.float64]
    density: NDArray[np.float64]


def make_bank() -> Bank:
    """Make the filters: octave bands, six orientations each, over one half of the spectrum.

    A filter is cos(pi/2 log2(f/f0)) within an octave of f0, times cos(angle)^5 on the side of its
    own orientation. Being one-sided, it has a complex response whose modulus is the local energy.
    Cutting a window out around the filter's centre moves the band to frequency 0 and leaves the
    modulus as it is, so a coarse band costs a small inverse FFT only.

    Source: Simoncelli & Freeman 1995, "The steerable pyramid", for the transfer functions.
    """
    octaves = []
    for centre, grid in _OCTAVES:
        offset = np.arange(grid) - grid // 2
        indices, weights = [], []
        for orientation in range(NUM_ORIENTATIONS):
            angle = np.pi * orientation / NUM_ORIENTATIONS
            y = (round(centre * np.sin(angle)) + offset)[:, np.newaxis]
            x = (round(centre * np.cos(angle)) + offset)[np.newaxis, :]
            distance = np.log2(np.maximum(np.hypot(y, x), 1e-9) / centre)
            radial = np.cos(np.pi / 2 * np.clip(distance, -1, 1))
            angular = np.maximum(np.cos(np.arctan2(y, x) - angle), 0) ** (NUM_ORIENTATIONS - 1)
            inside = (np.abs(y) < _FIELD_PX // 2) & (np.abs(x) < _FIELD_PX // 2)
            indices.append(y % _FIELD_PX * _FIELD_PX + x % _FIELD_PX)
            weights.append(radial * angular * inside)
        octaves.append(Octave(np.array(indices), np.array(weights, np.float32), grid))
    return tuple(octaves)


def respond(lightness: NDArray[np.float32], bank: Bank) -> Responses:
    """Filter an image.

    Args:
        lightness: (SIZE_PX, SIZE_PX) in 0..1.
        bank: What `make_bank` made.
    """
    field = np.pad(lightness, _PAD_PX, mode="reflect")
    spectrum = np.fft.fft2(field).ravel()
    energies, densities = [], []
    for octave in bank:
        response = np.fft.ifft2(spectrum[octave.index] * octave.weight)
        border = _PAD_PX * octave.grid // _FIELD_PX
        inner = response[:, border : octave.grid - border, border : octave.grid - border]
        power = inner.real**2 + inner.imag**2
        edge = power.shape[1] // CELLS
        cells = power.reshape(NUM_ORIENTATIONS, CELLS, edge, CELLS, edge).mean(axis=(2, 4))
        # The inverse FFT divided by the window's size, and the response has the field's.
        scale = (octave.grid / _FIELD_PX) ** 2
        whole = np.sqrt(cells.mean(axis=(1, 2)))
        silent = np.float32(_SILENT / scale)
        energies.append(np.sqrt(cells) * scale)
        densities.append(np.sqrt(power).mean(axis=(1, 2)) / np.maximum(whole, silent))
    return Responses(
        np.concatenate(energies).astype(np.float64), np.concatenate(densities).astype(np.float64)
    )
