"""The only way to the web: URLs in, bytes or reasons out.

Every address is checked before it is connected to, every limit holds against a server that lies,
and what a site forbids in its headers is not taken.
"""

from curation.download.config import DownloadConfig
from curation.download.fetch import check_ready, fetch_all
from curation.download.outcome import Failed, Fetched
from curation.download.urls import MAX_URL_LENGTH, normalise, refusal

__all__ = [
    "MAX_URL_LENGTH",
    "DownloadConfig",
    "Failed",
    "Fetched",
    "check_ready",
    "fetch_all",
    "normalise",
    "refusal",
]
