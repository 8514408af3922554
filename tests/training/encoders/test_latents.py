"""Latent codecs."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from tests.fakes.ernie_parts import write_vae
from training.encoders.latents import (
    BlockDctCodec,
    BlockDctConfig,
    Flux2Codec,
    Flux2Config,
)


def small_photographs(edge):
    """Return whole photographs and windows of them as (B, edge, edge, 3)."""
    found = []
    for whole in (data.astronaut(), data.coffee()[:400, :400], data.chelsea()[:288, :288]):
        part = whole[: len(whole) // 2, -len(whole) // 2 :]
        for shown in (whole, part, part[:, ::-1]):
            picture = Image.fromarray(np.ascontiguousarray(shown))
            found.append(np.asarray(picture.resize((edge, edge), Image.Resampling.LANCZOS)))
    return torch.from_numpy(np.stack(found))


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


def test_block_dct_gives_the_most_extreme_pictures_back():
    """Saturated pixels side by side need every frequency of every colour at once."""
    codec = BlockDctCodec(BlockDctConfig())
    pixels = torch.randint(0, 2, (3, 32, 32, 3), dtype=torch.uint8) * 255

    assert torch.equal(codec.decode(codec.encode(pixels)), pixels)


@pytest.mark.parametrize("edge", [32, 128])
def test_block_dct_leaves_layout_larger_than_detail(edge):
    """On photographs a latent is the smaller the finer what it says, whatever the colour."""
    codec = BlockDctCodec(BlockDctConfig())
    found = codec.encode(small_photographs(edge)).unflatten(1, (3, 8, 8))
    frequency = torch.arange(8.0)
    radius = torch.hypot(frequency[:, None], frequency[None, :])

    for color in found.square().mean((0, 4, 5)).sqrt():
        bands = [float(color[(radius >= r) & (radius < r + 2)].mean()) for r in range(0, 9, 2)]
        assert 1 < float(color[0, 0]) < 6
        assert bands[:4] == sorted(bands[:4], reverse=True)
        assert max(bands[3:]) < 0.25 * bands[0]


def test_block_dct_spends_little_of_the_noise_on_layout():
    """Under the noise of half the way, layout is still seen where detail is drowned."""
    codec = BlockDctCodec(BlockDctConfig())
    latent = codec.encode(small_photographs(128))
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    blurred = codec.decode(latent + noise).float(), codec.decode(latent).float()
    means = [shown.unflatten(1, (-1, 8)).unflatten(3, (-1, 8)).mean((2, 4)) for shown in blurred]

    assert float(torch.corrcoef(torch.stack([m.flatten() for m in means]))[0, 1]) > 0.8


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
