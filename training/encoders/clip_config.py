"""Which CLIP model is meant, and what its files say of it; read without torch and open_clip."""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from curation.config import Config, nearest
from curation.errors import ConfigError, MissingWeightsError
from curation.fingerprint import digest
from curation.weights import WeightsReference
from training.encoders.clip_preprocess import Preprocess, released_preprocess

CONFIG_FILE = "open_clip_config.json"
"""In a folder of weights: the architecture and how to preprocess, as open_clip publishes models."""

WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_model.pt",
    "open_clip_pytorch_model.pt",
    "pytorch_model.bin",
)
"""Where a folder has the weights; the first that is there counts."""

_RESIZE_MODES = ("shortest", "squash")
_INTERPOLATIONS = ("bicubic", "bilinear", "random")
_DEFAULT_SIZE_PX = 224
_INSTALL = "`pip install 'longtail[clip]'`"

Precision = Literal["fp32", "bf16", "fp16"]


class ClipSettings(Config):
    """A CLIP or SigLIP model with an image and a text tower, as open_clip has them.

    Attributes:
        model: The architecture's name in open_clip (`ViT-L-14`, `ViT-SO400M-14-SigLIP2-378`); null
            where `weights` is a folder with an `open_clip_config.json`, which says it.
        release: For a single file of weights: their name in open_clip (`openai`,
            `laion2b_s32b_b82k`). Some releases of one architecture want their pixels normalised
            otherwise, or another activation; this tells them apart. Null for what most releases of
            the model want.
        weights: The weights: a `.safetensors` or `.pt` file of an open_clip state dict, or a folder
            as open_clip publishes models, which also holds the tokenizer where the model does not
            use CLIP's own. A path, a URL or `hf://OWNER/NAME@COMMIT`.
        precision: Of weights and activations; normalisation layers and the vectors' scaling stay in
            `fp32`. `fp16` needs a GPU. On a CPU, `bf16` is several times as fast as `fp32` where
            the processor computes in it (AMX, AVX512-BF16), and slow elsewhere.
    """

    model: str | None = None
    release: str | None = None
    weights: WeightsReference
    precision: Precision = "fp32"


@dataclass(frozen=True)
class ClipArchitecture:
    """What the files beside the weights say of a model.

    Attributes:
        name: How to call it in messages.
        model_cfg: open_clip's description of both towers.
        preprocess: How it wants to see images.
        folder: The folder of weights; null for a single file.
        file: The file with the weights.
    """

    name: str
    model_cfg: Mapping[str, Any]
    preprocess: Preprocess
    folder: Path | None
    file: Path

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        return int(self.model_cfg["embed_dim"])

    @property
    def size_px(self) -> int:
        """Edge of the square images that it takes.

        Raises:
            ConfigError: They are not square.
        """
        size = self.model_cfg["vision_cfg"].get("image_size", _DEFAULT_SIZE_PX)
        edges = size if isinstance(size, list) else [size]
        if len({str(edge) for edge in edges}) != 1 or not isinstance(edges[0], int):
            message = f"{self.name}: takes images of {size} pixels; only square ones are supported"
            raise ConfigError(message)
        return edges[0]

    @property
    def text_cfg(self) -> Mapping[str, Any]:
        """open_clip's description of the text tower."""
        text_cfg: Mapping[str, Any] = self.model_cfg["text_cfg"]
        return text_cfg

    def digest(self) -> str:
        """Return what, beside the weights, decides what a vector is."""
        return digest({"model_cfg": self.model_cfg, "preprocess": asdict(self.preprocess)})


def read_architecture(settings: ClipSettings, path: Path) -> ClipArchitecture:
    """Read what is known of a model beside its weights.

    Args:
        settings: Which model is meant.
        path: Where its weights lie on this machine: a file or a folder.

    Raises:
        ConfigError: The model is unknown, the folder lacks a file, or the model needs what is
            refused here: a download, another program's code, images that are filled up or oblong.
    """
    if path.is_dir():
        found = _from_folder(settings, path)
    else:
        found = _from_file(settings, path)
    _refuse_strangers(found)
    for name, known in (("resize_mode", _RESIZE_MODES), ("interpolation", _INTERPOLATIONS)):
        value = getattr(found.preprocess, name)
        if value not in known:
            message = f"{found.name}: {name} {value!r}; only {' and '.join(known)} are supported"
            raise ConfigError(message)
    if found.preprocess.interpolation == "random":  # of training; open_clip means bicubic without
        found = replace(found, preprocess=replace(found.preprocess, interpolation="bicubic"))
    assert found.size_px > 0
    return found


def clip_facts(settings: ClipSettings, path: Path) -> dict[str, Any]:
    """Return, as JSON, what must be known of a model before it is loaded; torch is not imported.

    Args:
        settings: Which model is meant.
        path: Where its weights lie on this machine.

    Returns:
        `dimension` of a vector; `size_px`, `resize_mode` and `interpolation` of the images it
        takes; `architecture`, a digest of all that its vectors depend on beside the weights.

    Raises:
        ConfigError: As `read_architecture`.
    """
    found = read_architecture(settings, path)
    return {
        "dimension": found.dimension,
        "size_px": found.size_px,
        "resize_mode": found.preprocess.resize_mode,
        "interpolation": found.preprocess.interpolation,
        "architecture": found.digest(),
    }


def check_precision(precision: Precision, device: str) -> None:
    """Refuse what a device cannot compute.

    Raises:
        ConfigError: Says what to take instead.
    """
    if precision == "fp16" and device == "cpu":
        message = "precision: fp16 needs a GPU; say bf16 or fp32 to run on the CPU"
        raise ConfigError(message)


def check_installed() -> None:
    """Refuse to go on without open_clip and torch.

    Raises:
        ConfigError: Says what to install.
    """
    for package in ("torch", "open_clip"):
        if importlib.util.find_spec(package) is None:
            message = f"{package} is not installed; {_INSTALL}"
            raise ConfigError(message)


def _from_folder(settings: ClipSettings, folder: Path) -> ClipArchitecture:
    file = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if file is None:
        message = f"{folder}: holds no weights of open_clip; expected {WEIGHT_FILES[0]}"
        raise ConfigError(message)
    if not (folder / CONFIG_FILE).is_file():
        if settings.model is None:
            message = (
                f"{folder}: has no {CONFIG_FILE}, so the model must be named: `model: ViT-L-14`"
            )
            raise ConfigError(message)
        return replace(_from_file(settings, file), folder=folder)
    stated = _read_json(folder / CONFIG_FILE)
    model_cfg = stated.get("model_cfg")
    if not isinstance(model_cfg, dict) or not _is_model_cfg(model_cfg):
        message = (
            f"{folder / CONFIG_FILE}: its model_cfg lacks embed_dim, vision_cfg or text_cfg; take "
            "the file that open_clip published with the model"
        )
        raise ConfigError(message)
    if settings.model is not None and _bare(_named(settings.model)) != _bare(model_cfg):
        message = (
            f"{folder}: its {CONFIG_FILE} describes another model than {settings.model}; leave "
            "`model` out"
        )
        raise ConfigError(message)
    preprocess = replace(released_preprocess("", None), **_preprocess_of(stated, folder))
    return ClipArchitecture(folder.name, model_cfg, preprocess, folder, file)


def _from_file(settings: ClipSettings, file: Path) -> ClipArchitecture:
    if settings.model is None:
        message = f"{file}: a single file of weights needs the model's name: `model: ViT-L-14`"
        raise ConfigError(message)
    preprocess = released_preprocess(settings.model, settings.release)
    return ClipArchitecture(settings.model, _named(settings.model), preprocess, None, file)


def _named(model: str) -> dict[str, Any]:
    """Return the description of a model that is known to the open_clip installed here."""
    found = importlib.util.find_spec("open_clip")
    if found is None or found.origin is None:
        message = f"open_clip is not installed, which knows {model}; {_INSTALL}"
        raise MissingWeightsError(message)
    folder = Path(found.origin).parent / "model_configs"
    known = {path.stem: path for path in folder.glob("*.json")}
    if model not in known:
        hint = nearest(model, sorted(known))
        message = f"model: open_clip knows no {model!r}{hint}"
        raise ConfigError(message)
    return _read_json(known[model])


def _preprocess_of(stated: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    given = stated.get("preprocess_cfg") or {}
    known: dict[str, Any] = {}
    for name in ("mean", "std"):
        if given.get(name) is not None:
            value = given[name]
            channels = value if isinstance(value, list) else [value] * 3
            numbers = all(isinstance(channel, (int, float)) for channel in channels)
            if len(channels) != 3 or not numbers:
                message = f"{folder / CONFIG_FILE}: preprocess_cfg.{name} is {value!r}"
                raise ConfigError(f"{message}; expected three numbers")
            known[name] = tuple(float(channel) for channel in channels)
    for name in ("interpolation", "resize_mode"):
        if given.get(name) is not None:
            known[name] = str(given[name])
    return known


def _refuse_strangers(found: ClipArchitecture) -> None:
    """Refuse descriptions for which a library would download, or run code beside the weights."""
    timm_name = found.model_cfg["vision_cfg"].get("timm_model_name")
    if timm_name is not None and ":" in str(timm_name):
        message = f"{found.name}: its image tower {timm_name!r} would be downloaded; not supported"
        raise ConfigError(message)
    tower = found.text_cfg.get("hf_model_name")
    if tower is None:
        return
    config = found.folder / "config.json" if found.folder is not None else None
    if config is None or not config.is_file():
        message = (
            f"{found.name}: its text tower is {tower} of transformers, whose description would be "
            "downloaded; take a folder of weights that has its config.json beside the weights, or "
            "a model with a text tower of its own"
        )
        raise ConfigError(message)
    if "auto_map" in _read_json(config):
        message = f"{config}: its auto_map names code of its own, which is never run"
        raise ConfigError(message)


def _is_model_cfg(value: Mapping[str, Any]) -> bool:
    parts = all(isinstance(value.get(name), dict) for name in ("vision_cfg", "text_cfg"))
    return parts and isinstance(value.get("embed_dim"), int)


def _bare(model_cfg: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what two descriptions of one model share, whatever was added since."""
    vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
    size = vision.get("image_size", _DEFAULT_SIZE_PX)
    names = ("layers", "width", "patch_size", "timm_model_name")
    return (
        model_cfg["embed_dim"],
        size,
        bool(model_cfg.get("quick_gelu")),
        *(vision.get(name) for name in names),
        *(text.get(name) for name in ("layers", "width", "context_length", "vocab_size")),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as JSON"
        raise ConfigError(message) from error
    if not isinstance(value, dict):
        message = f"{path}: expected an object, found {type(value).__name__}"
        raise ConfigError(message)
    return value
