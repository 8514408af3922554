"""From the released checkpoint to transformers' layout, without running any of its code.

ERNIE-Image-Aes and ArtiMuse are released as `internvl_chat`: a class that comes as Python code with
the weights. transformers and vLLM know the same architecture under other names. So its
files are given other names inside (`ernie_weights`), and what stands beside them is written anew.

Source: the released `config.json`; transformers, `InternVLForConditionalGeneration`.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import ConfigError
from curation.fingerprint import pretty_json
from curation.weights import made_once
from stages.aesthetic.ernie_prompt import (
    IMAGE_CONTEXT,
    IMAGE_END,
    IMAGE_START,
    SYSTEM_MESSAGE,
    TEMPLATE,
)
from stages.aesthetic.ernie_weights import INDEX, rewrite, weight_files

VERSION = "1"
"""Raised whenever the same checkpoint is converted otherwise."""

SIZE_PX = 448
"""Edge of the square that the model sees."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_VIDEO = "</box>"
_TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)


@dataclass(frozen=True)
class Released:
    """What the released `config.json` says, as far as it matters.

    Attributes:
        vision: Its `vision_config`.
        language: Its `llm_config`.
        system_message: What the conversation begins with.
        num_image_tokens: Vectors that the model makes of an image.
    """

    vision: Mapping[str, Any]
    language: Mapping[str, Any]
    system_message: str
    num_image_tokens: int

    @classmethod
    def read(cls, folder: Path) -> "Released":
        """Read and check it.

        Raises:
            ConfigError: There is none, or it is of another model than ours.
        """
        path = folder / "config.json"
        try:
            found: Any = json.loads(path.read_text(encoding="utf-8"))
            vision, language = found.get("vision_config") or {}, found.get("llm_config") or {}
        except (OSError, ValueError, AttributeError) as error:
            message = (
                f"{path}: expected the config.json of ERNIE-Image-Aes; name the folder of the "
                "model as released"
            )
            raise ConfigError(message) from error
        expected = {
            "model_type": (found.get("model_type"), "internvl_chat"),
            "llm_config.architectures": (language.get("architectures"), ["Qwen2ForCausalLM"]),
            "template": (found.get("template"), TEMPLATE),
            "ps_version": (found.get("ps_version"), "v2"),
            "select_layer": (found.get("select_layer", -1), -1),
            "downsample_ratio": (found.get("downsample_ratio"), 0.5),
            "force_image_size": (
                found.get("force_image_size") or vision.get("image_size"),
                vision.get("image_size"),
            ),
            "vision_config.image_size": (vision.get("image_size"), SIZE_PX),
            "vision_config.norm_type": (vision.get("norm_type", "layer_norm"), "layer_norm"),
        }
        for key, (value, wanted) in expected.items():
            if value != wanted:
                message = (
                    f"{path}: {key} is {value!r}, expected {wanted!r}; ernie_image_aes scores with "
                    "ERNIE-Image-Aes and ArtiMuse as released, not with other InternVL models"
                )
                raise ConfigError(message)
        parts = {"vision_config": (vision, _VISION), "llm_config": (language, _LANGUAGE_SIZES)}
        for name, (part, keys) in parts.items():
            if lacking := [key for key in keys if not isinstance(part.get(key), int)]:
                message = f"{path}: {name} has no number {lacking[0]}; name the released folder"
                raise ConfigError(message)
        edge = SIZE_PX // int(vision["patch_size"]) // 2
        return cls(vision, language, found.get("system_message") or SYSTEM_MESSAGE, edge * edge)


def convert(folder: Path, digest: str) -> Path:
    """Return a folder with the checkpoint in transformers' layout, made once on this machine.

    Args:
        folder: The released files.
        digest: Of their content.

    Raises:
        ConfigError: They are not those of the model.
    """
    return made_once(f"converted/{digest}-internvl-{VERSION}", lambda target: _fill(folder, target))


def _fill(folder: Path, target: Path) -> None:
    released = Released.read(folder)
    names = weight_files(folder)
    layers = set(range(int(released.vision["num_hidden_layers"])))
    index: dict[str, str] = {}
    for name in names:
        for key in rewrite(folder / name, target / name, layers):
            index[key] = name
    if len(names) > 1:
        (target / INDEX).write_bytes(pretty_json({"metadata": {}, "weight_map": index}))
    added = _tokenizer(folder, target)
    configuration = _configuration(released, added[IMAGE_CONTEXT])
    (target / "config.json").write_bytes(pretty_json(configuration))
    (target / "preprocessor_config.json").write_bytes(pretty_json(_PREPROCESSOR))
    processor = {
        "processor_class": "InternVLProcessor",
        "image_seq_length": released.num_image_tokens,
    }
    (target / "processor_config.json").write_bytes(pretty_json(processor))
    (target / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


# What stands beside the weights -------------------------------------------------------------------

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'text' -%}
{{- part['text'] -}}
{%- else -%}
{{- '<IMG_CONTEXT>' -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
"""The conversation template, in which nothing stands between the parts of a message."""

_PREPROCESSOR = {
    "image_processor_type": "GotOcr2ImageProcessor",
    "processor_class": "InternVLProcessor",
    "crop_to_patches": False,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": list(IMAGENET_MEAN),
    "image_std": list(IMAGENET_STD),
    "max_patches": 1,
    "min_patches": 1,
    "resample": 3,
    "size": {"height": SIZE_PX, "width": SIZE_PX},
}


def _tokenizer(folder: Path, target: Path) -> dict[str, int]:
    """Copy the tokenizer; return its added tokens."""
    names = [name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    for name in names:
        shutil.copyfile(folder / name, target / name)
    path = folder / "tokenizer_config.json"
    added = _added_tokens(folder)
    missing = [
        token for token in (IMAGE_START, IMAGE_CONTEXT, IMAGE_END, _VIDEO) if token not in added
    ]
    if "tokenizer_config.json" not in names or missing:
        what = f"has no token {missing[0]}" if missing else "is not there"
        message = f"{path}: {what}; expected the tokenizer of ERNIE-Image-Aes as released"
        raise ConfigError(message)
    configuration = json.loads(path.read_text(encoding="utf-8"))
    configuration.pop("auto_map", None)  # names code
    configuration["chat_template"] = CHAT_TEMPLATE
    configuration["extra_special_tokens"] = {
        "start_image_token": IMAGE_START,
        "end_image_token": IMAGE_END,
        "context_image_token": IMAGE_CONTEXT,
        # vLLM wants one. A new token would lie beyond the model's vocabulary, so it is one that the
        # release has and our prompt has not.
        "video_token": _VIDEO,
    }
    (target / "tokenizer_config.json").write_bytes(pretty_json(configuration))
    return added


def _added_tokens(folder: Path) -> dict[str, int]:
    path = folder / "added_tokens.json"
    if path.is_file():
        found: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
        return found
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    configuration = json.loads(path.read_text(encoding="utf-8"))
    decoder = configuration.get("added_tokens_decoder") or {}
    return {entry["content"]: int(number) for number, entry in decoder.items()}


def _configuration(released: Released, image_token_id: int) -> dict[str, Any]:
    """Return transformers' `config.json`."""
    vision, language = released.vision, released.language
    return {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "dtype": "bfloat16",
        "downsample_ratio": 0.5,
        "image_seq_length": released.num_image_tokens,
        "image_token_id": image_token_id,
        "projector_hidden_act": "gelu",
        "tie_word_embeddings": False,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "vision_config": {
            "architectures": ["InternVLVisionModel"],
            "model_type": "internvl_vision",
            "attention_bias": bool(vision.get("qkv_bias", True)),
            "hidden_act": vision.get("hidden_act", "gelu"),
            "hidden_size": vision["hidden_size"],
            "image_size": [SIZE_PX, SIZE_PX],
            "intermediate_size": vision["intermediate_size"],
            "layer_norm_eps": vision.get("layer_norm_eps", 1e-6),
            "norm_type": "layer_norm",
            "num_attention_heads": vision["num_attention_heads"],
            "num_channels": vision.get("num_channels", 3),
            "num_hidden_layers": vision["num_hidden_layers"],
            "patch_size": [vision["patch_size"], vision["patch_size"]],
            "use_absolute_position_embeddings": True,
            "use_mask_token": False,
            "use_mean_pooling": True,  # which means: no layer norm at the end
            "use_qk_norm": bool(vision.get("qk_normalization", False)),
        },
        "text_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            **{key: language[key] for key in _LANGUAGE if key in language},
            "rope_theta": language.get("rope_theta", 10_000.0),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": language.get("rope_theta", 10_000.0),
            },
        },
    }


_VISION = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "patch_size",
)
_LANGUAGE_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "vocab_size",
)

# Not `rope_scaling`: the library that the model was released for has none for Qwen2, and what the
# file names (dynamic) is meant for contexts beyond max_position_embeddings, which none of ours is.
# Nor a sliding window, for the same reason.
_LANGUAGE = (
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "vocab_size",
)
