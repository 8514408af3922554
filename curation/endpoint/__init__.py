"""Models behind an HTTP endpoint that speaks as OpenAI does: servers, gateways, vLLM."""
