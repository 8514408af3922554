"""Hand a trained model on: the folder that diffusers loads, and back."""

import shutil
from pathlib import Path
from typing import Any

from curation.errors import UsageError
from curation.fingerprint import pretty_json
from curation.weights import local_weights, weights_digest
from training.encoders.latents import Flux2Config
from training.encoders.texts import MinistralConfig
from training.trained import Trained

DESCRIPTION = "longtail.json"


def export(trained: Trained, folder: Path) -> bool:
    """Write a model for use elsewhere.

    With the encoders of ERNIE-Image, the folder is what `ErnieImagePipeline.from_pretrained` loads.
    With embedded ones there is no such pipeline: `transformer/` loads as
    `ErnieImageTransformer2DModel`, and `longtail.json` says what it was trained on.

    Args:
        trained: The checkpoint.
        folder: Where; must be empty or not there.

    Returns:
        Whether it is a whole pipeline.

    Raises:
        UsageError: The folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        message = f"{folder}: not empty; name a folder that is not there yet"
        raise UsageError(message)
    folder.mkdir(parents=True, exist_ok=True)
    trained.model.transformer.save_pretrained(folder / "transformer")
    recipe = trained.recipe
    description = {
        "format": 1,
        "snapshot": trained.snapshot,
        "step": trained.step,
        "encoders": trained.state["encoders"],
        "recipe": recipe.model_dump(mode="json"),
    }
    (folder / DESCRIPTION).write_bytes(pretty_json(description))
    if not (isinstance(recipe.codec, Flux2Config) and isinstance(recipe.text, MinistralConfig)):
        return False
    _copy(recipe.codec.weights, folder / "vae")
    _copy(recipe.text.weights, folder / "text_encoder")
    _copy(recipe.text.tokenizer or recipe.text.weights, folder / "tokenizer")
    scheduler: Any = _scheduler(recipe.evaluation.shift)
    scheduler.save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_bytes(pretty_json(_index(trained)))
    return True


def _scheduler(shift: float) -> Any:
    import diffusers

    scheduler_type: Any = diffusers.FlowMatchEulerDiscreteScheduler
    return scheduler_type(shift=shift, use_dynamic_shifting=False)


def _index(trained: Trained) -> dict[str, Any]:
    import diffusers

    encoder = type(trained.texts.model).__name__  # type: ignore[attr-defined]
    tokenizer = type(trained.texts.tokenizer).__name__  # type: ignore[attr-defined]
    return {
        "_class_name": "ErnieImagePipeline",
        "_diffusers_version": diffusers.__version__,
        "transformer": ["diffusers", "ErnieImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLFlux2"],
        "text_encoder": ["transformers", encoder],
        "tokenizer": ["transformers", tokenizer],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "pe": [None, None],
        "pe_tokenizer": [None, None],
    }


def _copy(reference: str, target: Path) -> None:
    source = local_weights(reference, weights_digest(reference))
    shutil.copytree(source, target, dirs_exist_ok=True)
