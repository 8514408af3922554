"""Output tokens a second of `caption: vllm`, beside vLLM's own throughput benchmark.

    python -m benchmarks.captions [--quick] [--weights FOLDER] [--device cuda]

The contender is the whole captioner as a worker runs it: four shards in flight in four threads,
each image encoded as JPEG and sent over HTTP to the server that the captioner starts, each answer
read.
The baseline is `vllm bench throughput` of the same vLLM: the engine in its own process, with all
requests given to it at once. Both have the same token profile: images of one size, prompts that
begin alike and are as long, and answers of exactly as many tokens (`ignore_eos`, so no grammar).
They run in turns, and what is compared are the medians. Besides, the captioner is measured with the
schema, as it is used: a grammar then chooses among the tokens.

Without `--weights` the model is a small Qwen3-VL with random weights, for which the tokens cost
little and everything around them counts the most.
"""

import argparse
import io
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.conditions import print_conditions
from curation.endpoint.vllm_python import clean_environment, find_vllm_python, vllm_version
from curation.pipeline.stage import Execution, Shard
from curation.pixels import views
from stages.caption.stage import CaptionStage
from tests.fakes.tiny_qwen_vl import write_tiny_qwen_vl

TARGETS = {"share_of_throughput": 0.85}
SIZE_PX = 448
SHARDS_IN_FLIGHT = 4

_BENCH = """
from vllm.benchmarks.throughput import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
if __name__ == "__main__":
    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    main(parser.parse_args())
"""
_BENCH_S = 3600.0
_KEY = "LONGTAIL_BENCHMARK_KEY"
_OWN_TOKENS = 8


@dataclass(frozen=True)
class Profile:
    """What both sides are asked: requests, and tokens of an answer."""

    requests: int
    answer_tokens: int


@dataclass(frozen=True)
class Bench:
    """What one side did in one round."""

    seconds: float
    tokens: int
    prompt_tokens: int

    @property
    def rate(self) -> float:
        """Output tokens a second."""
        return self.tokens / self.seconds


def main() -> int:
    """Measure and print; the exit code says whether the target was met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="64 requests, two rounds")
    parser.add_argument("--weights", type=Path, help="folder of a model; else a small random one")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--requests", type=int, help="images a round")
    parser.add_argument("--answer-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    rounds = arguments.rounds or (2 if arguments.quick else 3)
    requests = arguments.requests or (64 if arguments.quick else 256)
    with tempfile.TemporaryDirectory(prefix="longtail-captions-") as folder:
        model = arguments.weights or write_tiny_qwen_vl(Path(folder, "m"), width=256, layers=4)
        bench = Captions(model, arguments.device, Profile(requests, arguments.answer_tokens))
        ours, theirs, used = [], [], []
        for _ in range(rounds):
            exact, schema = bench.contender()
            ours.append(exact)
            used.append(schema)
            theirs.append(bench.baseline(ours[0].prompt_tokens // requests))
    figures = {
        "output_tokens_per_s": _median(ours),
        "baseline_output_tokens_per_s": _median(theirs),
        "share_of_throughput": round(_median(ours) / _median(theirs), 3),
        "with_schema_output_tokens_per_s": _median(used),
    }
    print_conditions(
        vllm=vllm_version(bench.python),
        device=arguments.device,
        threads=bench.cpus,
        model=arguments.weights or "Qwen3-VL of 3 M random parameters",
        requests=requests,
        answer_tokens=arguments.answer_tokens,
        prompt_tokens=round(ours[0].prompt_tokens / requests),
        baseline_prompt_tokens=round(theirs[0].prompt_tokens / requests),
        size_px=SIZE_PX,
        rounds=rounds,
    )
    print("| side | output tokens/s, median | of each round |\n| --- | ---: | --- |")
    sides = {
        "caption: vllm": ours,
        "vllm bench throughput": theirs,
        "caption: vllm, with the schema": used,
    }
    for side, benches in sides.items():
        print(f"| {side} | {_median(benches):.0f} | {_listed(benches)} |")
    met = figures["share_of_throughput"] >= TARGETS["share_of_throughput"]
    print()
    print(json.dumps({"benchmark": "captions", "figures": figures, "targets": TARGETS, "met": met}))
    return 0 if met else 1


class Captions:
    """Both sides, on one machine, one after the other."""

    def __init__(self, model: Path, device: str, profile: Profile) -> None:
        self.python = find_vllm_python()
        self.cpus = max(1, (os.cpu_count() or 1) // 2) if device == "cpu" else 4
        self._model = model
        self._device = device
        self._profile = profile
        self._seed = 0

    def contender(self) -> tuple[Bench, Bench]:
        """Run the captioner with answers of an exact length, and as it is used, on one server."""
        stage = self._stage(
            captioner="vllm",
            weights=str(self._model),
            python=str(self.python),
            server={"enforce_eager": self._device == "cpu"},
            format="text",
            request={"ignore_eos": True},
            max_tokens=self._profile.answer_tokens,
        )
        stage.setup()
        captioner: Any = stage._captioner
        server = captioner.server
        try:
            os.environ[_KEY] = server.api_key
            used = self._stage(
                captioner="openai",
                model=captioner.served_name,
                revision="random",
                endpoint={"url": server.url, "api_key_env": _KEY, "max_in_flight": 256},
                schema_limits=True,
                temperature=1.0,
                max_tokens=self._profile.answer_tokens,
            )
            used.setup()
            for each in (stage, used):
                self._run(each, 8)
            return tuple(self._run(each, self._profile.requests) for each in (stage, used))  # type: ignore[return-value]
        finally:
            server.close()

    def baseline(self, prompt_tokens: int) -> Bench:
        """Run vLLM's own benchmark in a process of its own.

        Args:
            prompt_tokens: Of the contender's requests, image included. All but the image and a few
                words is the same for every one of them.
        """
        profile = self._profile
        shared = max(1, prompt_tokens - (SIZE_PX // 32) ** 2 - _OWN_TOKENS)
        with tempfile.TemporaryDirectory(prefix="longtail-bench-") as folder:
            said = subprocess.run(
                [str(self.python), "-P", "-c", _BENCH, *self._options(profile, shared)],
                env=self._environment(),
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_BENCH_S,
                check=False,
            )
        if said.returncode:
            raise SystemExit(said.stderr[-4000:])
        rate = re.search(r"Throughput: ([\d.]+) requests/s", said.stdout)
        tokens = re.search(r"output tokens: +(\d+)", said.stdout)
        prompt = re.search(r"prompt tokens: +(\d+)", said.stdout)
        assert rate, said.stdout
        assert tokens, said.stdout
        assert prompt, said.stdout
        seconds = profile.requests / float(rate[1])
        return Bench(seconds, int(tokens[1]), int(prompt[1]))

    def _options(self, profile: Profile, shared: int) -> list[str]:
        image = {"image": 1, "video": 0}
        options: dict[str, object] = {
            "model": self._model,
            "backend": "vllm-chat",
            "dataset-name": "random-mm",
            "num-prompts": profile.requests,
            "num-warmups": 8,
            "random-prefix-len": shared,
            "random-input-len": _OWN_TOKENS,
            "random-output-len": profile.answer_tokens,
            "random-mm-base-items-per-request": 1,
            "random-mm-limit-mm-per-prompt": json.dumps(image),
            "random-mm-bucket-config": f"{{({SIZE_PX}, {SIZE_PX}, 1): 1.0}}",
            "limit-mm-per-prompt": json.dumps(image),
            "max-model-len": 16384,
            "dtype": "bfloat16",
            "generation-config": "vllm",
            "mm-processor-cache-gb": 0,
            "seed": 0,
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        cpu = ["--enforce-eager", "--no-enable-chunked-prefill"] if self._device == "cpu" else []
        return [*words, *cpu]

    def _environment(self) -> dict[str, str]:
        return {
            **clean_environment(),
            "OMP_NUM_THREADS": str(self.cpus),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_CPU_KVCACHE_SPACE": "4",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
        }

    def _stage(self, **value: Any) -> CaptionStage:
        value["size_px"] = SIZE_PX
        stage = CaptionStage(CaptionStage.parse(value, "stages.caption"))  # type: ignore[arg-type]
        stage.execution = Execution("cuda" if self._device == "cuda" else "cpu", cpus=self.cpus)
        stage.check()
        stage.facts = stage.learn()
        return stage

    def _run(self, stage: CaptionStage, requests: int) -> Bench:
        """Caption new images, in as many threads as a worker has shards in flight."""
        self._seed += 1
        shards = [self._shard(stage, part) for part in _parts(requests)]
        began = time.perf_counter()
        with ThreadPoolExecutor(SHARDS_IN_FLIGHT) as threads:
            rows = [row for t in threads.map(stage.process, shards) for row in t.to_pylist()]
        seconds = time.perf_counter() - began
        if errors := {row["error"] for row in rows if row["error"]}:
            raise SystemExit(f"rows failed: {errors}")
        return Bench(
            seconds,
            sum(row["completion_tokens"] for row in rows),
            sum(row["prompt_tokens"] for row in rows),
        )

    def _shard(self, stage: CaptionStage, positions: range) -> Shard:
        """Make pictures of coloured squares, decoded before the clock starts."""
        rng = np.random.default_rng([self._seed, positions.start])
        spec = stage.pixels()
        assert spec is not None
        seen = []
        for _ in positions:
            small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            file = io.BytesIO()
            small.resize((SIZE_PX, SIZE_PX), Image.Resampling.NEAREST).save(file, "PNG")
            seen.extend(views(file.getvalue(), [spec]))
        table = pa.table({"row": pa.array(positions, pa.int32())})
        return Shard(positions.start, table, lambda position: seen[position])


def _parts(requests: int) -> Iterable[range]:
    size = max(1, requests // SHARDS_IN_FLIGHT)
    return [range(at, min(at + size, requests)) for at in range(0, requests, size)]


def _median(benches: list[Bench]) -> float:
    return round(statistics.median(bench.rate for bench in benches), 1)


def _listed(benches: list[Bench]) -> str:
    return ", ".join(f"{bench.rate:.0f}" for bench in benches)


if __name__ == "__main__":
    raise SystemExit(main())
