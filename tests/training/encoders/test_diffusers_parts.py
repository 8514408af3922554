"""diffusers is imported quietly."""

import subprocess
import sys


def test_an_import_says_nothing():
    """Not of torchao's libraries for GPUs, nor of its types; loggers are as they were after it."""
    code = """
import logging
from training.encoders.diffusers_parts import diffusers_part
assert diffusers_part("ErnieImageTransformer2DModel").__name__ == "ErnieImageTransformer2DModel"
import torchao
assert logging.getLogger("torchao").level == logging.NOTSET
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("", "")
