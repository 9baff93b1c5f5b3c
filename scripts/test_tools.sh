#!/bin/sh
# Installs the programs that only the tests need: those that make network namespaces, for partitions,
# NAT, hole punching, UPnP and a LAN (tests/netns); systemd-analyze, which reads the units of
# `openfl-node service`, and the shells that are asked for completions (tests/cli); curl, which documents
# use (`make docs-check`). With apt-get, where that is possible without a password; elsewhere one line
# says what is missing, and the tests that need it are skipped.
#
#   NO_SYSTEM_INSTALL=1 scripts/test_tools.sh    never call apt-get, only say what is missing

set -eu

cd "$(dirname "$0")/.."
log=.cache/test-tools.log
PATH="$PATH:${SBIN-/usr/sbin:/sbin}" # not in the PATH of every root

# Most of these tests need root as well: anybody else is not asked, nor are other systems.
[ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] || exit 0

# Sets $missing (programs) and $packages (Debian's, that bring them).
find_missing() {
    missing=
    packages=
    for pair in ip:iproute2 nft:nftables unshare:util-linux nsenter:util-linux mount:mount \
        systemd-analyze:systemd zsh:zsh fish:fish curl:curl; do
        if ! command -v "${pair%%:*}" >/dev/null 2>&1; then
            missing="${missing:+$missing, }${pair%%:*}"
            packages="$packages ${pair#*:}"
        fi
    done
}

find_missing
[ -n "$missing" ] || exit 0
if [ -z "${NO_SYSTEM_INSTALL:-}" ] && command -v apt-get >/dev/null 2>&1; then
    echo "tests: this machine lacks $missing; apt-get install$packages"
    mkdir -p .cache
    apt-get update >"$log" 2>&1 || true # without it, an older list of packages may do
    # shellcheck disable=SC2086  # packages is a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages \
        >>"$log" 2>&1 || echo "tests: apt-get failed, see $log"
    find_missing
fi
[ -z "$missing" ] || echo "tests: without $missing those that use them cannot run"
