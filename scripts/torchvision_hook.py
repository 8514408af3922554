"""Lets programs that are not ours import torchvision beside a torch without CUDA.

`scripts/vllm.sh` puts it into the vLLM environment, with `training/encoders/torchvision_ops.py`
(which says what is wrong, and mends it), and a `.pth` file of one line, which Python runs at every
start: `import longtail_torchvision_hook`. vLLM and its child processes import torchvision when they
like, so the mending waits in the import system until somebody does.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; being asked for torchvision is its moment."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            importlib.import_module("longtail_torchvision_ops").declare_missing_ops()
        return None


sys.meta_path.insert(0, _BeforeTorchvision())
