"""What a bare import and `--help` may load; each case runs in a Python of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ENGINES = {
    "diffusers",
    "onnxruntime",
    "open_clip",
    "rapidocr",
    "ray",
    "timm",
    "torch",
    "torchvision",
    "transformers",
    "vllm",
}
NUMERICS = {
    "cv2",
    "duckdb",
    "faiss",
    "imagehash",
    "numpy",
    "pyarrow",
    "scipy",
    "skimage",
    "sklearn",
}

HELP = """
import sys
from curation.cli import main
sys.argv = ["longtail", "--help"]
try:
    main()
except SystemExit as exit:
    assert exit.code in (None, 0), exit.code
"""


def modules_loaded_by(code):
    """Run `code` in a fresh Python and return the top-level names in its `sys.modules`."""
    script = f"{code}\nimport json, sys\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr

    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        pytest.param("import curation", ENGINES | NUMERICS, id="curation"),
        pytest.param(HELP, ENGINES | NUMERICS, id="help"),
        pytest.param("import stages.registry", ENGINES, id="registry"),
    ],
)
def test_heavy_packages_stay_out(code, banned):
    """Start-up stays quick, and the core works where the extras are not installed."""
    assert modules_loaded_by(code) & banned == set()
