"""Lets torchvision be imported beside a torch without CUDA, in environments that are not ours.

`scripts/vllm.sh` puts this file into the vLLM environment, with a `.pth` file of one line, which
Python runs at every start: `import longtail_torchvision_hook`. vLLM and its child processes import
torchvision at will, so nothing of ours could run before.

torchvision's wheel on PyPI is built for CUDA, whatever torch stands beside it. On a torch without
CUDA its compiled operators cannot load, and `import torchvision` fails at describing what
`torchvision::nms` returns, since there is none. Here `nms` and `qnms` are declared, just before
torchvision is imported: enough for its Python parts, which is what image processors use. Calling
them, `roi_align` or torchvision's decoders fails as before. Where the operators load, nothing is
done.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_kept: list[Any] = []
"""A declaration lives as long as the library object that made it."""


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; being asked for torchvision is its moment."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            spec = PathFinder.find_spec(name)
            for folder in (spec.submodule_search_locations or []) if spec is not None else []:
                _declare_unless_loadable(Path(folder))
        return None


def _declare_unless_loadable(folder: Path) -> None:
    import torch

    try:
        for compiled in folder.glob("_C.*"):
            torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
            return
    except OSError:
        pass  # a library of CUDA is missing: the case that this file is for
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)


sys.meta_path.insert(0, _BeforeTorchvision())
