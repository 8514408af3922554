"""The `server:` section of stages that start a vLLM server."""

from pydantic import Field

from curation.config import Config


class ServerSettings(Config):
    """How a vLLM server runs; never part of a stage's meaning.

    Attributes:
        gpu_memory_utilization: Part of a GPU's memory that it takes, weights and cache together;
            null for nine tenths of what `run.gpus` gives it.
        tensor_parallel_size: GPUs over which one model is spread; null for as many as `run.gpus`.
        max_num_seqs: Requests that it works on at once; null for vLLM's own choice.
        max_num_batched_tokens: Tokens of one step; null for vLLM's own choice.
        enforce_eager: Compile nothing: starts sooner, answers later.
        cpu_cache_gib: Without a GPU: memory for the cache of keys and values.
        start_timeout_s: Time to load the model.
        log: Folder that gets a log file of every server; null to keep only the last words, for
            when it fails.
    """

    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    tensor_parallel_size: int | None = Field(default=None, ge=1)
    max_num_seqs: int | None = Field(default=None, ge=1)
    max_num_batched_tokens: int | None = Field(default=None, ge=1)
    enforce_eager: bool = False
    cpu_cache_gib: int = Field(default=4, ge=1)
    start_timeout_s: float = Field(default=1800.0, gt=0)
    log: str | None = None
