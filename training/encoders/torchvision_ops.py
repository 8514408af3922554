"""Let torchvision be imported beside a torch without CUDA.

The torchvision of the package index is built for CUDA. Beside a torch that has none, its compiled
operators cannot be loaded (they want `libtorch_cuda.so`), and then the import itself fails:
`operator torchvision::nms does not exist`. With it fall timm, open_clip, and the image processors
of transformers, none of which uses those operators for what we do.

What the import wants is only that two operators are *declared*, because torchvision registers shape
rules for them. So they are declared here, without an implementation: resizing, normalising and all
models that are plain torch work; calling `torchvision.ops.nms` or another compiled operator still
fails, with torch's own words, instead of giving a wrong answer.
"""

import importlib.util
from pathlib import Path
from typing import Any

_kept: list[Any] = []  # a declaration is withdrawn when its library object is collected


def declare_missing_ops() -> bool:
    """Declare what torchvision's import needs, where its own operators do not load.

    To be called before anything imports torchvision: timm, open_clip, transformers' processors,
    diffusers. Calling it again changes nothing. With a torch for CUDA it does nothing at all: an
    operator that does not load there is a broken installation, and its own error is the best word
    on it.

    Returns:
        Whether operators were declared, now or by an earlier call.

    Source: the schemas are those of torchvision 0.28, `torchvision/csrc/ops/nms.cpp`.
    """
    import torch

    if _kept:
        return True
    if torch.version.cuda is not None or _declared("nms") or _loads():
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not _declared(name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)
    return True


def _declared(name: str) -> bool:
    import torch

    return hasattr(torch.ops.torchvision, name)


def _loads() -> bool:
    """Whether torchvision's operators can be loaded here; true where there is no torchvision.

    Loading the file is what torchvision does on import, and loading it a second time does nothing.
    """
    import torch

    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return True
    libraries = sorted(Path(found.origin).parent.glob("_C*.so"))
    try:
        for library in libraries:
            torch.ops.load_library(str(library))
    except OSError:
        return False
    return bool(libraries)
