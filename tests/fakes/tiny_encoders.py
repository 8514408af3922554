"""ERNIE-Image's encoders, tiny and with random weights, in the files of the real ones."""

from pathlib import Path

import torch


def save_tiny_vae(folder: Path, seed: int = 0) -> Path:
    """Write a FLUX.2 VAE of 16 latent channels and a stride of 16 px; return the folder."""
    from training.encoders.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    import diffusers

    torch.manual_seed(seed)
    vae = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2)
    vae.save_pretrained(folder)
    return folder


def save_tiny_ministral(folder: Path, seed: int = 0) -> Path:
    """Write a Mistral 3 of width 32, and a tokenizer of some words; return the folder."""
    from training.encoders.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import Mistral3Config, Mistral3Model, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "image_size": 28}
    config = Mistral3Config(
        text_config={"model_type": "mistral", **text, **heads},
        vision_config={"model_type": "pixtral", **vision, "num_attention_heads": 4},
    )
    Mistral3Model(config).save_pretrained(folder)
    words = "<unk> <s> a red green blue square picture tall wide in".split()
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return folder
