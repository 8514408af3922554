#!/usr/bin/env bash
# Make .venv from requirements.lock and the tree, then leave the stamp that the Makefile looks for.
#
#     make setup                or: PYTHON=/usr/bin/python3.12 scripts/setup.sh [STAMP]
#
# The stamp's name holds a checksum of what was installed, so nothing runs while nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=${1:-}
venv=.venv

usable() {
    # A pyenv shim exists for versions that are not active, so ask it to run.
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1
}

if ! { usable "$venv/bin/python" && "$venv/bin/python" -m pip --version > /dev/null 2>&1; }; then
    candidates=(python3.11 python3)
    if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
    python=
    for candidate in "${candidates[@]}"; do
        if usable "$candidate"; then python=$candidate; break; fi
    done
    if [ -z "$python" ]; then
        echo "error: Longtail needs Python 3.11 or newer, tried: ${candidates[*]}; install it, or" \
            "name one: make PYTHON=/path/to/python3.11 setup" >&2
        exit 2
    fi
    clear=()
    # An environment whose Python is gone or too old cannot be mended in place.
    if ! usable "$venv/bin/python"; then clear=(--clear); fi
    "$python" -m venv ${clear[@]+"${clear[@]}"} "$venv" || {
        echo "error: $python cannot make virtual environments; install its venv module" \
            "(Debian, Ubuntu: apt install python3-venv)." >&2
        exit 2
    }
fi

echo "Setting up $venv from requirements.lock (some minutes the first time) ..."
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
"${pip[@]}" install -r requirements.lock
"${pip[@]}" install --no-deps -e .

rm -f "$venv"/.installed-*
if [ -n "$stamp" ]; then touch "$stamp"; fi
