"""Our table of what released models want to see, against open_clip's own."""

from dataclasses import asdict

from training.encoders.clip_preprocess import released_preprocess
from training.encoders.torchvision_ops import declare_missing_ops


def test_every_release_is_seen_as_open_clip_says():
    """For each model and release that open_clip knows; without a release, as most of them."""
    declare_missing_ops()
    import open_clip
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    names = ("mean", "std", "interpolation", "resize_mode")
    releases = open_clip.list_pretrained()
    wrong, other = [], []
    for model, release in releases:
        stated = open_clip.get_pretrained_cfg(model, release)
        merged = merge_preprocess_dict(PreprocessCfg(), stated)
        expected = {
            name: tuple(merged[name]) if name in ("mean", "std") else merged[name] for name in names
        }
        if asdict(released_preprocess(model, release)) != expected:
            wrong.append((model, release))
        if asdict(released_preprocess(model, None)) != expected:
            other.append((model, release))

    assert len(releases) > 150
    assert wrong == []
    assert other == [
        ("ViT-L-14", "laion2b_s32b_b82k"),
        ("ViT-H-14", "dfn5b"),
        ("ViT-H-14-quickgelu", "dfn5b"),
    ]
