"""Batches of tensors in memory: for toys, tests and evidence, never for a run of the command."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.batch import Batch
from training.data.plan import BatchConfig, Cursor, Plan, Visit, micro_parts
from training.data.source import GlobalBatch
from training.draws import SampleKey, draw_uniform


class MemorySource:
    """Gives out latents and texts that are held.

    Args:
        latent_NCHW: All latents.
        text_NTD: All features, padded.
        text_lens_N: Tokens of each.
        null_TD: Features of the empty text.
        batch: How batches are cut.
        seed: Of the order and the draws.
        dropout: Share of visits that are shown no text.
        domains: Of each latent; `default` for all where null.
        rank: This process.
        world_size: How many there are.
        micro_size: Samples of a micro-batch, at most.
    """

    def __init__(
        self,
        latent_NCHW: Tensor,
        text_NTD: Tensor,
        text_lens_N: Tensor,
        null_TD: Tensor,
        *,
        batch: BatchConfig,
        seed: int,
        dropout: float = 0.1,
        domains: Sequence[str] | None = None,
        rank: int = 0,
        world_size: int = 1,
        micro_size: int = 1 << 20,
    ) -> None:
        self._latents, self._texts, self._lens = latent_NCHW, text_NTD, text_lens_N
        self._null = null_TD
        self._batch, self._seed, self._dropout = batch, seed, dropout
        self._domains = domains
        self._rank, self._world_size, self._micro_size = rank, world_size, micro_size
        count = len(latent_NCHW)
        ids = b"".join(number.to_bytes(16, "little") for number in range(count))
        self.image_ids: NDArray[np.void] = np.frombuffer(ids, "V16")
        self.repeats = np.ones(count, np.int32)
        self.buckets = np.zeros(count, np.int32)
        self.image_tokens = np.array([latent_NCHW[0, 0].numel()], np.int32)

    def text_tokens(self, positions: NDArray[np.int64], keys: Sequence[SampleKey]) -> list[int]:
        """Return the tokens of the texts drawn for these visits."""
        lengths = self._lens[torch.from_numpy(positions)].tolist()
        return [
            len(self._null) if self._drops(key) else int(length)
            for length, key in zip(lengths, keys, strict=True)
        ]

    def batches(self, cursor: Cursor) -> Iterator[GlobalBatch]:
        """Yield this rank's part of every global batch after the cursor."""
        plan = Plan(self, self._batch, self._seed, cursor)
        for visits in plan:
            parts = micro_parts(visits, self._rank, self._world_size, self._micro_size)
            micro = tuple(self._make(part, visits) for part in parts)
            yield GlobalBatch(micro, len(visits), plan.cursor)

    def _make(self, part: Sequence[Visit], whole: Sequence[Visit]) -> Batch:
        visits = list(part) or [whole[0]]
        places = torch.tensor([visit.position for visit in visits])
        text_BTD, lens_B = self._texts[places].clone(), self._lens[places].clone()
        for number, visit in enumerate(visits):
            if self._drops(visit.key):
                text_BTD[number] = 0
                text_BTD[number, : len(self._null)] = self._null
                lens_B[number] = len(self._null)
        longest = int(lens_B.max())
        names = self._domains
        domains = ["default" if names is None else names[v.position] for v in visits]
        return Batch(
            self._latents[places],
            text_BTD[:, :longest],
            lens_B,
            self._null,
            tuple(visit.key for visit in visits),
            tuple(domains),
            torch.full((len(visits),), float(bool(part))),
            len(whole),
            self._seed,
        )

    def _drops(self, key: SampleKey) -> bool:
        return draw_uniform(self._seed, key, "dropout") < self._dropout
