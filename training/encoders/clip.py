"""CLIP and SigLIP models of open_clip: images and texts in, unit vectors out.

Shapes: B images or texts of a batch, H and W pixels, C channels, D numbers of a vector.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from training.encoders.clip_config import (
    ClipArchitecture,
    ClipSettings,
    check_installed,
    check_precision,
    clip_facts,
    read_architecture,
)
from training.encoders.clip_text import Tokenize, make_tokenizer
from training.encoders.clip_weights import build, check_release, load_weights
from training.encoders.torchvision_ops import declare_missing_ops

if TYPE_CHECKING:
    import torch

__all__ = ["ClipModel", "ClipSettings", "check_installed", "check_precision", "clip_facts"]

_BATCH = {"cpu": 16, "cuda": 128}
_TEXT_BATCH = {"cpu": 8, "cuda": 128}
"""A search embeds one text, and the batch is padded: on a CPU that shall not take seconds."""


class ClipModel:
    """A model on its device.

    Both towers run on batches of one size, the last filled up with zeros: a library may sum in
    another order for another size, so this way a row depends on itself alone. Any number of threads
    may call at once; the model itself takes one batch after the other, while the others prepare
    theirs.

    Attributes:
        dimension: Length of a vector.
        size_px: Edge of the square images.
        logit_scale: Factor of a cosine before the softmax or sigmoid.
        logit_bias: Added after that, by models with a sigmoid (SigLIP); else null.
    """

    def __init__(
        self,
        model: Any,
        architecture: ClipArchitecture,
        precision: str,
        device: str,
        batch_size: int | None = None,
    ) -> None:
        """Take a model that is loaded; `load` is the usual way."""
        import torch

        self._model = model
        self._device = torch.device(device)
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[
            precision
        ]
        self._name = architecture.name
        self._batch_size = batch_size or _BATCH[self._device.type]
        self._text_batch_size = min(self._batch_size, _TEXT_BATCH[self._device.type])
        self._lock = threading.Lock()
        self._tokenizer: Tokenize | None = None
        self._architecture = architecture
        self.dimension = architecture.dimension
        self.size_px = architecture.size_px
        preprocess = architecture.preprocess
        self._mean = torch.tensor(preprocess.mean, device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocess.std, device=self._device).view(1, 3, 1, 1)
        self.logit_scale = float(model.logit_scale.detach().float().exp().item())
        bias = getattr(model, "logit_bias", None)
        self.logit_bias = None if bias is None else float(bias.detach().float().item())

    @classmethod
    def load(
        cls, settings: ClipSettings, path: Path, device: str, batch_size: int | None = None
    ) -> "ClipModel":
        """Load a model.

        Args:
            settings: Which model is meant.
            path: Where its weights lie on this machine: a file or a folder.
            device: `cpu` or `cuda`.
            batch_size: Images of one batch; null for 16 on a CPU and 128 on a GPU.

        Raises:
            ConfigError: The files are not those of the model; the device cannot compute that way.
        """
        check_installed()
        check_precision(settings.precision, device)
        declare_missing_ops()
        check_release(settings)
        architecture = read_architecture(settings, path)
        _check_device(device)
        model = build(architecture, settings.precision, device)
        load_weights(model, architecture)
        return cls(model, architecture, settings.precision, device, batch_size)

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed images.

        Args:
            pixels: (n, size_px, size_px, 3) sRGB, resized and cropped as `clip_facts` says; they
                are normalised here.

        Returns:
            (n, dimension), of length 1 each, in order; NaN where the model gives nothing finite.
        """
        size = self.size_px
        assert pixels.shape[1:] == (size, size, 3), pixels.shape
        assert pixels.dtype == np.uint8
        parts = [np.zeros((0, self.dimension), np.float32)]
        for start in range(0, len(pixels), self._batch_size):
            part = pixels[start : start + self._batch_size]
            batch = np.ascontiguousarray(part)
            if len(part) < self._batch_size:
                batch = np.zeros((self._batch_size, size, size, 3), np.uint8)
                batch[: len(part)] = part
            parts.append(self._images(batch)[: len(part)])
        return np.concatenate(parts)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts; what is longer than the model's context is cut off.

        Returns:
            (n, dimension), of length 1 each, in order.

        Raises:
            ConfigError: The model's tokenizer is not among its files.
        """
        parts = [np.zeros((0, self.dimension), np.float32)]
        for start in range(0, len(texts), self._text_batch_size):
            part = list(texts[start : start + self._text_batch_size])
            padded = part + [""] * (self._text_batch_size - len(part))
            parts.append(self._texts(padded)[: len(part)])
        return np.concatenate(parts)

    def _images(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            pixels_BHWC = torch.from_numpy(batch)
            if self._device.type == "cuda":
                pixels_BHWC = pixels_BHWC.pin_memory()
            pixels_BHWC = pixels_BHWC.to(self._device, non_blocking=True)
            # The values of torchvision's ToTensor and Normalize, in fp32; turned around while they
            # are bytes, and in place, which takes a third of the time.
            pixels_BCHW = pixels_BHWC.permute(0, 3, 1, 2).contiguous().float()
            pixels_BCHW = pixels_BCHW.div_(255).sub_(self._mean).div_(self._std).to(self._dtype)
            with self._lock:
                vectors_BD = self._model.encode_image(pixels_BCHW)
            return _unit(vectors_BD)

    def _texts(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        with self._lock:  # tokenizers keep their truncation and padding as state
            if self._tokenizer is None:
                self._tokenizer = make_tokenizer(self._architecture)
            tokens = self._tokenizer(texts)
        with torch.inference_mode():
            tokens = tokens.to(self._device)
            with self._lock:
                vectors_BD = self._model.encode_text(tokens)
            return _unit(vectors_BD)


def _check_device(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        message = (
            "device: torch finds no GPU on this machine; say `run: {device: cpu}`, or install a "
            "torch for CUDA where there is one"
        )
        raise ConfigError(message)


def _unit(vectors_BD: "torch.Tensor") -> NDArray[np.float32]:
    """Scale to length 1 in fp32, whatever the precision; zeros become NaN."""
    exact_BD = vectors_BD.float()
    unit: NDArray[np.float32] = (exact_BD / exact_BD.norm(dim=-1, keepdim=True)).cpu().numpy()
    return unit
