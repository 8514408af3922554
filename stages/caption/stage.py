"""The stage `caption`: images and what is known of them in, words out."""

import dataclasses
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, cast

import pyarrow as pa

from curation.pipeline.stage import Finding, Shard, Stage
from curation.pixels import PixelSpec
from schemas.caption import CAPTION_STATUSES
from schemas.error_codes import row_error
from stages.caption.captioner import CaptionConfig, Captioner, Outcome, at_once
from stages.caption.captioners import CAPTIONERS


class CaptionStage(Stage[CaptionConfig]):
    """Captions of every image, in the variants that the captioner is asked for.

    All images of a slice are under way at once, and with several shards in flight those of several
    slices: a model's server always has a queue. A row in which a column that the captioner needs is
    null has no captions and says which.
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
        return self._captioner.schema()

    def pixels(self) -> PixelSpec:
        return self._captioner.pixels()

    def weights(self) -> Mapping[str, str]:
        return self._captioner.weights()

    def digests(self) -> Mapping[str, str]:
        return self._captioner.digests(self)

    def learn(self) -> Mapping[str, Any]:
        return {**super().learn(), **self._captioner.learn()}

    def check(self) -> None:
        self._captioner.check(self)

    def probe(self) -> Iterable[Finding]:
        return self._captioner.probe()

    def setup(self) -> None:
        self._captioner.setup(self)

    def process(self, shard: Shard) -> pa.Table:
        columns = {name: shard.column(name).to_pylist() for name in self.reads()}
        needed = [name for name in self.reads() if name not in self._captioner.optional()]
        begun: list[Future[Outcome]] = []
        try:
            for position, view in enumerate(shard.views()):
                facts = {name: values[position] for name, values in columns.items()}
                missing = next((name for name in needed if facts[name] is None), None)
                if isinstance(view, str):
                    begun.append(at_once(Outcome(None, error=view)))
                elif missing is not None:
                    error = row_error("missing_input", column=missing)
                    begun.append(at_once(Outcome(None, error=error)))
                else:
                    begun.append(self._captioner.start(view.pixels, facts))
            rows = [_row(future.result()) for future in begun]
        except BaseException:
            for future in begun:
                future.cancel()
            raise
        return pa.Table.from_pylist(rows, schema=self.writes())


def _row(outcome: Outcome) -> dict[str, Any]:
    if outcome.error is not None:
        return {"error": outcome.error}
    assert outcome.status in CAPTION_STATUSES, outcome.status
    captions = [dataclasses.asdict(caption) for caption in outcome.captions]
    return {"captions": captions, "status": outcome.status, **outcome.columns}
