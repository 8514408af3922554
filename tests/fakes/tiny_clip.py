"""Tiny CLIP and SigLIP models with random weights, in the files that real ones come in.

The classes are open_clip's own and so are the layouts: a folder as on the hub (`clip_folder`,
`siglip_folder`), or a state dict in one file for a model that open_clip knows by name.
"""

import copy
import json
from pathlib import Path
from typing import Any

CLIP_CFG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""As ViT-L-14, smaller: open_clip's own towers, CLIP's own tokenizer."""

CLIP_PREPROCESS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}

SIGLIP_CFG: dict[str, Any] = {
    "embed_dim": 96,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit3",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 64,
        "hf_tokenizer_name": "tiny/siglip",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 96,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
    },
}
"""As ViT-B-16-SigLIP2, smaller: an image tower of timm, a tokenizer of transformers."""

SIGLIP_PREPROCESS = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


def random_model(model_cfg, seed=0):
    """Build a model with open_clip's classes; the same weights for the same seed."""
    from training.encoders.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    import open_clip
    import torch

    cfg = copy.deepcopy(model_cfg)
    kind = open_clip.CustomTextCLIP if cfg.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(**cfg)
        for parameter in model.parameters():
            if parameter.ndim >= 2:  # larger than at the start of a training, so that images differ
                parameter.data.mul_(1.5)
    return model.eval()


def describe(folder, model_cfg, preprocess_cfg):
    """Write what a plan looks at: the description beside weights that hold nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2))
    (folder / "open_clip_model.safetensors").touch()
    return folder


def save_folder(folder, model, model_cfg, preprocess_cfg):
    """Write a folder as `open_clip.push_to_hf_hub` does."""
    from safetensors.torch import save_model

    describe(folder, model_cfg, preprocess_cfg)
    save_model(model, str(folder / "open_clip_model.safetensors"))
    return folder


def clip_folder(folder: Path, preprocess_cfg=None, seed=0, **vision):
    """Write a tiny CLIP; `preprocess_cfg` and `vision` are laid over what is usual."""
    model_cfg = copy.deepcopy(CLIP_CFG)
    model_cfg["vision_cfg"].update(vision)
    preprocess = CLIP_PREPROCESS | (preprocess_cfg or {})
    return save_folder(folder, random_model(model_cfg, seed), model_cfg, preprocess)


def siglip_folder(folder: Path, seed=0, with_tokenizer=True):
    """Write a tiny SigLIP, with its tokenizer beside it."""
    save_folder(folder, random_model(SIGLIP_CFG, seed), SIGLIP_CFG, SIGLIP_PREPROCESS)
    if with_tokenizer:
        save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path):
    """Write a tokenizer of single letters in the files of transformers."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", " ", *"abcdefghijklmnopqrstuvwxyz0123456789"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
