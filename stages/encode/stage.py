"""The stage `encode`: pictures to latents and captions to features, for training from a cache."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.errors import ConfigError, MissingWeightsError
from curation.pipeline.stage import Cost, Resources, Shard, Stage
from curation.pixels import PixelSpec, View
from curation.weights import local_weights
from schemas.encode import DIGEST_BYTES, encode_table
from schemas.error_codes import row_error
from schemas.images import IMAGES
from stages.encode.config import EncodeConfig
from stages.encode.cost import chosen_texts, latent_bytes, mean_tokens, token_bytes
from stages.encode.precision import to_bytes
from stages.encode.where import Where
from training.encoders.identity import (
    codec_facts,
    encoder_identity,
    encoder_weights,
    identity_lines,
    text_facts,
)
from training.encoders.sizes import any_bucket_spec
from training.encoders.tokens import count_tokens

if TYPE_CHECKING:
    from training.encoders.latents import LatentCodec
    from training.encoders.texts import TextEncoder

_CAPTIONS = "caption.captions"
_BATCH_PIXELS = 1 << 20
"""A GPU gets about a megapixel at once, where YAML names no batch size."""

_Row = dict[str, Any]


class EncodeStage(Stage[EncodeConfig]):
    """Cache what a recipe's encoders make of every image and every caption.

    The pixels are those that the trainer would see, and so are the latents, but for rounding to the
    stated precision. Batches are of one size, the last filled up with black, so a latent depends on
    its own image alone; texts are encoded one by one. With encoders that have weights a worker
    gets a GPU, unless `run: {device: cpu}`. It holds the latents of its shards in memory until
    they are written.
    """

    name = "encode"
    config_type = EncodeConfig
    # A process of its own: torch takes more address space than the CPU pool's workers have.
    resources: ClassVar[Resources] = Resources(memory_bytes=16 << 30, own_pool=True)

    def __init__(self, config: EncodeConfig, artifact: Mapping[str, bytes] | None = None) -> None:
        super().__init__(config, artifact)
        self._where = None if config.where is None else Where(config.where)
        self._codec: LatentCodec | None = None
        self._texts: TextEncoder | None = None
        self._turn: AbstractContextManager[Any] = nullcontext()

    @property
    def needs(self) -> Resources:
        if self.weights():
            # Two shards, so that the GPU encodes one while the other is decoded.
            return Resources(
                cpus=1, gpus=1, memory_bytes=32 << 30, own_pool=True, shards_in_flight=2
            )
        return self.resources

    def reads(self) -> tuple[str, ...]:
        captions = [] if self.config.text is None else [_CAPTIONS]
        asked = () if self._where is None else self._where.reads()
        return tuple(dict.fromkeys([*captions, *asked]))

    def writes(self) -> pa.Schema:
        config = self.config
        return encode_table(
            latents=config.codec is not None, mirrored=config.flip, texts=config.text is not None
        )

    def pixels(self) -> PixelSpec | None:
        if self.config.codec is None:
            return None
        return any_bucket_spec(self.config.edge_px, self._fact("stride"))

    def weights(self) -> Mapping[str, str]:
        config = self.config
        found: dict[str, str] = {}
        for encoder in (config.codec, config.text):
            if encoder is not None:
                found |= encoder_weights(encoder)
        return found

    def digests(self) -> Mapping[str, str]:
        """Return the encoders' identities: what a trainer compares with its recipe's."""
        return self._identities(self.facts.get("weights", {}))

    def learn(self) -> Mapping[str, Any]:
        facts = super().learn()
        digests = facts.get("weights", {})
        paths = {r: local_weights(name, digests[r]) for r, name in self.weights().items()}
        found: dict[str, Any] = {**facts}
        if self.config.codec is not None:
            found |= codec_facts(self.config.codec, paths)
        if self.config.text is not None:
            found |= text_facts(self.config.text, paths)
        return found

    def check(self) -> None:
        packages = {"torch"} | ({"diffusers", "transformers"} if self.weights() else set())
        if missing := sorted(name for name in packages if find_spec(name) is None):
            message = f"{missing[0]} is not installed; `pip install 'longtail[train]'`"
            raise ConfigError(message)
        if self._where is not None:
            self._where.check({name: self._type_of(name) for name in self._where.reads()})

    def cost_reads(self) -> tuple[str, ...] | None:
        return self.reads()

    def cost(self, sample: pa.Table) -> Cost:
        config = self.config
        row_bytes = 0.0
        parts = []
        if config.codec is not None:
            of_latents = latent_bytes(config, self._fact("channels"), self._fact("stride"))
            row_bytes += of_latents
            whole = ", mirrored ones included" if config.flip else ""
            parts.append(f"{of_latents:,} bytes of latents{whole}")
        if config.text is not None:
            of_token = token_bytes(config, self._fact("width"))
            tokens = self._mean_tokens(sample)
            if isinstance(tokens, str):
                parts.append(f"{of_token:,} bytes for each token, {tokens}")
            else:
                row_bytes += tokens * of_token
                parts.append(f"{tokens:,.1f} tokens of {of_token:,} bytes")
        share = 1.0
        if self._where is not None and len(sample):
            chosen = self._where.evaluate(sample)
            share = sum(chosen) / len(chosen)
            parts.append(f"for the {share:.1%} of rows that where selects")
        elif self._where is not None:
            parts.append("if where selects every row, which is not known yet")
        return Cost(round(row_bytes * share), ", ".join(parts))

    def setup(self) -> None:
        from training.encoders.latents import make_codec
        from training.encoders.texts import make_text_encoder

        self._turn = threading.Lock()
        here: dict[str, str] = {}
        if self.config.codec is not None:
            self._codec = make_codec(self.config.codec)
            here |= identity_lines("codec", self._codec.identity())
        if self.config.text is not None:
            self._texts = make_text_encoder(self.config.text)
            here |= identity_lines("text", self._texts.identity())
        planned = self.digests()
        if wrong := [name for name in planned if planned[name] != here[name]]:
            message = (
                f"{wrong[0]} is {here[wrong[0]]} on this machine, and the run was planned with "
                f"{planned[wrong[0]]}; have the same weights everywhere"
            )
            raise ConfigError(message)

    def process(self, shard: Shard) -> pa.Table:
        chosen = [True] * len(shard) if self._where is None else self._where.evaluate(shard.table)
        rows: list[_Row] = [{} for _ in chosen]
        waiting: dict[tuple[int, ...], list[tuple[int, NDArray[np.uint8]]]] = {}
        captions = shard.column(_CAPTIONS).to_pylist() if self._texts else [None] * len(shard)
        known: dict[str, tuple[int, bytes] | None] = {}
        for position, view in self._views(shard):
            if not chosen[position]:
                rows[position] = {"error": row_error("not_selected")}
                continue
            if isinstance(view, str):
                rows[position] = {"error": view}
                continue
            if self._texts is not None:
                rows[position] |= self._encode_texts(captions[position], known)
            if view is not None:
                batch = waiting.setdefault(view.pixels.shape, [])
                batch.append((position, view.pixels))
                if len(batch) == self._batch_size(view.pixels):
                    self._encode_batch(batch, rows)
                    batch.clear()
        for batch in waiting.values():
            self._encode_batch(batch, rows)
        rows = [{"error": row["error"]} if "error" in row else row for row in rows]
        return pa.Table.from_pylist(rows, schema=self.writes())

    def _views(self, shard: Shard) -> Iterator[tuple[int, View | str | None]]:
        if self.config.codec is not None:
            yield from enumerate(shard.views())
        else:
            for position in shard.rows():
                yield position, None

    def _batch_size(self, pixels: NDArray[np.uint8]) -> int:
        if self.execution.batch_size is not None:
            return self.execution.batch_size
        height, width, _ = pixels.shape
        return 1 if self.execution.device == "cpu" else max(1, _BATCH_PIXELS // (height * width))

    def _encode_batch(self, batch: list[tuple[int, NDArray[np.uint8]]], rows: list[_Row]) -> None:
        """Put the latents of images of one size into their rows."""
        if not batch:
            return
        first = batch[0][1]
        pixels = np.zeros((self._batch_size(first), *first.shape), np.uint8)
        pixels[: len(batch)] = [shown for _, shown in batch]
        self._put_latents("latent", pixels, batch, rows)
        if self.config.flip:
            self._put_latents("mirrored", pixels[:, :, ::-1], batch, rows)

    def _put_latents(
        self,
        column: str,
        pixels: NDArray[np.uint8],
        batch: list[tuple[int, NDArray[np.uint8]]],
        rows: list[_Row],
    ) -> None:
        import torch

        assert self._codec is not None
        shown = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.execution.device)
        with self._turn:
            latents = self._codec.encode(shown)[: len(batch)].cpu()
        for (position, _), latent in zip(batch, latents, strict=True):
            data = to_bytes(latent, self.config.latent_precision)
            if data is None:
                rows[position]["error"] = row_error("nonfinite", column=column)
            rows[position] |= {column: data, "latent_height": latent.shape[1]}
            rows[position] |= {"latent_width": latent.shape[2]}

    def _encode_texts(self, captions: Any, known: dict[str, tuple[int, bytes] | None]) -> _Row:
        """Return the columns of a row's texts; what `known` has is not encoded again."""
        import torch

        assert self._texts is not None
        texts = chosen_texts(captions, self.config.variants)
        for text in texts:
            if text not in known:
                with self._turn:
                    (features,) = self._texts.encode([text], torch.device(self.execution.device))
                data = to_bytes(features, self.config.text_precision)
                known[text] = None if data is None else (len(features), data)
        found = [known[text] for text in texts]
        if any(item is None for item in found):
            return {"error": row_error("nonfinite", column="features")}
        whole = [item for item in found if item is not None]
        named = [
            {"digest": text_digest(text), "tokens": tokens}
            for text, (tokens, _) in zip(texts, whole, strict=True)
        ]
        return {"texts": named, "features": [data for _, data in whole]}

    def _mean_tokens(self, sample: pa.Table) -> float | str:
        """Return the tokens of a row, or why they are not known."""
        config = self.config
        assert config.text is not None
        rows = [chosen_texts(c, config.variants) for c in sample[_CAPTIONS].to_pylist()]
        try:
            paths = {role: self.weights_path(role) for role in encoder_weights(config.text)}
        except MissingWeightsError:
            return "whose number is not known where its tokenizer is not"
        encoder = config.text
        found = mean_tokens(rows, lambda texts: count_tokens(encoder, texts, paths))
        return "whose number is not known before there are captions" if found is None else found

    def _identities(self, digests: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for kind, encoder in (("codec", self.config.codec), ("text", self.config.text)):
            if encoder is not None:
                found |= identity_lines(kind, encoder_identity(encoder, digests))
        return found

    def _fact(self, name: str) -> int:
        """Return what was learnt, or what is known of an encoder without weights."""
        if name in self.facts:
            return int(self.facts[name])
        own: dict[str, int] = {}
        if self.config.codec is not None:
            own |= codec_facts(self.config.codec, {})
        if name == "width" and self.config.text is not None:
            own |= text_facts(self.config.text, {})
        return own[name]

    def _type_of(self, logical: str) -> pa.DataType:
        stage, _, column = logical.partition(".")
        schema = IMAGES if stage == "images" else self.upstream[stage].writes()
        return schema.field(column).type


def text_digest(text: str) -> bytes:
    """Return what a text is found by."""
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]
