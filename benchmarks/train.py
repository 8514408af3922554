"""What the trainer costs beside what it trains, and how full a GPU is.

    python -m benchmarks.train [--quick] [--device cpu|cuda] [--part loop|loader|batches|device]

- `loop`: a step of the loop beside a bare one: the same module, clipping, AdamW and average,
  latents cached, blocks of two steps in turns. The median of the ratios of pairs of blocks.
- `loader`: share of a step that the loop waits for batches of a snapshot made for it: JPEGs of a
  quarter of a megapixel, each read and decoded at each visit.
- `batches`: useful tokens a second of batches cut by tokens, similar text lengths together, beside
  those of batches padded to 512 text tokens; caption lengths are log-uniform on 40 to 500, images
  have 256 tokens. Forward and backward passes of a tiny transformer, a batch of each in turns.
- `device`: blocks of the released 8B model at 1024 px and a step of the loop on them, beside the
  device's peak. With `--device cpu` this part runs on small sizes, to see that it runs.

Times that decide are processor time of one torch thread and of the thread that makes batches, which
other work on the machine disturbs less; those by the clock stand beside them.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.conditions import print_conditions

TARGETS = {
    "loop_to_bare": ("at most", 1.05),
    "wait_share": ("at most", 0.02),
    "dynamic_to_padded": ("at least", 1.5),
    "stack_mfu": ("at least", 0.5),
    "full_step_mfu": ("at least", 0.4),
}
PARTS = ("loop", "loader", "batches", "device")


def main() -> int:
    """Measure and print; the exit code says whether the targets were met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of `device`")
    parser.add_argument(
        "--part", choices=PARTS, action="append", help="this alone; may be repeated"
    )
    parser.add_argument("--rounds", type=int, help="blocks of each contender")
    parser.add_argument("--batch", type=int, help="samples of a step of `device`")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile the blocks of `device`; without saying, on a GPU alone",
    )
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    rounds = arguments.rounds or (10 if arguments.quick else 40)
    parts = arguments.part or (["device"] if arguments.device == "cuda" else PARTS[:3])
    device = torch.device(arguments.device)
    print_conditions(
        packages=("torch", "diffusers", "numpy"),
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        parts="+".join(parts),
        rounds=rounds,
    )
    figures: dict[str, float] = {}
    for part in parts:
        figures |= measure(part, rounds, arguments)
    print("| figure | measured |\n| --- | --- |")
    for name, value in figures.items():
        print(f"| {name.replace('_', ' ')} | {value:g} |")
    print()
    targets = {name: limit for name, (_, limit) in TARGETS.items() if name in figures}
    met = is_met(figures)
    print(json.dumps({"benchmark": "train", "figures": figures, "targets": targets, "met": met}))
    return 0 if met else 1


def measure(part: str, rounds: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the figures of a part."""
    import torch

    from benchmarks import train_batches, train_device, train_loader, train_loop

    with tempfile.TemporaryDirectory(prefix="longtail-train-") as name:
        folder = Path(name)
        if part == "loop":
            return train_loop.compare(rounds, folder)
        if part == "loader":
            return train_loader.measure(2 * rounds + 4, folder)
    if part == "batches":
        return train_batches.compare(rounds)
    device = torch.device(arguments.device)
    is_real = device.type == "cuda"
    sizes = (train_device.real_sizes if is_real else train_device.small_sizes)(arguments.batch or 4)
    if arguments.compile is not None:
        sizes = replace(sizes, compiled=arguments.compile)
    return train_device.measure(sizes, device, warm=5, steps=rounds)


def is_met(figures: Mapping[str, float]) -> bool:
    """Say whether every figure that has a target meets it."""
    for name, (side, limit) in TARGETS.items():
        if name in figures:
            is_kept = figures[name] <= limit if side == "at most" else figures[name] >= limit
            if not is_kept:
                return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
