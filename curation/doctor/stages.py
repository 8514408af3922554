"""What each stage of a pipeline needs: weights, packages, devices, and what it would ask."""

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from curation.dataset import Dataset
from curation.doctor.check import Check
from curation.doctor.machine import gpus
from curation.duck import machine_memory_bytes
from curation.errors import ConfigError, LongtailError
from curation.pipeline.config import PipelineConfig
from curation.pipeline.facts import Learnt
from curation.pipeline.fit import find_pin, read_artifact
from curation.pipeline.instances import Instance, Registry, configure, resolve
from curation.pipeline.models import NamedWeights, backend_of, find_models
from curation.pipeline.stage import FittedStage
from curation.urls import redacted

_SEE = "see what it says"


def check_stages(
    config: PipelineConfig,
    registry: Registry,
    dataset: Dataset | None,
    file: str = "PIPELINE",
    *,
    load: bool = False,
) -> Iterator[Check]:
    """Look at what each stage would use, also where its weights are missing.

    A stage that names no weights and has no workers of its own is set up. Models are loaded only on
    demand; nothing is computed, and nothing is fetched but what has changed at its URL.

    Args:
        config: The pipeline.
        registry: The stages that exist.
        dataset: Its dataset; null where there is none yet.
        file: How the user names the pipeline, for commands.
        load: Whether models are loaded too.

    Raises:
        ConfigError: The pipeline is wrong, whatever is on this machine.
    """
    named: dict[str, list[NamedWeights]] = {name: [] for name in config.stages}
    for weights in find_models(config, registry):
        named[weights.instance].append(weights)
    alone = configure(config, registry)
    learnt = Learnt(config.dataset, config.name)
    unknown: dict[str, str] = {}
    for name, instance in alone.items():
        stage = instance.make()
        if all(weights.held for weights in named[name]):
            try:
                learnt(name, stage)
            except ConfigError as error:
                unknown[name] = str(error).removeprefix(f"stages.{name}: ")
        elif learnt.recorded(name, stage) is None:
            unknown[name] = ""
    waiting = _behind(alone, unknown)
    whole = {name: value for name, value in config.stages.items() if name not in waiting}
    resolved = resolve(
        config.model_copy(update={"stages": whole}),
        registry,
        lambda key: None if dataset is None else find_pin(dataset, key),
        learnt,
    )
    known = {instance.name: instance for instance in resolved}
    for name, instance in alone.items():
        yield _runs(instance)
        yield from _weights(named[name], file, is_recorded=name not in unknown)
        if unknown.get(name):
            yield _trouble(name, unknown[name])
        elif name in waiting and name not in unknown:
            yield Check(name, "missing", f"waits for what {waiting[name]} needs")
        yield from _stage(known.get(name, instance), dataset, named[name], load=load)


def _behind(alone: Mapping[str, Instance], unknown: Mapping[str, str]) -> dict[str, str]:
    """Return the instances that cannot be resolved, each with the one that it waits for."""
    waiting = dict.fromkeys(unknown, "")
    while True:
        more = {}
        for name, instance in alone.items():
            if name in waiting:
                continue
            for logical in _reads(instance):
                stage = logical.partition(".")[0]
                named = instance.inputs.get(stage)
                same = [i.name for i in alone.values() if i.stage_type.name == stage]
                candidates = [named] if named else same
                if found := next((other for other in candidates if other in waiting), None):
                    more[name] = waiting[found] or found
        if not more:
            return waiting
        waiting |= more


def _reads(instance: Instance) -> list[str]:
    stage = instance.make()
    fit = stage.fit_reads() if isinstance(stage, FittedStage) and instance.is_fitted else ()
    return [*stage.reads(), *fit]


def _runs(instance: Instance) -> Check:
    """Say what the stage is and where it would run; whether this machine could run it."""
    subject, what = f"stage {instance.name}", backend_of(instance)
    needs = instance.resources
    if not needs.own_pool:
        return Check(subject, "ok", f"{what}, on the CPU with the other stages")
    least, most = instance.run.min_workers, needs.max_workers
    if most is None:
        workers = "as many workers as fit"
    else:
        number = f"{least}" if least == most else f"{least} to {most}"
        workers = "1 worker" if number == "1" else f"{number} workers"
    if not needs.gpus:
        found = f"{what}, on the CPU: {workers}, {needs.cpus:g} CPU each"
        if (have := machine_memory_bytes()) < needs.memory_bytes:
            wanted, there = (f"{size / (1 << 30):.1f} GiB" for size in (needs.memory_bytes, have))
            lacking = f"each wants {wanted} of memory, this machine has {there}"
            advice = f"run it on nodes that have it, or lower stages.{instance.name}.run."
            return Check(subject, "missing", f"{found}; {lacking}", f"{advice}memory_bytes")
        return Check(subject, "ok", found)
    found = f"{what}, on GPUs: {workers}, {needs.gpus:g} GPU each"
    if lacking := _without_cuda():
        advice = "run it on nodes that have it, or `--set run.device=cpu`"
        return Check(subject, "missing", f"{found}; {lacking}", advice)
    return Check(subject, "ok", found)


def _without_cuda() -> str:
    """Return why nothing computes on a GPU here; empty where it would."""
    try:
        if not gpus():
            return "this machine has no NVIDIA GPU"
    except OSError:
        return "the NVIDIA driver fails"
    torch = find_spec("torch")  # importing it would take seconds
    if torch is None or torch.origin is None:
        return ""  # the stage says which packages it lacks
    version = Path(torch.origin).with_name("version.py").read_text(encoding="utf-8")
    if re.search(r"^cuda\b.*=\s*None", version, re.MULTILINE):
        return "the torch installed here computes on the CPU only"
    return ""


def _weights(named: list[NamedWeights], file: str, *, is_recorded: bool) -> Iterator[Check]:
    for weights in named:
        subject = f"{weights.instance}: {weights.role} weights"
        held = weights.held
        if held is not None:
            size = f"{held.num_bytes / (1 << 20):,.1f} MiB"
            yield Check(subject, "ok", f"{held.path}, {size}, digest {held.digest[:12]}")
        elif is_recorded:
            found = f"not here; a plan takes what the last run learnt of {weights.reference}"
            yield Check(subject, "missing", found, "needed where the stage runs")
        elif weights.trouble:
            yield _trouble(subject, weights.trouble)
        else:
            found = f"{weights.reference}: not on this machine"
            yield Check(subject, "wrong", found, f"longtail models fetch {file}")


def _stage(
    instance: Instance, dataset: Dataset | None, named: list[NamedWeights], *, load: bool
) -> Iterator[Check]:
    """Ask the stage for what it lacks and what it sees; set it up if that costs little."""
    stage = instance.make()
    try:
        stage.check()
    except LongtailError as error:
        yield _trouble(instance.name, str(error))
        return
    except KeyError:
        return  # it looks at what is not known without the weights, which were said to be missing
    for finding in stage.probe():
        state: Literal["ok", "wrong"] = "ok" if finding.is_good else "wrong"
        subject = f"{instance.name}: {finding.subject}"
        yield Check(subject, state, redacted(finding.found), redacted(finding.advice))
    has_all = all(weights.held for weights in named)
    is_light = not named and not instance.resources.own_pool
    if not has_all or not (is_light or load) or instance.is_relation:
        return
    if instance.is_fitted and (instance.artifact is None or dataset is None):
        return  # the run fits it
    try:
        artifact = None
        if instance.artifact is not None and dataset is not None:
            artifact = read_artifact(dataset, instance.name, instance.artifact)
        instance.make(artifact).setup()
    except (LongtailError, ImportError, OSError, RuntimeError, ValueError) as error:
        yield _trouble(instance.name, str(error) or type(error).__name__)
    else:
        if not is_light:
            yield Check(instance.name, "ok", "its model loads")


def _trouble(subject: str, message: str) -> Check:
    """Take a sentence apart into what was found and what to do."""
    found, _, advice = message.partition("; ")
    return Check(subject, "wrong", found, advice or _SEE)
