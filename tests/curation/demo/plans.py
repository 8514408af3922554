"""Planned images and truths for tests, small and by hand."""

from dataclasses import replace

from curation.demo.catalogue import LEAVES
from curation.demo.files import PlannedImage
from curation.demo.plan import make_plan
from curation.demo.truth import FileTruth

WHOLE = (0.0, 0.0, 1.0, 1.0)


def planned(images=200, seed=3, mean_megapixels=0.02):
    return make_plan(images, seed, mean_megapixels)


def geometric(**changes):
    """One small image of a scene that needs no photograph."""
    leaf = next(i for i, entry in enumerate(LEAVES) if entry.path == "graphic/geometric")
    path = "graphic/geometric/one.png"
    image = PlannedImage(5, "unique", path, leaf, (120, 80), "PNG", None, 5)
    return replace(image, **changes)


def known(path, source, box=WHOLE, digest=None, **others):
    """What is known about a readable file, with a digest of its own unless given."""
    return FileTruth(
        path=path,
        kind="unique",
        category_path="photo/cat",
        source=source,
        num_bytes=1,
        content_sha256=digest or path,
        box=box,
        **others,
    )
