"""The stage `caption`: images and what is known of them in, words out."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import pyarrow as pa

from curation.pipeline.stage import Shard, Stage
from curation.pixels import PixelSpec
from schemas.caption import CAPTION, CAPTION_STATUSES
from schemas.error_codes import row_error
from stages.caption.captioners import CAPTIONERS, CaptionConfig, Captioner


class CaptionStage(Stage[CaptionConfig]):
    """Captions of every image, in the variants that the captioner is asked for.

    A row in which a column that the captioner needs is null has no captions and says which.
    """

    name = "caption"
    config_type = CaptionConfig
    backend_key = "captioner"
    backends = CAPTIONERS
    default_backend = "template"

    def __init__(self, config: CaptionConfig, artifact: Mapping[str, bytes] | None = None) -> None:
        super().__init__(config, artifact)
        self._captioner = cast(Captioner, self.backend(config))

    def reads(self) -> tuple[str, ...]:
        return self._captioner.reads()

    def writes(self) -> pa.Schema:
        return CAPTION

    def pixels(self) -> PixelSpec:
        return self._captioner.pixels()

    def digests(self) -> Mapping[str, str]:
        return self._captioner.digests()

    def setup(self) -> None:
        self._captioner.setup()

    def process(self, shard: Shard) -> pa.Table:
        columns = {name: shard.column(name).to_pylist() for name in self.reads()}
        needed = [name for name in self.reads() if name not in self._captioner.optional()]
        rows: list[dict[str, Any]] = []
        for position, view in enumerate(shard.views()):
            facts = {name: values[position] for name, values in columns.items()}
            missing = next((name for name in needed if facts[name] is None), None)
            if isinstance(view, str):
                rows.append({"error": view})
            elif missing is not None:
                rows.append({"error": row_error("missing_input", column=missing)})
            else:
                outcome = self._captioner.caption(view.pixels, facts)
                assert outcome.status in CAPTION_STATUSES, outcome.status
                captions = [dataclasses.asdict(caption) for caption in outcome.captions]
                rows.append({"captions": captions, "status": outcome.status})
        return pa.Table.from_pylist(rows, schema=CAPTION)
