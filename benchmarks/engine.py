"""The Ray runner against the local runner, on the same images and stages.

    python -m benchmarks.engine [--quick] [--images 20000] [--corpus FOLDER]

Both run the fused CPU stages on two workers, in turns, in one process; who is first changes with
each round. Start-up (`ray.init`) is reported apart; that of workers and their children is part of
the work, on both sides. Memory is the peak of the summed proportional set sizes: ours (the driver,
the children that do the rows) and Ray's own (its servers, the actors) apart. Images are a demo
corpus whose files are linked as often as needed, so content repeats; neither runner looks at it.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.conditions import print_conditions
from curation.pipeline.config import parse_pipeline
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.runner import Runner
from curation.pipeline.session import Session
from jobs.ray_runner import RayRunner
from stages.registry import STAGES

TARGET_RATIO = 0.9
WORKERS = 2
# A Ray of its own, whatever cluster the environment names: its processes are measured here.
RUNNERS: dict[str, Callable[[], Runner]] = {
    "local": LocalRunner,
    "ray": lambda: RayRunner("local"),
}
_SAMPLE_S = 1.0
_OWN_CORPUS = 2000


def main() -> int:
    """Measure and print; the exit code says whether the target was met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="2,000 images, one round")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", type=Path, help="a folder of images to link from")
    arguments = parser.parse_args()
    images = 2_000 if arguments.quick else arguments.images
    rounds = 1 if arguments.quick else arguments.rounds
    with tempfile.TemporaryDirectory(prefix="longtail-engine-") as folder:
        work = Path(folder)
        source = link_corpus(arguments.corpus, work, images)
        print_conditions(images=images, rounds=rounds, workers=WORKERS)
        runs = []
        for number in range(rounds):
            # By turns, so that neither always comes second to a machine that warms up or tires.
            for name in ("local", "ray") if number % 2 == 0 else ("ray", "local"):
                runs.append(
                    {"runner": name, **measure(RUNNERS[name], source, work / f"{name}-{number}")}
                )
    return report(runs)


def link_corpus(corpus: Path | None, work: Path, images: int) -> Path:
    """Fill a folder with `images` hard links to the files of a corpus."""
    if corpus is None:
        from curation.demo import make_corpus  # needs the extra `demo`; --corpus does not

        make_corpus(work / "corpus", images=min(images, _OWN_CORPUS), seed=7)
        corpus = work / "corpus" / "images"
    files = sorted(path for path in corpus.rglob("*") if path.is_file())
    source = work / "source"
    for number in range(images):
        target = source / f"{number // 1000:03d}" / f"{number:06d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(files[number % len(files)], target)
    return source


def measure(make: Callable[[], Runner], source: Path, dataset: Path) -> dict[str, Any]:
    """Run the pipeline once into a new dataset."""
    text = (
        f"name: engine\ndataset: {dataset}\nsource: {{name: bench, roots: [{source}]}}\n"
        f"run: {{workers: {WORKERS}}}\nstages: {{inspect: {{}}, aesthetic: {{}}, embed: {{}}}}\n"
    )
    session = Session(parse_pipeline(text, "engine.yaml"), text, STAGES)
    clock = {"start_s": 0.0}

    def timed() -> Runner:
        began = time.perf_counter()
        runner = make()
        runner.check(session.pools(session.instances(session.create_dataset())))
        clock["start_s"] = time.perf_counter() - began
        return runner

    with MemoryWatch() as memory:
        began = time.perf_counter()
        summary = session.run(timed, runner_name="bench")
        wall = time.perf_counter() - began
    assert summary.exit_code == 0, summary.lines()
    rows = summary.steps["inspect"].rows
    shutil.rmtree(dataset)
    work = wall - clock["start_s"]
    return {
        "rows": rows,
        "start_s": clock["start_s"],
        "work_s": work,
        "images_per_s": rows / work,
        "ours_mb": memory.peak["ours"] / 2**20,
        "rays_mb": memory.peak["rays"] / 2**20,
    }


class MemoryWatch:
    """Samples the memory of this process and all below it until it is closed."""

    def __init__(self) -> None:
        self.peak = {"ours": 0, "rays": 0}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            sums = {"ours": 0, "rays": 0}
            for pid in _descendants(os.getpid()):
                size, owner = _memory(pid)
                sums[owner] += size
            self.peak = {owner: max(self.peak[owner], size) for owner, size in sums.items()}


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def _memory(pid: int) -> tuple[int, str]:
    """Return the proportional set size in bytes, and whose process it is."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0, "ours"
    size = next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
    rays = b"curation.pipeline.child" not in command and (b"ray" in command.split(b"\0")[0].lower())
    rays = rays or b"/ray/" in command
    return size, "rays" if rays and pid != os.getpid() else "ours"


def report(runs: list[dict[str, Any]]) -> int:
    """Print the table and the JSON line."""
    print("| runner | start-up s | work s | images/s | our memory MB | Ray's memory MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for run in runs:
        print(
            f"| {run['runner']} | {run['start_s']:.1f} | {run['work_s']:.1f} | "
            f"{run['images_per_s']:.0f} | {run['ours_mb']:.0f} | {run['rays_mb']:.0f} |"
        )
    rates = {
        name: [run["images_per_s"] for run in runs if run["runner"] == name]
        for name in ("local", "ray")
    }
    pairs = [ray / local for ray, local in zip(rates["ray"], rates["local"], strict=True)]
    ratio = statistics.median(pairs)
    met = ratio >= TARGET_RATIO
    figures = {
        "ray_to_local": round(ratio, 3),
        "pairs": [round(pair, 3) for pair in pairs],
        "local_images_per_s": round(statistics.median(rates["local"]), 1),
        "ray_images_per_s": round(statistics.median(rates["ray"]), 1),
    }
    targets = {"ray_to_local": TARGET_RATIO}
    print(json.dumps({"benchmark": "engine", "figures": figures, "targets": targets, "met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
