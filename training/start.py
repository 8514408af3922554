"""The weights that a run starts from: released or exported ones, or those of another run.

Each rank reads its own rows of one tensor at a time, so that no host ever holds a whole model.
"""

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from curation.errors import ConfigError, UsageError
from curation.fingerprint import digest
from curation.weights import (
    Reference,
    digest_of,
    local_weights,
    memory_folder,
    weights_digest,
)
from training.checkpoint import Checkpoints, step_folder
from training.checkpoint_url import find_checkpoint, is_checkpoint
from training.encoders.diffusers_parts import diffusers_part
from training.model import Dit
from training.sharding import local_rows

CLASS = "ErnieImageTransformer2DModel"
TENSORS = "diffusion_pytorch_model.safetensors"
INDEX = f"{TENSORS}.index.json"
_PREFIX = "transformer."
_WHERE = {
    "in_channels": "the recipe's codec gives",
    "out_channels": "the recipe's codec gives",
    "text_in_dim": "the recipe's text encoder gives",
}


class Start(Protocol):
    """Weights to start from."""

    @property
    def reference(self) -> str:
        """Where they lie, as the recipe names it."""
        ...

    @property
    def place(self) -> str:
        """Where they lie for good: of a run the step, since a run may go on."""
        ...

    @property
    def digest(self) -> str:
        """What they are, wherever they lie."""
        ...

    def check(self, model: Dit) -> None:
        """Compare with a model, which may lie on the meta device and has no adapter yet.

        Raises:
            UsageError: Names the first size or weight that differs.
        """
        ...

    def read_into(self, model: Dit) -> set[str]:
        """Fill a model, sharded or not, with or without an adapter; return what was filled."""
        ...


def find_start(reference: str, *, last: bool = False) -> Start:
    """Find the weights that a recipe names.

    Args:
        reference: `model.weights` of a recipe.
        last: Of a checkpoint, take the last weights even where there are averaged ones.

    Raises:
        UsageError: There are none, or none that can be started from.
    """
    parsed = Reference.parse(reference)
    is_store = parsed.kind == "path" or (
        parsed.kind == "url" and not parsed.text.startswith(("http://", "https://"))
    )
    if is_store and is_checkpoint(parsed.text):
        return _of_run(parsed.text, last=last)
    if parsed.kind == "path":  # only this part of a pipeline counts, and is read
        inner = Path(parsed.text) / "transformer"
        named = str(inner) if inner.is_dir() else parsed.text
        found = weights_digest(named)
        folder = local_weights(named, found)
    else:
        found = weights_digest(reference)
        folder = local_weights(reference, found)
        if (folder / "transformer").is_dir():
            folder = folder / "transformer"
            found = digest_of(folder, memory_folder())
    return ReleasedWeights(reference, found, folder)


@dataclass(frozen=True)
class ReleasedWeights:
    """A `transformer/` as diffusers writes it; see `Start`.

    Attributes:
        reference: As the recipe names it.
        digest: Of the folder's content.
        folder: On this machine.
    """

    reference: str
    digest: str
    folder: Path

    @property
    def place(self) -> str:
        return self.reference

    def check(self, model: Dit) -> None:
        self._check_sizes(model.transformer.config)
        with ExitStack() as stack:
            opened = {name: stack.enter_context(_opened(path)) for name, path in self._files()}
            shapes = {
                key: tuple(file.get_slice(key).get_shape())
                for file in opened.values()
                for key in file.keys()  # noqa: SIM118 (it is no mapping)
            }
        _check_shapes(str(self.folder), shapes, _expected(model))

    @torch.no_grad()
    def read_into(self, model: Dit) -> set[str]:
        names = _by_key(model)
        parameters = dict(model.named_parameters())
        filled = set()
        for _, path in self._files():
            with _opened(path) as file:
                for key in file.keys():  # noqa: SIM118 (it is no mapping)
                    part, rows = local_rows(parameters[names[key]])
                    if part.numel():
                        part.copy_(file.get_slice(key)[rows])
                    filled.add(names[key])
        return filled

    def _files(self) -> Iterator[tuple[str, Path]]:
        """Yield the files by name.

        Raises:
            ConfigError: They are pickles, or not there.
        """
        names = [TENSORS]
        if (self.folder / INDEX).is_file():
            index = _read_json(self.folder / INDEX)
            names = sorted(set(index.get("weight_map", {}).values()))
        for name in names:
            path = self.folder / name
            if Path(name).name != name or not path.is_file():
                pickles = any(self.folder.glob("*.bin")) or any(self.folder.glob("*.pt"))
                because = "; pickles, which may run code, are not read" if pickles else ""
                message = (
                    f"{self.folder}: has no {name}{because}; name a folder with {TENSORS}, or with "
                    "its parts and their index, as diffusers writes them"
                )
                raise ConfigError(message)
            yield name, path

    def _check_sizes(self, ours: Mapping[str, Any]) -> None:
        where = self.folder / "config.json"
        if not where.is_file():
            is_adapter = any(self.folder.glob("*lora*.safetensors"))
            hint = (
                "it is an adapter: export the run with --merge first"
                if is_adapter
                else "name a pipeline's folder, its transformer/, or a run"
            )
            message = f"{self.folder}: has no config.json; {hint}"
            raise ConfigError(message)
        told = _read_json(where)
        if told.get("_class_name") != CLASS:
            message = f"{where}: is of a {told.get('_class_name')}, expected {CLASS}"
            raise ConfigError(message)
        for name, default in _defaults().items():
            theirs = told.get(name, default)
            if _plain(theirs) != _plain(ours[name]):
                whose = _WHERE.get(name, "the recipe's model has")
                message = (
                    f"{where}: {name} is {_plain(theirs)}, {whose} {_plain(ours[name])}; start "
                    "from weights of the recipe's sizes, or give the recipe theirs"
                )
                raise ConfigError(message)


@dataclass(frozen=True)
class RunWeights:
    """The weights of a run's checkpoint; see `Start`.

    Attributes:
        reference: As the recipe names it.
        digest: Of everything that the checkpoint says of its run: recipe, snapshot, step, losses.
            Its tensors are four times the model, and are not read for it.
        checkpoints: Where the run is kept.
        step: Which.
        kind: Averaged weights, or the last ones.
    """

    reference: str
    digest: str
    checkpoints: Checkpoints
    step: int
    kind: Literal["ema", "model"]

    @property
    def place(self) -> str:
        return self.checkpoints.store.uri(step_folder(self.step))

    def check(self, model: Dit) -> None:
        prefix = f"model.{self.kind}.{_PREFIX}"
        shapes = {
            key.removeprefix(prefix): shape
            for key, shape in self.checkpoints.shapes(self.step).items()
            if key.startswith(prefix)
        }
        _check_shapes(self.reference, shapes, _expected(model))

    def read_into(self, model: Dit) -> set[str]:
        names = _by_key(model)
        parameters = dict(model.named_parameters())
        values = {_PREFIX + key: parameters[name].detach() for key, name in names.items()}
        self.checkpoints.load(self.step, {"model": {self.kind: values}})
        return set(names.values())


def choose_kind(
    url: str, state: Mapping[str, Any], asked: Literal["ema", "model"] | None
) -> Literal["ema", "model"]:
    """Return which weights of a checkpoint to take: the averaged ones where there are some.

    Raises:
        UsageError: Averaged ones are asked for, and there are none.
    """
    has_ema = state["roles"]["model"]["ema_updates"] > 0
    chosen = asked or ("ema" if has_ema else "model")
    if chosen == "ema" and not has_ema:
        message = f"{url}: has no averaged weights; take the last ones"
        raise UsageError(message)
    return chosen


def _of_run(url: str, *, last: bool) -> RunWeights:
    checkpoints, step = find_checkpoint(url)
    state = checkpoints.state(step)
    if state["recipe"]["model"]["lora"] is not None:
        message = (
            f"{url}: holds an adapter, no model; `longtail export --merge` makes a folder that can "
            "be started from"
        )
        raise UsageError(message)
    kind = choose_kind(url, state, "model" if last else None)
    return RunWeights(url, digest({"state": state, "kind": kind}), checkpoints, step, kind)


def _by_key(model: Dit) -> dict[str, str]:
    """Return diffusers' key -> our parameter, without those of an adapter."""
    return {
        name.removeprefix(_PREFIX).replace(".base_layer.", "."): name
        for name, _ in model.named_parameters()
        if ".lora_" not in name
    }


def _expected(model: Dit) -> dict[str, tuple[int, ...]]:
    parameters = dict(model.named_parameters())
    return {key: tuple(parameters[name].shape) for key, name in _by_key(model).items()}


def _check_shapes(
    where: str, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    for names, what in (
        (expected.keys() - found.keys(), "is missing"),
        (found.keys() - expected.keys(), "is no weight of the recipe's model"),
        ((n for n in expected if found.get(n) not in {None, expected[n]}), "has another shape"),
    ):
        _refuse(where, sorted(names), what, found, expected)


def _refuse(
    where: str,
    names: list[str],
    what: str,
    found: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    if not names:
        return
    first = names[0]
    both = first in found and first in expected
    shapes = f" ({list(found[first])}, expected {list(expected[first])})" if both else ""
    more = f", and so for {len(names) - 1} others" if len(names) > 1 else ""
    message = f"{where}: {first} {what}{shapes}{more}; give the recipe the sizes of these weights"
    raise ConfigError(message)


def _defaults() -> dict[str, Any]:
    """Return what a `config.json` that does not name a size means."""
    model_type = diffusers_part("ErnieImageTransformer2DModel")
    parameters: Iterable[inspect.Parameter] = inspect.signature(model_type).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{path}: is no JSON; copy it again"
        raise ConfigError(message) from error
    if not isinstance(found, dict):
        message = f"{path}: is no JSON object; copy it again"
        raise ConfigError(message)
    return found


def _opened(path: Path) -> Any:
    """Open a safetensors file; its tensors are read when they are asked for.

    Raises:
        ConfigError: It is cut, or no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt", device="cpu")
    except SafetensorError as error:
        message = f"{path}: cut, or no safetensors file; copy it again"
        raise ConfigError(message) from error
