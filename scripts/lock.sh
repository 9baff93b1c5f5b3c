#!/bin/sh
# Writes requirements/lock.txt: the newest versions that pyproject.toml allows, one for each package
# on all supported Pythons and platforms, with the hashes of their files. Pinned versions that still
# fit stay as they are; UPGRADE=1 takes the newest of all.
set -eu
cd "$(dirname "$0")/.."
tools=.cache/lock-tools
[ -x "$tools/bin/uv" ] || {
    "${PYTHON:-python3}" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv
}
UV_CUSTOM_COMPILE_COMMAND="make lock" "$tools/bin/uv" pip compile pyproject.toml --group dev \
    --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
    --no-emit-index-url --no-emit-find-links --quiet ${UPGRADE:+--upgrade} \
    --output-file requirements/lock.txt >/dev/null
echo "requirements/lock.txt: $(grep -c '^[A-Za-z0-9]' requirements/lock.txt) packages"
