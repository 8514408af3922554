"""Every stage that a pipeline file may name.

Importing this module loads no heavy package: stages import those in `setup` or where they use them.
"""

from typing import Any

from curation.pipeline.stage import Stage
from stages.aesthetic.stage import AestheticStage
from stages.attributes.stage import AttributesStage
from stages.caption.stage import CaptionStage
from stages.categorize.stage import CategorizeStage
from stages.dedup.stage import DedupStage
from stages.embed.stage import EmbedStage
from stages.encode.stage import EncodeStage
from stages.inspect.stage import InspectStage
from stages.ocr.stage import OcrStage
from stages.thumbnail.stage import ThumbnailStage

STAGES: dict[str, type[Stage[Any]]] = {
    "aesthetic": AestheticStage,
    "attributes": AttributesStage,
    "caption": CaptionStage,
    "categorize": CategorizeStage,
    "dedup": DedupStage,
    "embed": EmbedStage,
    "encode": EncodeStage,
    "inspect": InspectStage,
    "ocr": OcrStage,
    "thumbnail": ThumbnailStage,
}
"""Name in YAML -> class."""
