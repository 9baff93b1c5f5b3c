#!/bin/sh
# Runs the tests against js-libp2p, whose packages it installs first, as package-lock.json pins them.
#
#   scripts/interop.sh [ARGUMENT OF PYTEST]...
#   INTEROP=optional scripts/interop.sh    without Node.js and npm: say so, and call it a success

set -eu

cd "$(dirname "$0")/.."
folder=tests/interop/js
oldest=20

missing=""
if ! command -v node >/dev/null 2>&1; then
    missing="node is not installed"
elif ! node -e "process.exit(process.versions.node.split('.')[0] < $oldest ? 1 : 0)"; then
    missing="this is Node.js $(node --version)"
elif ! command -v npm >/dev/null 2>&1; then
    missing="npm is not installed"
fi

if [ -n "$missing" ]; then
    needed="interop: needs Node.js $oldest or newer and npm: $missing"
    if [ "${INTEROP:-}" = optional ]; then
        echo "$needed; no test was run"
        exit 0
    fi
    echo "$needed; to go without these tests: make interop INTEROP=optional" >&2
    exit 1
fi

npm ci --prefix "$folder" --loglevel=error
exec .venv/bin/python -m pytest tests/interop "$@"
