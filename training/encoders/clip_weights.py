"""CLIP models built from their description, and weights put into them key by key."""

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.config import nearest
from curation.errors import ConfigError
from training.encoders.clip_config import ClipArchitecture, ClipSettings, Precision


def build(architecture: ClipArchitecture, precision: Precision, device: str) -> Any:
    """Build a model with random weights, on its device and in its precision.

    It is what `open_clip.create_model` builds, without the parts of it that download weights for a
    tower when there are none for the whole.

    Raises:
        ConfigError: open_clip cannot build what the description says.
    """
    import open_clip
    import torch
    from open_clip.factory import _set_model_device_and_precision

    model_cfg = copy.deepcopy(dict(architecture.model_cfg))
    vision_cfg, text_cfg = model_cfg["vision_cfg"], model_cfg["text_cfg"]
    is_timm = "timm_model_name" in vision_cfg
    if is_timm:
        vision_cfg["timm_model_pretrained"] = False
    if text_cfg.get("hf_model_name"):
        text_cfg["hf_model_name"] = str(architecture.folder)
        text_cfg["hf_model_pretrained"] = False
    kind = open_clip.CLIP
    if model_cfg.pop("custom_text", False) or text_cfg.get("hf_model_name"):
        kind = open_clip.CoCa if "multimodal_cfg" in model_cfg else open_clip.CustomTextCLIP
    try:
        model = kind(**model_cfg, cast_dtype=open_clip.get_cast_dtype(precision))
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        message = f"{architecture.name}: open_clip cannot build this model ({words})"
        raise ConfigError(message) from error
    _set_model_device_and_precision(model, torch.device(device), precision, is_timm)
    return model.eval().requires_grad_(False)


def check_release(settings: ClipSettings) -> None:
    """Compare a stated release with what open_clip knows of it.

    Raises:
        ConfigError: It knows no such release of the model, or one that needs another activation.
    """
    import open_clip

    if settings.release is None or settings.model is None:
        return
    known = open_clip.list_pretrained_tags_by_model(settings.model)
    if settings.release not in known:
        hint = nearest(settings.release, known) or f"; known: {', '.join(known) or 'none'}"
        message = f"release: open_clip knows no {settings.release!r} of {settings.model}{hint}"
        raise ConfigError(message)
    wanted = bool(open_clip.get_pretrained_cfg(settings.model, settings.release).get("quick_gelu"))
    has = bool((open_clip.get_model_config(settings.model) or {}).get("quick_gelu"))
    if wanted != has:
        other = (
            f"{settings.model}-quickgelu" if wanted else settings.model.removesuffix("-quickgelu")
        )
        message = (
            f"model: {settings.release} was trained with another activation than {settings.model} "
            f"has; say `model: {other}`"
        )
        raise ConfigError(message)


def load_weights(model: Any, architecture: ClipArchitecture) -> None:
    """Put a file's weights into a model, all of them and nothing else.

    Raises:
        ConfigError: The file is not one of weights alone, or not of this model; names the first key
            that is missing, unknown or of another shape.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = convert_state_dict(model, _read(architecture))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    # Written by transformers before 4.31, and the same in every file.
    state.pop("text.transformer.embeddings.position_ids", None)
    for name in ("logit_scale", "logit_bias"):  # single numbers with or without an axis
        if name in state and name in expected and state[name].numel() == 1:
            state[name] = state[name].reshape(expected[name].shape)
    _compare(architecture, expected, state)
    model.load_state_dict(state)


def _read(architecture: ClipArchitecture) -> dict[str, Any]:
    """Read a state dict without running anything that the file may hold."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = architecture.file
    try:
        if _is_safetensors(file):
            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        message = (
            f"{file}: cannot be read as weights alone; expected a .safetensors file or a state "
            "dict of torch.save. Archives of TorchScript and pickled models hold code, which is "
            "never run: take the release's .safetensors file"
        )
        raise ConfigError(message) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]  # a checkpoint of open_clip's own trainer
    tensors = isinstance(state, dict) and all(torch.is_tensor(value) for value in state.values())
    if not tensors or not state:
        message = f"{file}: holds no state dict, that is names and tensors"
        raise ConfigError(message)
    return {name.removeprefix("module."): value for name, value in state.items()}


def _is_safetensors(file: Path) -> bool:
    """Look at the content: a file fetched from a URL is kept under another name.

    Source: the format of safetensors: eight bytes of length, then a JSON object.
    """
    with file.open("rb") as source:
        return source.read(9)[8:] == b"{"


def _compare(
    architecture: ClipArchitecture, expected: Mapping[str, Any], state: Mapping[str, Any]
) -> None:
    """Refuse weights of another model, even those that open_clip would interpolate to fit."""
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    other = [
        name for name in expected if name in state and state[name].shape != expected[name].shape
    ]
    if not (missing or unknown or other):
        return
    if other:
        name = other[0]
        odd = f"{name} is {tuple(state[name].shape)}, expected {tuple(expected[name].shape)}"
    elif missing:
        odd = f"{missing[0]} is missing"
    else:
        odd = f"{unknown[0]} is not part of the model"
    message = (
        f"{architecture.file}: not the weights of {architecture.name}: {odd} ({len(missing)} "
        f"missing, {len(unknown)} unknown, {len(other)} of another shape, of {len(expected)}); "
        "name the model that they belong to"
    )
    raise ConfigError(message)
