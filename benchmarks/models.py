"""What a stage costs beside its bare model, and what half precision does to vectors.

    python -m benchmarks.models [--quick] [--device cpu|cuda] [--model ViT-B-32]

The model has the real size and random weights: neither its speed nor its rounding knows better.

- `embed`: the stage `embed: open_clip`, given decoded views as a worker gets them from the CPU
  pool, two shards in flight, up to the finished table; beside it the bare loop, that is open_clip's
  image tower on batches of the same size which lie normalised on the device already. In turns, in
  one process; the ratio is the median of those of the rounds.
- `bf16`: the same stage in bf16 and fp32, in turns, and the smallest and mean cosine between their
  vectors over photographs.

On a CPU torch has one thread, as in a worker, and times are processor time, which other work on the
machine disturbs less.
"""

import argparse
import json
import logging
import os
import statistics
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.conditions import print_conditions
from benchmarks.shards import Device, now, photographs, run_shards
from curation.pipeline.slices import SLICE_ROWS
from curation.pipeline.stage import Execution
from curation.pixels import PixelSpec
from stages.embed.embedder import EmbedConfig
from stages.embed.stage import EmbedStage

TARGETS = {"stage_to_bare": 0.95, "bf16_cosine": 0.999}
BATCH = {"cpu": 16, "cuda": 128}


def main() -> int:
    """Measure and print; the exit code says whether the targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer images, 7 rounds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", default="ViT-B-32", help="its name in open_clip")
    arguments = parser.parse_args()
    device: Device = arguments.device
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
    rounds = 7 if arguments.quick else 15
    slices = {"cpu": 1, "cuda": 64}[device] if arguments.quick else {"cpu": 2, "cuda": 400}[device]
    with tempfile.TemporaryDirectory(prefix="longtail-models-") as folder:
        weights = random_weights(arguments.model, Path(folder) / "weights.safetensors")
        half = ready_stage(arguments.model, weights, "bf16", device)
        full = ready_stage(arguments.model, weights, "fp32", device)
    images = photographs(_spec(full), SLICE_ROWS)
    figures = compare_with_bare(half, images, device, slices, rounds)
    figures |= compare_precisions(half, full, images, max(1, slices // 2), rounds)
    print_conditions(
        model=arguments.model,
        device=torch.cuda.get_device_name() if device == "cuda" else f"cpu ({_cpu_features()})",
        batch=BATCH[device],
        torch=torch.__version__,
        open_clip=metadata.version("open_clip_torch"),
        images_a_round=slices * SLICE_ROWS,
        rounds=rounds,
    )
    print("| figure | measured |\n| --- | --- |")
    for name, value in figures.items():
        print(f"| {name.replace('_', ' ')} | {value:g} |")
    met = all(figures[name] >= least for name, least in TARGETS.items())
    print(json.dumps({"benchmark": "models", "figures": figures, "targets": TARGETS, "met": met}))
    return 0 if met else 1


def random_weights(model: str, file: Path) -> Path:
    """Save a model of open_clip with random weights."""
    from training.encoders.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    import open_clip
    import torch
    from safetensors.torch import save_model

    logging.getLogger().setLevel(logging.ERROR)  # that the weights are random is intended
    torch.manual_seed(0)
    save_model(open_clip.create_model(model, pretrained_text=False), str(file))
    return file


def ready_stage(model: str, weights: Path, precision: str, device: Device) -> EmbedStage:
    """Set the stage up as a worker does."""
    value = {
        "embedder": "open_clip",
        "model": model,
        "weights": str(weights),
        "precision": precision,
    }
    config = EmbedStage.parse(value, "embed")
    assert isinstance(config, EmbedConfig)
    stage = EmbedStage(config)
    stage.execution = Execution(device, BATCH[device])
    stage.facts = stage.learn()
    stage.setup()
    return stage


def _spec(stage: EmbedStage) -> PixelSpec:
    spec = stage.pixels()
    assert spec is not None
    return spec


def run_bare(model: Any, images: list[NDArray[np.uint8]], num_slices: int, device: Device) -> float:
    """Return images a second of the image tower alone, on batches that lie on the device."""
    import torch

    batch = BATCH[device]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    batches = pixels.to(device, torch.bfloat16).contiguous().split(batch)
    with torch.inference_mode():
        began = now(device)
        for _ in range(num_slices):
            for part in batches:
                vectors = model.encode_image(part)
        vectors.cpu()  # the device works behind the loop's back until here
        seconds = now(device) - began
    return num_slices * len(images) / seconds


def compare_with_bare(
    stage: EmbedStage,
    images: list[NDArray[np.uint8]],
    device: Device,
    num_slices: int,
    rounds: int,
) -> dict[str, float]:
    """Measure the stage and the bare loop on the same loaded model, in turns."""
    bare: Any = getattr(stage, "_embedder")._model._model  # noqa: B009 (the very same weights)
    run_shards(stage, images, 1)
    run_bare(bare, images, 1, device)
    pairs = []
    for _ in range(rounds):
        pairs.append(
            (
                run_shards(stage, images, num_slices),
                run_bare(bare, images, num_slices, device),
            )
        )
    return {
        "stage_images_s": round(statistics.median(ours for ours, _ in pairs), 1),
        "bare_images_s": round(statistics.median(theirs for _, theirs in pairs), 1),
        "stage_to_bare": round(statistics.median(ours / theirs for ours, theirs in pairs), 3),
    }


def compare_precisions(
    half: EmbedStage,
    full: EmbedStage,
    images: list[NDArray[np.uint8]],
    num_slices: int,
    rounds: int,
) -> dict[str, float]:
    """Measure bf16 and fp32 in turns, and how near their vectors are."""
    one, other = (
        getattr(stage, "_embedder").embed(images).astype(np.float64)  # noqa: B009
        for stage in (half, full)
    )
    cosines = (one * other).sum(axis=1)
    between = (other @ other.T)[~np.eye(len(images), dtype=bool)]
    speeds = []
    for _ in range(max(2, rounds // 2)):
        speeds.append((run_shards(half, images, num_slices), run_shards(full, images, num_slices)))
    return {
        "bf16_to_fp32": round(statistics.median(a / b for a, b in speeds), 2),
        "fp32_images_s": round(statistics.median(b for _, b in speeds), 1),
        "bf16_cosine": round(float(cosines.min()), 5),
        "bf16_cosine_mean": round(float(cosines.mean()), 5),
        "cosine_of_two_images_mean": round(float(between.mean()), 5),
    }


def _cpu_features() -> str:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    found = [name for name in ("amx_bf16", "avx512_bf16") if name in flags]
    return ", ".join(found) or "no bf16"


if __name__ == "__main__":
    raise SystemExit(main())
