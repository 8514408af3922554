"""The rows that categories are built from, and their part in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.dataset import Dataset
from curation.draw import draw_hashes
from curation.errors import UsageError
from curation.ingest.tombstones import read_tombstones
from curation.pipeline.config import RunSettings
from curation.pipeline.fit_sample import draw_sample
from curation.pipeline.instances import Instance
from stages.categorize import kmeans
from stages.categorize.categorizer import CategorizeConfig
from stages.categorize.columns import NAME_COLUMNS, VECTOR, vectors_of, words_of_rows

_CONTENT = "images.content_sha256"
_PLACE = ("images.shard", "images.row")
_CAPTION = "caption"

_PARTS = 10
_TEST, _VALIDATION = 0, 1
"""One tenth of the contents each; the other eight are for training."""


@dataclass(frozen=True)
class Sample:
    """Rows of a dataset, in the order of a hash: random and yet given.

    Attributes:
        vectors: (rows, dimension) in units of 1/16384.
        words: For each row the words of its texts; empty sets where names are not wanted.
        places: (rows, 2) shard and row of each.
        parts: (rows,) uint8: 0 for the test, 1 for validation, more for training.
    """

    vectors: kmeans.Integers
    words: Sequence[set[str]]
    places: NDArray[np.int32]
    parts: NDArray[np.uint8]

    @property
    def training(self) -> NDArray[np.intp]:
        """Positions of the rows that categories are found on and the head is trained on."""
        return np.flatnonzero(self.parts > _VALIDATION)

    @property
    def validation(self) -> NDArray[np.intp]:
        """Positions of the rows that say when to stop, and at what temperature."""
        return np.flatnonzero(self.parts == _VALIDATION)

    @property
    def test(self) -> NDArray[np.intp]:
        """Positions of the rows that agreement is measured on, and nothing else is done with."""
        return np.flatnonzero(self.parts == _TEST)


def read_sample(
    dataset: Dataset,
    instances: Mapping[str, Instance],
    chosen: Instance,
    *,
    size: int,
    seed: int,
    names_from: Sequence[str],
) -> Sample:
    """Read a sample of the rows that have a vector.

    The rows are those with the smallest hash(image_id, seed); forgotten ones are left out. Copies
    of one file are on the same side of the split, which goes by a hash of the content.

    Args:
        dataset: The dataset.
        instances: Name -> instance, of the pipeline that `chosen` is in.
        chosen: Whose vectors.
        size: Rows at most.
        seed: Draws sample and split.
        names_from: Of `NAME_COLUMNS`, where the words come from.

    Raises:
        UsageError: No row has a vector, or captions are wanted and no instance writes them.
    """
    texts = tuple(NAME_COLUMNS[source] for source in names_from)
    reads = (VECTOR, _CONTENT, *_PLACE, *texts)
    inputs = {VECTOR.partition(".")[0]: chosen.name}
    if NAME_COLUMNS[_CAPTION] in texts:
        inputs[_CAPTION] = _only_captions(instances)
    reader = Instance(
        "categories", chosen.stage_type, CategorizeConfig(), inputs, RunSettings(), None, None
    )
    table = draw_sample(dataset, reader, instances, reads, size, seed, optional=texts)
    if len(table):
        tombstones = read_tombstones(dataset)
        forbidden = tombstones.mask(table["image_id"], table[_CONTENT])
        table = table.filter(pc.invert(pc.fill_null(forbidden, False)))
    if not len(table):
        message = f"{dataset.store.url}: no row has a vector of {chosen.name}; run the pipeline"
        raise UsageError(message)
    contents = table[_CONTENT].to_pylist()
    return Sample(
        kmeans.quantize(vectors_of(table[VECTOR])),
        words_of_rows(table, texts),
        np.stack([table[name].to_numpy() for name in _PLACE], axis=1).astype(np.int32),
        (draw_hashes(contents, seed) % _PARTS).astype(np.uint8),
    )


def _only_captions(instances: Mapping[str, Instance]) -> str:
    found = [name for name, i in instances.items() if i.stage_type.name == _CAPTION and i.is_ready]
    if len(found) != 1:
        message = (
            f"names from captions: expected one instance of {_CAPTION} in the pipeline, found "
            f"{', '.join(found) or 'none'}; leave captions out"
        )
        raise UsageError(message)
    return found[0]
