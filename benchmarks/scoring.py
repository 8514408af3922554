"""What `aesthetic: ernie_image_aes` costs beside its bare model.

    python -m benchmarks.scoring [--quick] [--device cpu|cuda] [--size small|released]

The contender is the stage as a worker runs it: views as the CPU pool hands them over, two shards in
flight, up to the finished table. The baseline is the same loaded model in a loop, on batches of the
same size that lie normalised on the device already. They run in turns, in one process; the ratio is
the median of those of the rounds. Weights are random: speed does not know better.

`small` has the structure of the release in sizes that a CPU can bear; `released` has its sizes, 8
billion parameters, for a GPU. On a CPU torch has one thread, as in a worker, and times are
processor time, which other work on the machine disturbs less.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import print_conditions
from benchmarks.shards import Device, Images, now, photographs, run_shards
from curation.pipeline.stage import Execution
from curation.pixels import PixelSpec
from stages.aesthetic.ernie_config import ErnieImageAesConfig
from stages.aesthetic.stage import AestheticStage
from tests.fakes.tiny_internvl import LANGUAGE, VISION, make_internvl

TARGETS = {"stage_to_bare": 0.95}
SIZES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "small": (
        {
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_attention_heads": 4,
            "num_hidden_layers": 4,
            "patch_size": 28,
        },
        {
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "num_hidden_layers": 6,
        },
    ),
    "released": (
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "patch_size": 14,
        },
        {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "num_hidden_layers": 28,
            "vocab_size": 151674,
        },
    ),
}


def main() -> int:
    """Measure and print; the exit code says whether the target was met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer images, 5 rounds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--size", choices=tuple(SIZES), default="small")
    arguments = parser.parse_args()
    device: Device = arguments.device
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
    rounds = 5 if arguments.quick else 11
    num_images = {"cpu": 32, "cuda": 128}[device]
    num_shards = 1 if arguments.quick else {"cpu": 2, "cuda": 16}[device]
    vision, language = SIZES[arguments.size]
    with tempfile.TemporaryDirectory(prefix="longtail-scoring-") as folder:
        os.environ["LONGTAIL_CACHE"] = f"{folder}/cache"
        weights = make_internvl(
            Path(folder) / "model",
            dtype=torch.bfloat16,
            vision={**VISION, **vision},
            language={**LANGUAGE, **language},
        )
        stage = ready_stage(weights, device)
    images = photographs(PixelSpec(size_px=448, fit="squash", filter="bicubic"), num_images)
    run_shards(stage, images, 1)
    run_bare(stage, images, 1)
    pairs = [
        (run_shards(stage, images, num_shards), run_bare(stage, images, num_shards))
        for _ in range(rounds)
    ]
    figures = {
        "stage_images_s": round(statistics.median(ours for ours, _ in pairs), 2),
        "bare_images_s": round(statistics.median(theirs for _, theirs in pairs), 2),
        "stage_to_bare": round(statistics.median(ours / theirs for ours, theirs in pairs), 3),
    }
    print_conditions(
        size=arguments.size,
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        batch=_engine(stage).batch_size,
        precision="bf16",
        torch=torch.__version__,
        transformers=metadata.version("transformers"),
        images_a_round=num_images * num_shards,
        rounds=rounds,
    )
    print("| figure | measured |\n| --- | --- |")
    for name, value in figures.items():
        print(f"| {name.replace('_', ' ')} | {value:g} |")
    met = all(figures[name] >= least for name, least in TARGETS.items())
    print(json.dumps({"benchmark": "scoring", "figures": figures, "targets": TARGETS, "met": met}))
    return 0 if met else 1


def ready_stage(weights: Path, device: Device) -> AestheticStage:
    """Set the stage up as a worker does."""
    value = {"scorer": "ernie_image_aes", "weights": str(weights), "precision": "bf16"}
    config = AestheticStage.parse(value, "aesthetic")
    assert isinstance(config, ErnieImageAesConfig)
    stage = AestheticStage(config)
    stage.execution = Execution(device, 16 if device == "cuda" else 4)
    stage.facts = stage.learn()
    stage.setup()
    return stage


def run_bare(stage: AestheticStage, images: Images, num_shards: int) -> float:
    """Return images a second of the model alone, on batches that lie on the device."""
    import torch

    engine = _engine(stage)
    device = stage.execution.device
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    batches = pixels.to(device, torch.bfloat16).contiguous().split(engine.batch_size)
    with torch.inference_mode():
        began = now(device)
        for _ in range(num_shards):
            for part in batches:
                ids = engine._token_ids.expand(len(part), -1)
                found = engine._model(input_ids=ids, pixel_values=part, use_cache=False)
                logits = found.last_hidden_state[:, -1] @ engine._words.T
        logits.cpu()  # the device works behind the loop's back until here
        seconds = now(device) - began
    return num_shards * len(images) / seconds


def _engine(stage: AestheticStage) -> Any:
    """Return the very same loaded model."""
    scorer: Any = getattr(stage, "_scorer")  # noqa: B009
    return scorer._engine


if __name__ == "__main__":
    raise SystemExit(main())
