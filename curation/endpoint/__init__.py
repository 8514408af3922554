"""Models behind an HTTP endpoint that speaks as OpenAI does: servers, gateways, vLLM.

A request ends in an answer or in a reason that belongs to its row. What would happen to every other
request as well (no connection, a wrong key, no such model) is no row's fault and raises
`EndpointError`, for which a worker rests.
"""

from curation.endpoint.chat import Answer
from curation.endpoint.config import EndpointConfig
from curation.endpoint.connect import check_ready, connect, read_key
from curation.endpoint.outcome import Failed

__all__ = ["Answer", "EndpointConfig", "Failed", "check_ready", "connect", "read_key"]
