"""Hand a trained model on: the folder that diffusers loads.

A folder written here is also one to start from: `model.weights` of a recipe.
"""

import importlib.metadata
import shutil
from pathlib import Path
from typing import Literal

from curation.errors import UsageError
from curation.fingerprint import pretty_json
from curation.weights import local_weights, weights_digest
from training import lora
from training.encoders.diffusers_parts import diffusers_part
from training.encoders.latents import Flux2Config
from training.encoders.texts import MinistralConfig, MinistralEncoder
from training.trained import Trained

DESCRIPTION = "longtail.json"

Kind = Literal["pipeline", "transformer", "adapter"]
"""What a folder is: see `export`."""


def export(trained: Trained, folder: Path, *, merge: bool = False) -> Kind:
    """Write a model for use elsewhere.

    With the encoders of ERNIE-Image, the folder is the *pipeline* that
    `ErnieImagePipeline.from_pretrained` loads. With embedded ones there is no such pipeline: it is
    a *transformer*, and `transformer/` loads as `ErnieImageTransformer2DModel`. Of an adapter's run
    it is the *adapter*, which `load_lora_weights` of a pipeline with the adapted weights takes.
    `longtail.json` says what was trained on which weights and which snapshot.

    Args:
        trained: The checkpoint. Merging takes its adapter away.
        folder: Where; must be empty or not there.
        merge: Add an adapter to the weights that it adapts, and write those.

    Raises:
        UsageError: The folder holds something, or there is no adapter to merge.
    """
    if folder.exists() and any(folder.iterdir()):
        message = f"{folder}: not empty; name a folder that is not there yet"
        raise UsageError(message)
    has_adapter = trained.recipe.model.lora is not None
    if merge and not has_adapter:
        message = "there is no adapter to merge: the run trained all weights; leave --merge out"
        raise UsageError(message)
    folder.mkdir(parents=True, exist_ok=True)
    if has_adapter and not merge:
        kind: Kind = "adapter"
        _write_adapter(trained, folder)
    else:
        if merge:
            lora.merge_adapter(trained.model)
        trained.model.transformer.save_pretrained(folder / "transformer")
        kind = "pipeline" if _write_parts(trained, folder) else "transformer"
    description = {
        "format": 1,
        "kind": kind,
        "snapshot": trained.snapshot,
        "step": trained.step,
        "encoders": trained.state["encoders"],
        "started_from": trained.state["weights"],
        "recipe": trained.recipe.model_dump(mode="json"),
    }
    (folder / DESCRIPTION).write_bytes(pretty_json(description))
    return kind


def _write_adapter(trained: Trained, folder: Path) -> None:
    import peft

    transformer = trained.model.transformer
    pipeline_type = diffusers_part("ErnieImagePipeline")
    described = transformer.peft_config[lora.ADAPTER].to_dict()
    pipeline_type.save_lora_weights(
        folder,
        transformer_lora_layers=peft.get_peft_model_state_dict(
            transformer, adapter_name=lora.ADAPTER
        ),
        weight_name=lora.FILE,
        # Without it a reader would take alpha for the rank.
        transformer_lora_adapter_metadata={
            name: sorted(value) if isinstance(value, set) else value
            for name, value in described.items()
            if name in ("r", "lora_alpha", "target_modules", "lora_dropout")
        },
    )


def _write_parts(trained: Trained, folder: Path) -> bool:
    """Write what a pipeline needs besides the transformer, where diffusers has it."""
    codec, text = trained.recipe.codec, trained.recipe.text
    texts = trained.texts
    if not isinstance(codec, Flux2Config) or not isinstance(text, MinistralConfig):
        return False
    assert isinstance(texts, MinistralEncoder)
    _copy(codec.weights, folder / "vae")
    _copy(text.weights, folder / "text_encoder")
    _copy(text.tokenizer or text.weights, folder / "tokenizer")
    scheduler_type = diffusers_part("FlowMatchEulerDiscreteScheduler")
    shift = trained.recipe.evaluation.shift
    scheduler_type(shift=shift, use_dynamic_shifting=False).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "ErnieImagePipeline",
        "_diffusers_version": importlib.metadata.version("diffusers"),
        "transformer": ["diffusers", "ErnieImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLFlux2"],
        "text_encoder": ["transformers", texts.model_class],
        "tokenizer": ["transformers", texts.tokenizer_class],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "pe": [None, None],
        "pe_tokenizer": [None, None],
    }
    (folder / "model_index.json").write_bytes(pretty_json(index))
    return True


def _copy(reference: str, target: Path) -> None:
    source = local_weights(reference, weights_digest(reference))
    shutil.copytree(source, target, dirs_exist_ok=True)
