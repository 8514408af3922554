"""Models of the Hugging Face hub, at a pinned commit."""

from pathlib import Path

from curation.errors import ConfigError
from curation.weights.digest import SUFFIXES
from curation.weights.reference import Reference


def fetch_from_hub(reference: Reference, folder: Path) -> None:
    """Download the weight files of a model; never its code.

    Tokens for gated models and a mirror's address are those that huggingface_hub knows: `HF_TOKEN`,
    `HF_ENDPOINT`.

    Raises:
        ConfigError: The hub cannot be reached, or does not give it.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        message = "huggingface_hub is not installed; `pip install 'longtail[hub]'`"
        raise ConfigError(message) from error
    try:
        snapshot_download(
            reference.repository,
            revision=reference.commit,
            local_dir=folder,
            allow_patterns=[f"*{suffix}" for suffix in sorted(SUFFIXES)],
        )
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())[:300]
        message = (
            f"{reference.text}: the hub does not give it ({words}); check the name, the network, "
            "and HF_TOKEN for gated models, or name a folder that has it"
        )
        raise ConfigError(message) from error
