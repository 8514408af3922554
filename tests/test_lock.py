"""requirements.lock, pyproject.toml and the cluster file agree on what is installed."""

import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OWN_NAME = "longtail"


@pytest.fixture(scope="module")
def pins():
    """Map the name of every locked package to its version."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def requirements(*extras):
    """List the direct requirements of the core and of `extras`, followed through own extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = list(project["dependencies"])
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    found = [Requirement(text) for text in texts]
    nested = [extra for each in found if each.name == OWN_NAME for extra in sorted(each.extras)]
    own = [each for each in found if each.name != OWN_NAME]
    return own + (requirements(*nested) if nested else [])


@pytest.mark.parametrize("requirement", requirements("dev"), ids=str)
def test_lock_satisfies(requirement, pins):
    """Each direct requirement is pinned to a version that it allows; else run `make lock`."""
    version = pins.get(canonicalize_name(requirement.name))

    assert version is not None
    assert requirement.specifier.contains(version)


def test_cluster_runs_the_locked_ray(pins):
    """The container of ray_cluster.yaml holds the Ray of the lock; Ray refuses a mixed cluster."""
    cluster = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text(encoding="utf-8"))

    assert cluster["docker"]["image"] == f"rayproject/ray:{pins['ray']}-py311"


def test_cluster_file_passes_rays_own_validation():
    """The Ray that is installed accepts ray_cluster.yaml, with its defaults filled in."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text(encoding="utf-8"))

    validate_config(prepare_config(cluster))
