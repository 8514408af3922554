"""Training a head: from vectors and their leaves to layers in floats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from stages.categorize import kmeans

HeadKind = Literal["linear", "mlp"]

_LEARNING_RATE = 0.002  # in logits: weights, which are scaled, move by as much less
_WEIGHT_DECAY = 1e-2
_LABEL_SMOOTHING = 0.02
_SLOWER = 0.3  # times the learning rate after an epoch that made nothing better
_PATIENCE = 2  # such epochs in a row, then the end
_STEPS = 64  # in an epoch, at least, unless that makes batches too small
_BATCH_ROWS = (32, 2048)
_SCALES = tuple(2.0 ** (k / 2) for k in range(2, 17))
_ABOVE = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""How much more than its children's a node's centre may weigh at the start."""

_MOST_ABOVE = 64
"""The root's children against the leaves: more, and 16 bits would leave too few to a leaf."""

_STARTED_ROWS = 2048
_JUDGED_ROWS = 16_384
"""Rows of the validation set that a start and an epoch are judged by."""


@dataclass(frozen=True)
class Trained:
    """A head in floats, and how it came to be.

    Attributes:
        weights: (outputs, inputs) of each layer, in order.
        biases: (outputs,) of each layer.
        largest_hidden: The largest number between the layers on the training rows; 0 without any.
        epochs: Epochs run.
        losses: Validation loss before the first epoch and after each, in nats.
        agreements: Share of the validation rows that got their leaf, likewise.
    """

    weights: Sequence[NDArray[np.float32]]
    biases: Sequence[NDArray[np.float32]]
    largest_hidden: float
    epochs: int
    losses: Sequence[float]
    agreements: Sequence[float]


def torch_or_refuse() -> Any:
    """Return the module torch.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import torch
    except ImportError as error:
        message = "a head is trained with torch, which is not installed; "
        raise ConfigError(message + "`pip install 'longtail[clip]'`") from error
    return torch


def chosen_device(wanted: str) -> str:
    """Return `cpu` or `cuda` for `auto`, and else what is wanted.

    Raises:
        ConfigError: CUDA is wanted and not there, or torch is not installed.
    """
    has_cuda = bool(torch_or_refuse().cuda.is_available())
    if wanted == "cuda" and not has_cuda:
        message = "--device cuda: torch finds no CUDA device here; use --device cpu"
        raise ConfigError(message)
    return ("cuda" if has_cuda else "cpu") if wanted == "auto" else wanted


def train(
    kind: HeadKind,
    vectors: tuple[kmeans.Integers, kmeans.Integers],
    labels: tuple[NDArray[np.int32], NDArray[np.int32]],
    centers: Sequence[kmeans.Integers],
    *,
    max_epochs: int,
    seed: int,
    device: str,
    say: Callable[[str], None],
) -> Trained:
    """Train a head to give each vector its leaf.

    It begins as what the tree does, in one layer: a leaf's weights are its own centre and a
    multiple of its ancestors' centres, since who compares the parents first and then the children
    compares such sums, the more exactly the larger the multiple. Which multiple and which scale is
    decided on validation rows. (The other head's first layer begins as the vector and its negative,
    rectified, which the last layer puts together again.) So 10,000 leaves with few rows each start
    in the right place, and an epoch is kept only if it is better than that: if more validation rows
    get their leaf, or as many at a smaller loss. AdamW, cross-entropy with label smoothing; an
    epoch that is no better is undone, and the next goes slower.

    On a CPU the same input gives the same bytes, with the same number of threads and the same
    torch. On a GPU it need not.

    Args:
        kind: One layer, or two.
        vectors: (rows, dimension) for training and for validation.
        labels: Number of the leaf of each row, likewise.
        centers: For each level from the leaves up, (leaves, dimension) the centre of each leaf or
            of its ancestor there.
        max_epochs: Epochs at most; 0 keeps the start.
        seed: Shuffles.
        device: In torch's words.
        say: Takes a line about each epoch.

    Source: Loshchilov & Hutter 2019 (AdamW), Szegedy et al. 2016 (label smoothing). The start from
        a tree is ours.
    """
    torch = torch_or_refuse()
    place = torch.device(device)
    rows, judged = (torch.from_numpy(part).to(place) for part in vectors)
    wanted, judged_wanted = (torch.from_numpy(part).long().to(place) for part in labels)
    judged, judged_wanted = judged[:_JUDGED_ROWS], judged_wanted[:_JUDGED_ROWS]
    levels = [torch.from_numpy(part).to(place).float() / kmeans.UNIT for part in centers]
    above, scale = _best_start(torch, levels, judged[:_STARTED_ROWS], judged_wanted[:_STARTED_ROWS])
    model = _Model(torch, kind, _combined(levels, above), scale)
    first = model.judge(judged, judged_wanted)
    judgements = [first]
    best, kept = first, model.copy()
    optimizer = torch.optim.AdamW(
        [
            {"params": model.weights, "lr": _LEARNING_RATE / model.scale},
            {"params": model.biases, "lr": _LEARNING_RATE},
        ],
        weight_decay=_WEIGHT_DECAY,
        foreach=False,
    )
    shuffle = torch.Generator().manual_seed(seed)
    batch_rows = _batch_rows(len(rows))
    say(f"the tree in one layer: {first}")
    slow = 0
    while len(judgements) <= max_epochs and slow <= _PATIENCE:
        order = torch.randperm(len(rows), generator=shuffle).to(place)
        for start in range(0, len(rows), batch_rows):
            batch = order[start : start + batch_rows]
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(
                model(rows[batch]), wanted[batch], label_smoothing=_LABEL_SMOOTHING
            ).backward()
            optimizer.step()
        judgements.append(model.judge(judged, judged_wanted))
        say(f"epoch {len(judgements) - 1}: {judgements[-1]}")
        if judgements[-1].is_better_than(best):
            best, kept, slow = judgements[-1], model.copy(), 0
        else:
            slow += 1
            model.take(kept)
            for group in optimizer.param_groups:
                group["lr"] *= _SLOWER
    model.take(kept)
    return model.trained(rows, judgements)


def _combined(levels: Sequence[Any], above: float) -> Any:
    """Return (leaves, dimension): each leaf's centre, its parent's `above` times, and so on."""
    return sum(level * above**height for height, level in enumerate(levels))


def _best_start(torch: Any, levels: Sequence[Any], rows: Any, wanted: Any) -> tuple[float, float]:
    """Return the multiple of ancestors and the scale with the smallest loss."""
    found = []
    height = len(levels) - 1
    for above in [above for above in _ABOVE if above**height <= _MOST_ABOVE] if height else [0.0]:
        products = (rows.float() / kmeans.UNIT) @ _combined(levels, above).T
        for scale in _SCALES:
            loss = torch.nn.functional.cross_entropy(products * scale, wanted)
            found.append((float(loss), above, scale))
    _, above, scale = min(found)
    return above, scale


@dataclass(frozen=True)
class _Judgement:
    """How a model does on the validation rows."""

    agreement: float
    loss: float

    def is_better_than(self, other: "_Judgement") -> bool:
        return (self.agreement, -self.loss) > (other.agreement, -other.loss)

    def __str__(self) -> str:
        return f"validation agreement {self.agreement:.4f}, loss {self.loss:.4f}"


def _batch_rows(num_rows: int) -> int:
    least, most = _BATCH_ROWS
    fitting = max(1, num_rows // _STEPS)
    return min(most, max(least, 1 << (fitting.bit_length() - 1)))


class _Model:
    """The layers as tensors; `scale` times the last layer's products are the logits."""

    def __init__(self, torch: Any, kind: HeadKind, start: Any, scale: float) -> None:
        self._torch = torch
        self.scale = scale
        if kind == "linear":
            weights = [start]
        else:
            both = torch.eye(start.shape[1], device=start.device)
            weights = [torch.cat([both, -both]), torch.cat([start, -start], dim=1)]
        self.weights = [weight.clone().requires_grad_() for weight in weights]
        self.biases = [
            torch.zeros(len(weight), device=start.device, requires_grad=True) for weight in weights
        ]

    def _parameters(self) -> list[Any]:
        return [*self.weights, *self.biases]

    def __call__(self, rows: Any) -> Any:
        return self._hidden(rows) @ self.weights[-1].T * self.scale + self.biases[-1]

    def _hidden(self, rows: Any) -> Any:
        """Return what the last layer takes, for vectors in units of 1/16384."""
        inputs = rows.float() / kmeans.UNIT
        if len(self.weights) == 1:
            return inputs
        return self._torch.relu(inputs @ self.weights[0].T + self.biases[0])

    def judge(self, rows: Any, wanted: Any) -> _Judgement:
        right, total = 0, 0.0
        with self._torch.no_grad():
            for start in range(0, len(rows), _BATCH_ROWS[1]):
                block = slice(start, start + _BATCH_ROWS[1])
                logits = self(rows[block])
                losses = self._torch.nn.functional.cross_entropy(
                    logits, wanted[block], reduction="sum"
                )
                total += float(losses)
                right += int((logits.argmax(dim=1) == wanted[block]).sum())
        return _Judgement(right / len(rows), total / len(rows))

    def copy(self) -> list[Any]:
        return [parameter.detach().clone() for parameter in self._parameters()]

    def take(self, kept: Sequence[Any]) -> None:
        with self._torch.no_grad():
            for parameter, value in zip(self._parameters(), kept, strict=True):
                parameter.copy_(value)

    def trained(self, rows: Any, judgements: Sequence[_Judgement]) -> Trained:
        largest = 0.0
        with self._torch.no_grad():
            if len(self.weights) > 1:
                for start in range(0, len(rows), _BATCH_ROWS[1]):
                    hidden = self._hidden(rows[start : start + _BATCH_ROWS[1]])
                    largest = max(largest, float(hidden.max()))
            weights = [weight.detach().cpu().numpy() for weight in self.weights]
            biases = [bias.detach().cpu().numpy() for bias in self.biases]
        weights[-1] = weights[-1] * np.float32(self.scale)
        return Trained(
            weights,
            biases,
            largest,
            len(judgements) - 1,
            [judgement.loss for judgement in judgements],
            [judgement.agreement for judgement in judgements],
        )
