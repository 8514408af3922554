"""Released encoders are read as safetensors, never as pickles, which may run code."""

from pathlib import Path

from curation.errors import ConfigError


def require_safetensors(folder: Path) -> None:
    """Refuse a folder whose weights are in another format.

    Raises:
        ConfigError: It holds no safetensors file.
    """
    if not any(folder.glob("*.safetensors")):
        pickles = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        because = "; pickles, which may run code, are not read" if pickles else ""
        message = f"{folder}: has no *.safetensors{because}; copy all files of the model there"
        raise ConfigError(message)
