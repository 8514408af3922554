"""A tiny ERNIE-Image-Aes with random weights, in the file layout of the release.

The structure is that of InternVL3-8B (InternViT, pixel shuffle, projector, Qwen2), the sizes are
not: patches of 56 pixels make 16 vectors of an image, and the vocabulary is the bytes and the score
words.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers.convert_slow_tokenizer import bytes_to_unicode

from stages.aesthetic.ernie_prompt import WORDS

VISION: Mapping[str, Any] = {
    "architectures": ["InternVisionModel"],
    "attention_dropout": 0.0,
    "drop_path_rate": 0.0,
    "dropout": 0.0,
    "hidden_act": "gelu",
    "hidden_size": 32,
    "image_size": 448,
    "initializer_factor": 1.0,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-06,
    "model_type": "intern_vit_6b",
    "norm_type": "layer_norm",
    "num_attention_heads": 2,
    "num_channels": 3,
    "num_hidden_layers": 2,
    "patch_size": 56,
    "qk_normalization": False,
    "qkv_bias": True,
    "use_flash_attn": True,
}

# What the released tokenizer adds to Qwen's, in that order.
ADDED = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *(
        "<img>",
        "</img>",
        "<IMG_CONTEXT>",
        "<quad>",
        "</quad>",
        "<ref>",
        "</ref>",
        "<box>",
        "</box>",
    ),
)

LANGUAGE: Mapping[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 96,
    "max_position_embeddings": 2048,
    "max_window_layers": 70,
    "model_type": "qwen2",
    "num_attention_heads": 2,  # of 32 numbers: vLLM on CPUs takes no fewer
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": 384,  # more than there are tokens, as in the release
}

CONFIG: Mapping[str, Any] = {
    "architectures": ["InternVLChatModel"],
    "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
    "downsample_ratio": 0.5,
    "dynamic_image_size": True,
    "force_image_size": 448,
    "max_dynamic_patch": 12,
    "min_dynamic_patch": 1,
    "model_type": "internvl_chat",
    "pad2square": False,
    "ps_version": "v2",
    "select_layer": -1,
    "template": "internvl2_5",
    "torch_dtype": "bfloat16",
    "use_thumbnail": True,
}

Tensors = dict[str, torch.Tensor]


def make_internvl(
    folder: Path,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    words: tuple[str, ...] = WORDS,
    vision: Mapping[str, Any] = VISION,
    language: Mapping[str, Any] = LANGUAGE,
    **config: Any,
) -> Path:
    """Write the model; return its folder.

    Args:
        folder: Made here.
        seed: Of the weights.
        dtype: Of the weights.
        words: What the tokenizer makes one token of.
        vision: Sizes of the part that sees.
        language: Sizes of the part that answers.
        config: Replaces keys of `config.json`.
    """
    folder.mkdir(parents=True)
    tensors = random_tensors(seed, vision, language)
    keys = sorted(tensors)
    files = (keys[: len(keys) // 2], keys[len(keys) // 2 :])
    weight_map: dict[str, str] = {}
    for number, names in enumerate(files, 1):
        name = f"model-{number:05}-of-{len(files):05}.safetensors"
        save_file({key: tensors[key].to(dtype) for key in names}, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(names, name)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    _write(folder / "model.safetensors.index.json", index)
    _write(
        folder / "config.json",
        {**CONFIG, "vision_config": {**vision}, "llm_config": {**language}, **config},
    )
    (folder / "modeling_internvl_chat.py").write_text("raise SystemExit('code was run')\n")
    write_tokenizer(folder, words)
    return folder


def random_tensors(
    seed: int, vision: Mapping[str, Any] = VISION, language: Mapping[str, Any] = LANGUAGE
) -> Tensors:
    """Make the weights by their released names; large enough that images differ in their scores."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, spread: float = 1.0, mean: float = 0.0) -> torch.Tensor:
        return mean + spread * torch.randn(*shape, generator=generator)

    def linear(
        name: str, outputs: int, inputs: int, *, bias: bool = True, gain: float = 1.0
    ) -> Tensors:
        made = {f"{name}.weight": draw(outputs, inputs, spread=gain * inputs**-0.5)}
        return made | ({f"{name}.bias": draw(outputs, spread=0.1)} if bias else {})

    def norm(name: str, width: int) -> Tensors:
        return {
            f"{name}.weight": draw(width, spread=0.1, mean=1.0),
            f"{name}.bias": draw(width, spread=0.1),
        }

    width, inner = vision["hidden_size"], vision["intermediate_size"]
    patch, grid = vision["patch_size"], vision["image_size"] // vision["patch_size"]
    head = "vision_model.embeddings"
    tensors: Tensors = {
        f"{head}.class_embedding": draw(1, 1, width),
        f"{head}.position_embedding": draw(1, grid * grid + 1, width, spread=0.5),
        f"{head}.patch_embedding.weight": draw(width, 3, patch, patch, spread=1 / patch),
        f"{head}.patch_embedding.bias": draw(width, spread=0.1),
    }
    for number in range(vision["num_hidden_layers"]):
        layer = f"vision_model.encoder.layers.{number}"
        tensors |= linear(f"{layer}.attn.qkv", 3 * width, width)
        tensors |= linear(f"{layer}.attn.proj", width, width)
        tensors |= linear(f"{layer}.mlp.fc1", inner, width)
        tensors |= linear(f"{layer}.mlp.fc2", width, inner)
        tensors |= norm(f"{layer}.norm1", width) | norm(f"{layer}.norm2", width)
        tensors |= {f"{layer}.ls1": draw(width), f"{layer}.ls2": draw(width)}
    size, inner = language["hidden_size"], language["intermediate_size"]
    tensors |= norm("mlp1.0", 4 * width)
    tensors |= linear("mlp1.1", size, 4 * width) | linear("mlp1.3", size, size, gain=4.0)
    narrow = size // language["num_attention_heads"] * language["num_key_value_heads"]
    for number in range(language["num_hidden_layers"]):
        layer = f"language_model.model.layers.{number}"
        tensors |= linear(f"{layer}.self_attn.q_proj", size, size)
        tensors |= linear(f"{layer}.self_attn.k_proj", narrow, size)
        tensors |= linear(f"{layer}.self_attn.v_proj", narrow, size)
        tensors |= linear(f"{layer}.self_attn.o_proj", size, size, bias=False, gain=6.0)
        tensors |= linear(f"{layer}.mlp.gate_proj", inner, size, bias=False)
        tensors |= linear(f"{layer}.mlp.up_proj", inner, size, bias=False)
        tensors |= linear(f"{layer}.mlp.down_proj", size, inner, bias=False)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{layer}.{name}.weight"] = draw(size, spread=0.1, mean=1.0)
    rows = language["vocab_size"]
    tensors["language_model.model.embed_tokens.weight"] = draw(rows, size, spread=0.5)
    tensors["language_model.model.norm.weight"] = draw(size, spread=0.1, mean=1.0)
    tensors["language_model.lm_head.weight"] = draw(rows, size, spread=4 * size**-0.5)
    return tensors


def write_tokenizer(folder: Path, words: tuple[str, ...] = WORDS) -> None:
    """Write a tokenizer of Qwen2's kind: bytes, merges for the score words, and what is added."""
    letters = sorted(bytes_to_unicode().values())
    vocabulary = {token: number for number, token in enumerate([*letters, *words])}
    added = {token: len(vocabulary) + number for number, token in enumerate(ADDED)}
    _write(folder / "vocab.json", vocabulary)
    merges = "\n".join(f"{word[0]} {word[1]}" for word in words)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    _write(folder / "added_tokens.json", added)
    special = {"additional_special_tokens": list(ADDED[1:]), "eos_token": "<|im_end|>"}
    _write(folder / "special_tokens_map.json", {**special, "pad_token": "<|endoftext|>"})
    decoder = {
        str(number): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for token, number in added.items()
    }
    _write(
        folder / "tokenizer_config.json",
        {
            **special,
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": decoder,
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "errors": "replace",
            "model_max_length": 12288,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")
