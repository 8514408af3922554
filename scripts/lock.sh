#!/usr/bin/env bash
# Renew requirements.lock: one fresh resolution of the core and the `dev` extra (Ray, S3, demo and
# the tools), independent of what any environment already holds.
#
#     make lock                 or: PYTHON=python3.11 scripts/lock.sh
#
# Nothing is installed: pip resolves and reports.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3.11}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "error: the lock is made with Python 3.11, the oldest supported; set PYTHON to one." >&2
    exit 2
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A virtual environment, so that pip is not the system's and sees no installed package.
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --dry-run --ignore-installed --quiet \
    --disable-pip-version-check --report "$scratch/report.json" '.[dev]'

"$scratch/venv/bin/python" - "$scratch/report.json" > "$scratch/requirements.lock" <<'PYTHON'
import json
import sys

found = json.load(open(sys.argv[1], encoding="utf-8"))["install"]
# A local version, such as 2.13.0+cpu, is whatever build this machine has: others have their own.
pins = {
    item["metadata"]["name"].lower(): item["metadata"]["version"].partition("+")[0]
    for item in found
}
del pins["longtail"]
print("# Every package of the core and the `dev` extra, as tested; renewed by `make lock`.")
print("# Resolved for CPython 3.11 on Linux x86-64. Install it, then the tree itself:")
print("#     pip install -r requirements.lock && pip install --no-deps -e .")
for name in sorted(pins):
    print(f"{name}=={pins[name]}")
PYTHON
mv "$scratch/requirements.lock" requirements.lock
echo "requirements.lock: $(grep -vc '^#' requirements.lock) packages"
