#!/bin/sh
# Writes requirements/lock.txt, and beside it torch.txt (`make torch`), docs.txt (`make docs`) and
# release.txt (`make release`): the newest versions that pyproject.toml allows, one for each package
# on all supported Pythons and platforms, with the hashes of their files. Pinned versions that still
# fit stay as they are; UPGRADE=1 takes the newest of all.
#
#   scripts/lock.sh           all of them
#   scripts/lock.sh docs      one of them (lock, torch, docs, release)
set -eu
cd "$(dirname "$0")/.."
tools=.cache/lock-tools
[ -x "$tools/bin/uv" ] || {
    "${PYTHON:-python3}" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv
}
# pin FILE WHAT...: pins WHAT in requirements/FILE.txt
pin() {
    file=requirements/$1.txt
    shift
    UV_CUSTOM_COMPILE_COMMAND="make lock" "$tools/bin/uv" pip compile "$@" \
        --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --no-emit-index-url --no-emit-find-links --quiet ${UPGRADE:+--upgrade} \
        --output-file "$file" >/dev/null
    echo "$file: $(grep -c '^[A-Za-z0-9]' "$file") packages"
}
[ "${1:-lock}" != lock ] || pin lock pyproject.toml --group dev
# In one environment with the others, so what both need is the same.
[ "${1:-torch}" != torch ] || pin torch --group pyproject.toml:pytorch --constraint requirements/lock.txt
# The tools of the site and of a release share nothing with the project.
[ "${1:-docs}" != docs ] || pin docs --group pyproject.toml:docs
[ "${1:-release}" != release ] || pin release --group pyproject.toml:release
