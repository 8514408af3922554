"""A tiny Qwen3-VL with random weights, in the files and tensor names of the release.

What a user's folder holds, this holds: `config.json` in the words of the release (not in those that
a newer transformers would write), one `model.safetensors` in bf16, the byte-level BPE with Qwen's
special tokens, the chat template, and how images become patches. So loaders, vLLM among them, go
the way that they go with the real model. What it says is noise.

    write_tiny_qwen_vl(folder)       0.4 million parameters, 1 MB, half a second
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

_SENTENCES = (
    "You are a helpful assistant. Describe the image in one sentence, as tags, at length.",
    'Answer with a JSON object: {"type": "photo", "subjects": ["a", "b"], "scene": ""}.',
    "A photograph of a red bicycle that leans on a white wall, seen from the side at night.",
    "The text in the image reads 'OPEN'; there is no other text. The style is documentary.",
)
"""What the merges of the tokenizer are learnt from; the bytes alone can write everything else."""

_MERGED = 384
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen's tokenizers cut text before they merge; of its `tokenizer.json`."""

HEAD = 32
"""Width of an attention head, the least that vLLM takes on a CPU."""

_VISION = {
    "depth": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_heads": 4,
    "num_position_embeddings": 64,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
    "deepstack_visual_indexes": [0],
}

PATCH_PX = 32
"""One image token stands for so many pixels in each direction."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type in ('image', 'image_url') -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- elif 'text' in part -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""


def write_tiny_qwen_vl(folder: Path, seed: int = 0, *, width: int = 64, layers: int = 2) -> Path:
    """Write the model's files to `folder` and return it; the same bytes for the same arguments.

    Args:
        width: Of the language model, a multiple of 64.
        layers: Of the language model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    vocabulary_ids = tokenizer.get_vocab()
    ids = {token: vocabulary_ids[token] for token in SPECIAL}
    vocabulary = 64 * math.ceil(len(vocabulary_ids) / 64)
    config = _config(ids, vocabulary, width, layers)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    image = _image_processor("Qwen2VLImageProcessorFast")
    files = {
        "config.json": config,
        "generation_config.json": {
            "bos_token_id": ids["<|endoftext|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
            "do_sample": True,
            "temperature": 0.7,
            "top_k": 20,
            "top_p": 0.8,
        },
        "tokenizer_config.json": {
            "add_bos_token": False,
            "add_prefix_space": False,
            "additional_special_tokens": list(SPECIAL[1:]),
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 262144,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
        "preprocessor_config.json": image,
        "video_preprocessor_config.json": {
            **image,
            "video_processor_type": "Qwen3VLVideoProcessor",
        },
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=2), encoding="utf-8")
    save_file(_weights(config, seed), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    split = pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_MERGED,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    return tokenizer


def _config(ids: dict[str, int], vocabulary: int, width: int, layers: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "image_token_id": ids["<|image_pad|>"],
        "model_type": "qwen3_vl",
        "text_config": {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": ids["<|endoftext|>"],
            "dtype": "bfloat16",
            "eos_token_id": ids["<|im_end|>"],
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // HEAD,
            "num_key_value_heads": width // HEAD // 2,
            "head_dim": HEAD,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "max_position_embeddings": 32768,
            "model_type": "qwen3_vl_text",
            "rms_norm_eps": 1e-06,
            "rope_scaling": {
                "mrope_interleaved": True,
                "mrope_section": [8, 4, 4],
                "rope_type": "default",
            },
            "rope_theta": 5000000,
            "use_cache": True,
            "vocab_size": vocabulary,
        },
        "tie_word_embeddings": False,
        "transformers_version": "4.57.0.dev0",
        "video_token_id": ids["<|video_pad|>"],
        "vision_config": {
            **_VISION,
            "out_hidden_size": width,
            "hidden_act": "gelu_pytorch_tanh",
            "initializer_range": 0.02,
            "model_type": "qwen3_vl",
        },
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
    }


def _image_processor(kind: str) -> dict[str, Any]:
    return {
        # The release has 65,536 to 16,777,216 pixels; small images shall make few tokens here.
        "size": {
            "shortest_edge": 2 * PATCH_PX * PATCH_PX,
            "longest_edge": 64 * PATCH_PX * PATCH_PX,
        },
        "patch_size": _VISION["patch_size"],
        "temporal_patch_size": _VISION["temporal_patch_size"],
        "merge_size": _VISION["spatial_merge_size"],
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
        "image_processor_type": kind,
    }


def _weights(config: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Return every tensor of the release by its name: matrices random, norms one, biases zero.

    Every layer keeps the size of what it is given, so an image moves what is said.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, shape in _shapes(config["vision_config"], config["text_config"]).items():
        if name.endswith("bias"):
            tensors[name] = torch.zeros(shape, dtype=torch.bfloat16)
        elif "norm" in name:
            tensors[name] = torch.ones(shape, dtype=torch.bfloat16)
        elif "embed" in name and len(shape) == 2:
            tensors[name] = torch.randn(shape, generator=generator).to(torch.bfloat16)
        else:
            values = torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))
            tensors[name] = values.to(torch.bfloat16)
    return tensors


def _shapes(vision: dict[str, Any], text: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {**_vision_shapes(vision), **_text_shapes(text)}


def _vision_shapes(vision: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    width, inner, out = (
        vision["hidden_size"],
        vision["intermediate_size"],
        vision["out_hidden_size"],
    )
    merged = width * vision["spatial_merge_size"] ** 2
    patch = vision["patch_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed.weight": (vision["num_position_embeddings"], width),
        **_linear("patch_embed.proj", width, 3, vision["temporal_patch_size"], patch, patch),
    }
    for block in (f"blocks.{number}" for number in range(vision["depth"])):
        shapes |= _linear(f"{block}.norm1", width) | _linear(f"{block}.norm2", width)
        shapes |= _linear(f"{block}.attn.qkv", 3 * width, width)
        shapes |= _linear(f"{block}.attn.proj", width, width)
        shapes |= _linear(f"{block}.mlp.linear_fc1", inner, width)
        shapes |= _linear(f"{block}.mlp.linear_fc2", width, inner)
    deep = range(len(vision["deepstack_visual_indexes"]))
    mergers = {"merger": width, **{f"deepstack_merger_list.{number}": merged for number in deep}}
    for merger, normed in mergers.items():
        shapes |= _linear(f"{merger}.norm", normed)
        shapes |= _linear(f"{merger}.linear_fc1", merged, merged)
        shapes |= _linear(f"{merger}.linear_fc2", out, merged)
    return {f"model.visual.{name}": shape for name, shape in shapes.items()}


def _text_shapes(text: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    width, inner, head = text["hidden_size"], text["intermediate_size"], text["head_dim"]
    queries, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    model = "model.language_model"
    shapes: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (text["vocab_size"], width),
        f"{model}.embed_tokens.weight": (text["vocab_size"], width),
        f"{model}.norm.weight": (width,),
    }
    for layer in (f"{model}.layers.{number}" for number in range(text["num_hidden_layers"])):
        shapes |= {
            f"{layer}.input_layernorm.weight": (width,),
            f"{layer}.post_attention_layernorm.weight": (width,),
            f"{layer}.self_attn.q_proj.weight": (queries, width),
            f"{layer}.self_attn.k_proj.weight": (keys, width),
            f"{layer}.self_attn.v_proj.weight": (keys, width),
            f"{layer}.self_attn.o_proj.weight": (width, queries),
            f"{layer}.self_attn.q_norm.weight": (head,),
            f"{layer}.self_attn.k_norm.weight": (head,),
            f"{layer}.mlp.gate_proj.weight": (inner, width),
            f"{layer}.mlp.up_proj.weight": (inner, width),
            f"{layer}.mlp.down_proj.weight": (width, inner),
        }
    return shapes


def _linear(name: str, out: int, *inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, *inputs), f"{name}.bias": (out,)}
