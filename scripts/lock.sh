#!/bin/sh
# Writes requirements/lock.txt: the newest versions that pyproject.toml allows, one for each package
# on all supported Pythons and platforms, with the hashes of their files. Pinned versions that still
# fit stay as they are; UPGRADE=1 takes the newest of all. So it does for what the tests of PyTorch
# and `make release` need: torch.txt and release.txt beside it.
set -eu
cd "$(dirname "$0")/.."
tools=.cache/lock-tools
[ -x "$tools/bin/uv" ] || {
    "${PYTHON:-python3}" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv
}
compile() {
    output=requirements/$1
    shift
    UV_CUSTOM_COMPILE_COMMAND="make lock" "$tools/bin/uv" pip compile "$@" \
        --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --no-emit-index-url --no-emit-find-links --quiet ${UPGRADE:+--upgrade} \
        --output-file "$output" >/dev/null
    echo "$output: $(grep -c '^[A-Za-z0-9]' "$output") packages"
}
compile lock.txt pyproject.toml --group dev
# Beside the others in one environment, so what both need is the same.
compile torch.txt --group pyproject.toml:pytorch --constraint requirements/lock.txt
compile release.txt --group pyproject.toml:release
