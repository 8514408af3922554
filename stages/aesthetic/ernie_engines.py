"""What computes ERNIE-Image-Aes: a batch of images in, the logits of the score words out."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from curation.pipeline.stage import Execution
from stages.aesthetic.ernie_checkpoint import IMAGENET_MEAN, IMAGENET_STD, Released, convert
from stages.aesthetic.ernie_prompt import prompt, word_ids
from stages.aesthetic.scorer import Image
from training.encoders.torchvision_ops import declare_missing_ops

Precision = Literal["bf16", "fp16", "fp32"]

TORCH_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


class Engine(ABC):
    """Computes the model; made for one precision and one place, then loaded once.

    Attributes:
        batch_size: Images that `logits` takes at once, at most.
    """

    batch_size: int

    def __init__(self, precision: Precision, execution: Execution) -> None:
        self.precision = precision
        self.execution = execution

    @classmethod
    @abstractmethod
    def check(cls) -> None:
        """Refuse to run where a package is missing.

        Raises:
            ConfigError: Says which, and how to get it.
        """

    @abstractmethod
    def load(self, folder: Path, digest: str) -> None:
        """Load the released checkpoint in `folder`, whose content has this digest."""

    @abstractmethod
    def logits(self, images: Sequence[Image]) -> list[NDArray[np.float64] | str]:
        """Return for each image the (101,) logits of the score words, or why there are none.

        Args:
            images: (448, 448, 3) RGB each. Called by several threads at the same time.
        """


class TransformersEngine(Engine):
    """The model in this process, through transformers, in batches of one size."""

    _PACKAGES: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")

    def __init__(self, precision: Precision, execution: Execution) -> None:
        super().__init__(precision, execution)
        self.batch_size = execution.batch_size or (16 if execution.device == "cuda" else 2)
        # One batch at a time: two would need twice the memory, and a GPU is busy with one.
        self._turn = threading.Lock()
        self._model: Any = None

    @classmethod
    def check(cls) -> None:
        for name in cls._PACKAGES:
            if find_spec(name) is None:
                message = f"{name} is not installed; `pip install 'longtail[vlm]'`"
                raise ConfigError(message)

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
        loaded: Any = InternVLForConditionalGeneration.from_pretrained(
            converted,
            dtype=getattr(torch, TORCH_DTYPES[self.precision]),
            attn_implementation="sdpa",
            local_files_only=True,
            use_safetensors=True,
        )
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
            pixels = pixels.permute(0, 3, 1, 2).to(torch.float32) / 255
            pixels = ((pixels - self._mean) / self._std).to(self._words.dtype)
            hidden = self._model(
                input_ids=self._token_ids.expand(len(batch), -1),
                pixel_values=pixels,
                use_cache=False,
            ).last_hidden_state[:, -1]
            found = (hidden @ self._words.T).to(torch.float64).cpu().numpy()
        return list(found[: len(images)])


ENGINES: dict[str, type[Engine]] = {"transformers": TransformersEngine}
"""Name in YAML -> class."""
