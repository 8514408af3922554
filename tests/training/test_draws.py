"""Draws depend on their key alone."""

import torch

from training.draws import SampleKey, draw_normals, draw_uniforms

KEYS = [SampleKey(0, bytes([n]) * 16, r) for n in range(50) for r in range(2)]


def test_a_draw_depends_on_its_key_alone():
    """Another company, another order: the same numbers for the same visit."""
    together = draw_normals(7, KEYS, "noise", (3, 2))

    alone = torch.cat([draw_normals(7, [key], "noise", (3, 2)) for key in reversed(KEYS)])

    assert torch.equal(together, alone.flip(0))


def test_seed_epoch_repeat_and_purpose_each_make_another_draw():
    """Whatever of the key differs, the number does."""
    key = KEYS[0]
    others = [
        draw_uniforms(8, [key], "sigma"),
        draw_uniforms(7, [SampleKey(1, key.image_id, 0)], "sigma"),
        draw_uniforms(7, [KEYS[1]], "sigma"),
        draw_uniforms(7, [key], "noise"),
    ]

    numbers = [draw_uniforms(7, [key], "sigma"), *others]

    assert len({float(n) for n in numbers}) == 5


def test_uniforms_are_uniform():
    """They lie within 0 and 1, and fill it evenly."""
    keys = [SampleKey(0, n.to_bytes(16, "little"), 0) for n in range(4000)]

    found = draw_uniforms(0, keys, "sigma")

    assert float(found.min()) > 0
    assert float(found.max()) < 1
    counts = torch.histc(found.float(), 10, 0, 1)
    assert float((counts - 400).abs().max()) < 80  # four deviations


def test_normals_are_normal():
    """Mean 0 and deviation 1, to four deviations of their own."""
    keys = [SampleKey(0, n.to_bytes(16, "little"), 0) for n in range(500)]

    found = draw_normals(0, keys, "noise", (64,))

    assert abs(float(found.mean())) < 4 / 32000**0.5
    assert abs(float(found.std()) - 1) < 4 / 64000**0.5
