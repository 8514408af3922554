"""Latent codecs."""

import numpy as np
import pytest
import torch
from skimage import data

from tests.fakes.ernie_parts import write_vae
from training.encoders.latents import (
    BlockDctCodec,
    BlockDctConfig,
    Flux2Codec,
    Flux2Config,
)


@pytest.fixture(scope="module")
def flux2(tmp_path_factory):
    """A tiny FLUX.2 VAE with random weights, in the files of the real one."""
    folder = tmp_path_factory.mktemp("vae")
    return write_vae(folder), folder


def test_block_dct_gives_every_picture_back():
    """Noise of 8 bits, the worst picture there is, comes back to the last bit."""
    codec = BlockDctCodec(BlockDctConfig())
    pixels = torch.randint(0, 256, (3, 32, 48, 3), dtype=torch.uint8)

    latent = codec.encode(pixels)

    assert latent.shape == (3, 192, 4, 6)
    assert torch.equal(codec.decode(latent), pixels)


def test_block_dct_latents_are_of_about_unit_deviation():
    """On photographs no channel is far from it, so no frequency drowns the others."""
    codec = BlockDctCodec(BlockDctConfig())
    pictures = [data.astronaut(), data.coffee()[:400, :400], data.chelsea()[:296, :296]]

    parts = [codec.encode(torch.from_numpy(p.copy())[None]).flatten(2)[0] for p in pictures]
    deviation = torch.cat(parts, 1).square().mean(1).sqrt()

    assert 0.2 < float(deviation.median()) < 2
    assert float(deviation.max()) < 4


def test_flux2_latents_are_those_of_the_pipeline(flux2):
    """Posterior mean, 2 x 2 patches and batch norm with eps 1e-5: the pipeline undoes it."""
    import diffusers

    vae, folder = flux2
    codec = Flux2Codec(Flux2Config(weights=str(folder)))
    pixels = torch.from_numpy(np.ascontiguousarray(data.astronaut()[:64, :96]))[None]

    latent = codec.encode(pixels)

    assert (codec.channels, codec.stride) == (16, 16)
    assert latent.shape == (1, 16, 4, 6)
    mean = vae.encode(pixels.permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()
    deviation = torch.sqrt(vae.bn.running_var + 1e-5).view(1, -1, 1, 1)
    undone = latent * deviation + vae.bn.running_mean.view(1, -1, 1, 1)
    undone = diffusers.ErnieImagePipeline._unpatchify_latents(undone)
    assert torch.allclose(undone, mean, atol=1e-5)
    expected = vae.decode(mean).sample
    pictures = ((expected + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    found = codec.decode(latent).permute(0, 3, 1, 2)
    assert int((found.int() - pictures.int()).abs().max()) <= 1


def test_flux2_is_known_by_its_weights(flux2):
    """The digest of the weights is in the identity, and the place is not."""
    _, folder = flux2
    identity = Flux2Codec(Flux2Config(weights=str(folder))).identity()

    assert identity["eps"] == 1e-5
    assert str(folder) not in str(identity)
    assert len(identity["weights"]) == 32
