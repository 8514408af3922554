"""Breaks the shared decode of chosen files, when `LONGTAIL_TEST_DECODE` asks for it.

`LONGTAIL_TEST_DECODE` holds `<what>:<marker>`: a file that ends with the marker makes the decoder
crash (`segfault`), sleep for ever (`hang`) or ask for more memory than there is (`eat_memory`).
Decoders that we know of do none of that on a file small enough to make here, so this is the one
place where a function of ours is replaced; it is replaced in the child process only.
"""

import ctypes
import os
import time
from collections.abc import Sequence

from curation import pixels

VARIABLE = "LONGTAIL_TEST_DECODE"

_decode = pixels.views


def install() -> None:
    """Put the breaking decoder in front of the real one if the environment says so."""
    if VARIABLE in os.environ:
        pixels.views = _views


def _views(data: bytes, specs: Sequence[pixels.PixelSpec]) -> list[pixels.View | str]:
    what, _, marker = os.environ[VARIABLE].partition(":")
    if data.endswith(marker.encode()):
        if what == "segfault":
            ctypes.string_at(0)
        elif what == "hang":
            time.sleep(3600)
        elif what == "eat_memory":
            bytearray(1 << 45)
    return _decode(data, specs)
