"""The captioners that `caption` can use, by name."""

from stages.caption.captioner import Captioner
from stages.caption.openai import OpenAICaptioner
from stages.caption.template import TemplateCaptioner
from stages.caption.vllm import VllmCaptioner

CAPTIONERS: dict[str, type[Captioner]] = {
    "openai": OpenAICaptioner,
    "template": TemplateCaptioner,
    "vllm": VllmCaptioner,
}
"""Name in YAML -> class."""
