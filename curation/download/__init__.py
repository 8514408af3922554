"""The only way to the web: URLs in, bytes or reasons out.

Every address is checked before it is connected to, every limit holds against a server that lies,
and what a site forbids in its headers is not taken.
"""

from curation.download.config import DownloadConfig
from curation.download.fetch import fetch_all
from curation.download.outcome import Failed, Fetched
from curation.download.urls import normalise

__all__ = ["DownloadConfig", "Failed", "Fetched", "fetch_all", "normalise"]
