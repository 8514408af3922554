"""ERNIE-Image-Aes in this process."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from curation.pipeline.stage import Execution
from stages.aesthetic.ernie_checkpoint import IMAGENET_MEAN, IMAGENET_STD, Released, convert
from stages.aesthetic.ernie_config import ErnieImageAesConfig
from stages.aesthetic.ernie_engine import DTYPES, Engine, check_packages
from stages.aesthetic.ernie_prompt import prompt, word_ids
from stages.aesthetic.scorer import Image
from training.encoders.clip_config import check_precision
from training.encoders.torchvision_ops import declare_missing_ops


class TransformersEngine(Engine):
    """The model in this process, through transformers, in batches of one size."""

    def __init__(self, config: ErnieImageAesConfig, execution: Execution) -> None:
        super().__init__(config, execution)
        self.batch_size = execution.batch_size or (16 if execution.device == "cuda" else 2)
        # One batch at a time: two would need twice the memory, and a GPU is busy with one.
        self._turn = threading.Lock()
        self._model: Any = None

    def check(self) -> None:
        check_packages("torch", "transformers", "safetensors", extra="vlm")
        check_precision(self.config.precision, self.execution.device)

    def load(self, folder: Path, digest: str) -> None:
        import torch

        declare_missing_ops()
        from transformers import AutoTokenizer, InternVLForConditionalGeneration
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        released = Released.read(folder)
        converted = convert(folder, digest)
        tokenizer = AutoTokenizer.from_pretrained(converted, local_files_only=True)
        text = prompt(released.system_message, released.num_image_tokens)
        token_ids = tokenizer.encode(text, add_special_tokens=False)
        made: Any = InternVLForConditionalGeneration.from_pretrained(
            converted,
            dtype=getattr(torch, DTYPES[self.config.precision]),
            attn_implementation="sdpa",
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        loaded, report = made
        # What the files lack was drawn at random, and only a log would say so.
        if lacking := sorted({*report["missing_keys"], *report["mismatched_keys"]}, key=str):
            message = (
                f"{folder}: {len(lacking)} tensors of the model are not there or of another shape, "
                f"such as {lacking[0]}; name all files of the release"
            )
            raise ConfigError(message)
        device = self.execution.device
        model: Any = loaded.eval().requires_grad_(False).to(device)
        self._token_ids = torch.tensor(token_ids, device=device)
        # Only these rows of the output layer are used, so only they are multiplied.
        ids = torch.tensor(word_ids(tokenizer, str(folder)), device=device)
        self._words = model.lm_head.weight.index_select(0, ids)
        self._mean = torch.tensor(IMAGENET_MEAN, device=device).reshape(1, 3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD, device=device).reshape(1, 3, 1, 1)
        self._model = model.model

    def logits(self, images: Sequence[Image]) -> list[NDArray[np.float64] | str]:
        import torch

        if not images:
            return []
        # A batch is always full, so that a row's sums do not depend on how many came with it.
        batch = np.stack([*images, *[images[-1]] * (self.batch_size - len(images))])
        with self._turn, torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self.execution.device)
            # In place, on whole planes: a quarter of the time of plain expressions on a CPU.
            pixels = pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32)
            pixels = pixels.div_(255).sub_(self._mean).div_(self._std).to(self._words.dtype)
            hidden = self._model(
                input_ids=self._token_ids.expand(len(batch), -1),
                pixel_values=pixels,
                use_cache=False,
            ).last_hidden_state[:, -1]
            found = (hidden @ self._words.T).to(torch.float64).cpu().numpy()
        return list(found[: len(images)])
