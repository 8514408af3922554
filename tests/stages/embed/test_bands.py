"""The filter bank answers the orientation and the scale that it is asked about."""

import numpy as np
import pytest

from stages.embed.bands import CELLS, NUM_BANDS, NUM_ORIENTATIONS, SIZE_PX, make_bank, respond

BANK = make_bank()


def grating(cycles, degrees, amplitude=0.25):
    """Return waves of `cycles` a 128-pixel field that run towards `degrees`."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] * (2 * np.pi * cycles / 128)
    angle = np.deg2rad(degrees)
    waves = 0.5 + amplitude * np.cos(x * np.cos(angle) + y * np.sin(angle))
    return waves.astype(np.float32)


@pytest.mark.parametrize("octave", range(4))
@pytest.mark.parametrize("orientation", range(NUM_ORIENTATIONS))
def test_waves_are_strongest_in_their_own_band(octave, orientation):
    """A grating of a filter's own frequency and orientation excites that filter most."""
    energy = respond(grating(32 / 2**octave, 30 * orientation), BANK).energy

    assert energy.mean(axis=(1, 2)).argmax() == octave * NUM_ORIENTATIONS + orientation


def test_energy_is_the_amplitude_of_the_waves():
    """The one-sided filter of a grating returns half its amplitude, wherever the cell lies."""
    energy = respond(grating(16, 0, amplitude=0.25), BANK).energy[NUM_ORIENTATIONS]

    assert energy.shape == (CELLS, CELLS)
    assert energy == pytest.approx(0.125, rel=0.05)


def test_energy_lies_where_the_edges_are():
    """A textured quarter is seen in its own four cells and hardly elsewhere."""
    lightness = np.full((SIZE_PX, SIZE_PX), 0.5, np.float32)
    lightness[:48, 48:] = grating(16, 60)[:48, 48:]

    energy = respond(lightness, BANK).energy[NUM_ORIENTATIONS + 2]

    assert energy[:2, 2:].min() > 3 * energy[2:, :2].max()


def test_density_tells_noise_from_a_single_spot():
    """Noise is dense in every band, a spot on a flat ground is sparse, flat ground has no band."""
    noise = np.random.default_rng(1).random((SIZE_PX, SIZE_PX), np.float32)
    spot = np.full((SIZE_PX, SIZE_PX), 0.5, np.float32)
    flat = spot.copy()
    spot[48, 48] = 1

    densities = [respond(image, BANK).density for image in (noise, spot, flat)]

    assert [density.shape for density in densities] == [(NUM_BANDS,)] * 3
    assert densities[0].min() > 0.75
    assert densities[1][:NUM_ORIENTATIONS].max() < 0.5
    assert densities[2].max() < 0.01
