#!/bin/sh
# A node on a machine on which nothing is installed: a Debian of its own, made by debootstrap, with
# python3 and make and nothing else. In it
#
#   1. the two commands of the README: `make demo`, `make test` (a quick part of it);
#   2. the wheel is built, and installed into an environment of its own;
#   3. `service install`: no systemd runs, which has to be said; `--print` writes the unit, and
#      scripts/supervise.py does what it says. A second node is started by `start --detach`;
#   4. everything is killed with SIGKILL, at once, and "the machine" starts again: the service by
#      its unit, the other by `restart`. Both have to be there with the same identity and group, and
#      with all the rounds they had.
#
#   scripts/bare_debian.sh              as root, on Linux; a quarter of an hour, a gigabyte of disk
#   KEEP=1 scripts/bare_debian.sh       keep the Debian, to look around or to go on from
#   FOLDER=/srv/bare SUITE=trixie MIRROR=http://... TEST_ARGS=tests/cli
#   CARRY="/etc/pip.conf /etc/ssl/certs/ca-certificates.crt"
#                                       files and folders of this machine that it needs to reach its
#                                       mirrors; PIP_*, *_proxy and certificates' variables are passed on
#
# Mounts and processes live in namespaces that end with each step: nothing is left behind.

set -eu

cd "$(dirname "$0")/.."
suite=${SUITE:-bookworm}
test_args=${TEST_ARGS:--m "'not slow'" tests/cli tests/unit/test_packaging.py}
folder=${FOLDER:-}

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'bare: %s\n' "$*" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] || fail "needs Linux and root"
PATH="$PATH:/usr/sbin:/sbin"
for program in debootstrap unshare git tar; do
    command -v "$program" >/dev/null || fail "$program is missing (apt-get install debootstrap git)"
done

if [ -z "$folder" ]; then
    folder=$(mktemp -d /var/tmp/openfl-bare.XXXXXX)
fi
# Nothing is mounted here outside of the namespaces; should it be, nothing beyond is touched.
clean_up() {
    if [ -z "${KEEP:-}" ]; then rm -rf --one-file-system "$folder"; else say "kept: $folder"; fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a step of bare_debian_inside.sh in the Debian; with it end all processes that it has started.
inside() {
    # shellcheck disable=SC2016  # the inner shell expands these
    env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TEST_ARGS="$test_args" \
        $(env | grep -E '^(PIP_[A-Z_]+|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|[A-Za-z]+_proxy|[A-Z]+_PROXY)=[^ ]*$') \
        unshare --mount --pid --fork --kill-child --propagation private sh -euc '
            mount -t proc proc "$1/proc"
            mount --rbind /dev "$1/dev"
            mount -t tmpfs tmpfs "$1/tmp"
            exec chroot "$1" sh /root/openfl/scripts/bare_debian_inside.sh "$2"
        ' sh "$folder" "$1"
}

if [ ! -e "$folder/etc/debian_version" ]; then
    say "a bare Debian $suite in $folder"
    # shellcheck disable=SC2086  # no mirror is no argument
    debootstrap --variant=minbase --include=python3,make "$suite" "$folder" ${MIRROR:-} \
        >"$folder.log" 2>&1 || { tail -n 5 "$folder.log" >&2; fail "debootstrap failed: $folder.log"; }
    rm -f "$folder.log"
fi
cp /etc/resolv.conf /etc/hosts "$folder/etc/"
for path in ${CARRY:-}; do
    mkdir -p "$folder$(dirname "$path")"
    cp -rL "$path" "$folder$(dirname "$path")/"
done
mkdir -p "$folder/root/openfl"
# What an earlier run has set up is brought up to date by `make`, as it would be.
find "$folder/root/openfl" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
git archive HEAD | tar -x -C "$folder/root/openfl"

say "what is there: $(ls "$folder"/usr/bin/python3 "$folder"/usr/bin/make 2>/dev/null | tr '\n' ' ')"
inside commands
inside service
say "all of it was killed; the machine starts again"
inside boot
say "well: same identity, same group, no round lost"
