"""The encoders of ERNIE-Image, tiny and with random weights, in the files of the released ones."""

from pathlib import Path
from typing import Any


def write_vae(folder: Path) -> Any:
    """Write a FLUX.2 VAE of 16 channels and stride 16; return it."""
    from training.encoders.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    import diffusers
    import torch

    torch.manual_seed(0)
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
    return vae.eval()


def write_text_encoder(folder: Path) -> Any:
    """Write a Mistral 3 of width 32, and a tokenizer of a few words, in one folder; return it."""
    from training.encoders.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import Mistral3Config, Mistral3Model, PreTrainedTokenizerFast

    torch.manual_seed(0)
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "image_size": 28}
    config = Mistral3Config(
        text_config={"model_type": "mistral", **text, **heads},
        vision_config={"model_type": "pixtral", **vision, "num_attention_heads": 4},
    )
    model = Mistral3Model(config).eval()
    model.save_pretrained(folder)
    words = "<unk> <s> a red dog blue poster with the word sale green picture".split()
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return model
