"""Forgetting images: tombstones for the time to come, and nulls where something is kept of them."""

from curation.forget.erase import Erased, erase
from curation.forget.find import Found, find
from curation.forget.request import Request, parse_request

__all__ = ["Erased", "Found", "Request", "erase", "find", "parse_request"]
