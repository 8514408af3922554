"""One planned image into files, by whichever process has time."""

import errno
import hashlib
import io
import os
from pathlib import Path
from random import Random

from PIL import ExifTags, Image

from curation.demo import seeds
from curation.demo.broken import BROKEN
from curation.demo.catalogue import LEAVES
from curation.demo.drawing.photographs import Box
from curation.demo.edits import EDITS, WHOLE
from curation.demo.encode import decoded, ordinary
from curation.demo.files import PlannedImage
from curation.demo.odd import ODD
from curation.demo.scenes.graphic import stripes
from curation.demo.scenes.job import Job
from curation.demo.truth import FileTruth
from curation.demo.windows import area, inside, iou
from curation.ingest.identity import encode_key

_EXTENSION = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
_TURNED = (5, 6, 7, 8)


def make_image(planned: PlannedImage, images: Path, seed: int) -> list[FileTruth]:
    """Paint an original, write it and its copies below `images`, and say what they are.

    The bytes depend on `planned` and `seed` only.
    """
    rng = seeds.rolls("encode", seed, planned.index)
    expect_error: str | None = None
    format: str | None = None
    size: tuple[int, int] | None = None
    if planned.kind == "broken":
        assert planned.detail is not None
        broken = BROKEN[planned.detail]
        picture = paint(planned, seed) if broken.painted else Image.new("RGB", (1, 1))
        data, expect_error = broken.make(picture, rng), broken.expect_error
    else:
        data = _readable(planned, paint(planned, seed), rng)
        format, size = _facts(data)
    original = FileTruth(
        path=_write(images, planned.path, data),
        kind=planned.kind,
        category_path=None if expect_error else LEAVES[planned.leaf].path,
        source=f"source-{planned.index:06d}",
        template=f"template-{planned.template:06d}" if planned.kind == "hard_negative" else None,
        detail=planned.detail,
        expect_error=expect_error,
        format=format,
        size=size,
        num_bytes=len(data),
        content_sha256=hashlib.sha256(data).hexdigest(),
        photograph=planned.shot.base if planned.shot else None,
        window=planned.shot.box if planned.shot else None,
        box=WHOLE,
    )
    return [original, *_copies(planned, original, data, images, seed)]


def paint(planned: PlannedImage, seed: int) -> Image.Image:
    """Return the picture of an original, before it is encoded."""
    layout = seeds.rolls("layout", seed, planned.template)
    content = seeds.rolls("content", seed, planned.index)
    job = Job(planned.size, layout, content, planned.shot)
    if planned.kind == "odd" and planned.detail and ODD[planned.detail].stripes:
        return stripes(job)
    # The scene comes from a generator of its own: adding one to a leaf moves no other draw.
    scene = seeds.rolls("scene", seed, planned.template).choice(LEAVES[planned.leaf].scenes)
    return scene(job)


def _readable(planned: PlannedImage, picture: Image.Image, rng: Random) -> bytes:
    make = ODD[planned.detail].make if planned.kind == "odd" and planned.detail else None
    return make(picture, rng) if make else ordinary(picture, planned.format, rng)


def _copies(
    planned: PlannedImage, original: FileTruth, data: bytes, images: Path, seed: int
) -> list[FileTruth]:
    made: list[tuple[FileTruth, bytes]] = [(original, data)]
    picture = decoded(data) if any(copy.edit for copy in planned.copies) else None
    for copy in planned.copies:
        parent, parent_data = made[copy.of]
        if copy.edit is None:
            kind, edit_data, format, size = "exact_copy", parent_data, parent.format, parent.size
            box = parent.box
        else:
            assert picture is not None
            assert original.format is not None
            rng = seeds.rolls("edit", seed, copy.index)
            edited = EDITS[copy.edit](picture, original.format, rng)
            kind, edit_data, format, size = "near_copy", edited.data, edited.format, edited.size
            box = edited.box
        assert format is not None
        truth = FileTruth(
            path=_write(images, f"{copy.path}.{_EXTENSION[format]}", edit_data),
            kind=kind,
            category_path=original.category_path,
            source=original.source,
            copy_of=parent.path,
            edit=copy.edit,
            iou=iou(box, parent.box),
            format=format,
            size=size,
            num_bytes=len(edit_data),
            content_sha256=hashlib.sha256(edit_data).hexdigest(),
            photograph=original.photograph,
            window=_window(planned, box),
            box=box,
        )
        made.append((truth, edit_data))
    return [truth for truth, _ in made[1:]]


def _window(planned: PlannedImage, box: Box) -> Box | None:
    if planned.shot is None:
        return None
    if planned.shot.mirrored:
        box = (1 - box[2], box[1], 1 - box[0], box[3])
    window = inside(planned.shot.box, box)
    assert area(window) <= area(planned.shot.box) + 1e-9
    return window


def _facts(data: bytes) -> tuple[str, tuple[int, int]]:
    """Return the format of a file and its size when it stands upright."""
    with Image.open(io.BytesIO(data)) as file:
        assert file.format is not None
        turned = file.getexif().get(ExifTags.Base.Orientation) in _TURNED
        return file.format, (file.height, file.width) if turned else file.size


def _write(images: Path, path: str, data: bytes) -> str:
    """Write a file and return its path as a key, as ingest spells it.

    File systems that take nothing but UTF-8 get the same file under a name that they take.
    """
    target = images / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.write_bytes(data)
    except OSError as error:
        if error.errno != errno.EILSEQ:
            raise
        path = path.encode("utf-8", "replace").decode().replace("?", "_")
        (images / path).write_bytes(data)
    return encode_key(os.fsencode(path))
