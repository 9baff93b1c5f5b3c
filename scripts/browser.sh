#!/bin/sh
# Runs the tests of the page in headless Chromium. First installs what they need: Debian's chromium,
# chromium-driver and a font with apt-get, where that is possible without a password, and axe-core, as
# package-lock.json pins it.
#
#   scripts/browser.sh [ARGUMENT OF PYTEST]...
#   BROWSER_TESTS=optional scripts/browser.sh     without them: say so, and call it a success
#   NO_SYSTEM_INSTALL=1 scripts/browser.sh        never call apt-get, only say what is missing

set -eu

cd "$(dirname "$0")/.."
folder=tests/browser/js
log=.cache/browser.log

lacks() {
    missing=
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
        command -v google-chrome >/dev/null 2>&1 || missing="chromium"
    command -v chromedriver >/dev/null 2>&1 || missing="${missing:+$missing and }chromedriver"
    command -v npm >/dev/null 2>&1 || missing="${missing:+$missing and }npm"
}

lacks
if [ -n "$missing" ] && [ "$missing" != npm ] && [ "$(id -u)" = 0 ] &&
    [ -z "${NO_SYSTEM_INSTALL:-}" ] && command -v apt-get >/dev/null 2>&1; then
    echo "tests in a browser: this machine lacks $missing; apt-get install chromium"
    mkdir -p .cache
    apt-get update >"$log" 2>&1 || true # without it, an older list of packages may do
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        chromium chromium-driver fonts-dejavu-core >>"$log" 2>&1 || echo "apt-get failed, see $log"
    lacks
fi

if [ -n "$missing" ]; then
    needed="tests in a browser: need Chromium, its chromedriver, and npm: $missing not found"
    if [ "${BROWSER_TESTS:-}" = optional ]; then
        echo "$needed; no test was run"
        exit 0
    fi
    echo "$needed; to go without these tests: make test-browser BROWSER_TESTS=optional" >&2
    exit 1
fi

npm ci --prefix "$folder" --loglevel=error
exec .venv/bin/python -m pytest tests/browser "$@"
