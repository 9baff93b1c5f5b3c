#!/bin/sh
# Makes .venv, with everything a node, its tests and its checks need, from pinned versions.
#
#   scripts/setup.sh                      find a Python (3.11 or newer) and set up
#   PYTHON=python3.12 scripts/setup.sh    with this one
#   NO_SYSTEM_INSTALL=1 scripts/setup.sh  never call apt-get, only say what is missing
#
# One dependency (fastecdsa) has no binary packages and is compiled here: that takes a C compiler,
# Python's headers and GMP's headers. What is missing is installed with apt-get where that is
# possible without a password; elsewhere the one command to run is printed.
#
# Safe to run again at any time: it does nothing when all is up to date, and goes on where it
# stopped otherwise.

set -eu

cd "$(dirname "$0")/.."
venv=.venv
lock=requirements/lock.txt
stamp=$venv/.setup-stamp
log=.cache/setup.log
candidates="python3.13 python3.12 python3.11 python3 python3.14"

say() { printf '%s\n' "$*"; }
fail() {
    say "" >&2
    say "set-up: $1" >&2
    shift
    for line in "$@"; do say "  $line" >&2; done
    exit 1
}

# --- is there anything to do? ------------------------------------------------------------------

# What $venv was made from, and where: one that was moved or copied does not work.
sources=$(cat "$lock" pyproject.toml scripts/setup.sh | cksum)
stamp_for() { printf '%s %s\n%s\n' "$sources" "$1" "$(pwd)"; }

venv_version() {
    "$venv/bin/python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null
}

up_to_date() {
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(stamp_for "$1")" ]
}

have=$(venv_version || true)
if [ -z "${PYTHON:-}" ] && [ -n "$have" ] && up_to_date "$have"; then
    exit 0
fi

# --- Python ------------------------------------------------------------------------------------

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
can_make_venv() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }
minor_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }
version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])'; }

# Sets $python: the first that is new enough and can make environments, else the first that is new
# enough, else nothing.
find_python() {
    python=
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null 2>&1 || fail "PYTHON=$PYTHON: no such command"
        new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or newer"
        python=$PYTHON
        return
    fi
    if [ -n "$have" ] && new_enough "$venv/bin/python"; then
        # Keep to the Python that .venv was made with.
        python=$("$venv/bin/python" -c 'import sys; print(sys._base_executable)')
        ! can_make_venv "$python" || return 0
        python=
    fi
    for candidate in $candidates; do
        if command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate"; then
            if can_make_venv "$candidate"; then
                python=$candidate
                return
            fi
            : "${python:=$candidate}"
        fi
    done
}

# --- what the machine lacks --------------------------------------------------------------------

scratch=$(mktemp -d)
pip_process=
# An interrupted shell leaves its background command running: end it here.
clean_up() {
    [ -z "$pip_process" ] || kill "$pip_process" 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Compiles $1 (C source) as pip will compile extensions for $python; $2: more arguments.
compiles() {
    compiler=${CC:-$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    printf '%s\n' "$1" >"$scratch/probe.c"
    # shellcheck disable=SC2086  # CC and the flags are lists of words
    (cd "$scratch" && $compiler ${CFLAGS:-} "-I$include" -o probe probe.c ${LDFLAGS:-} $2) \
        >"$scratch/probe.log" 2>&1
}

# GMP from Homebrew is not where the compiler looks by itself.
use_homebrew() {
    command -v brew >/dev/null 2>&1 || return 0
    prefix=$(brew --prefix gmp 2>/dev/null) || return 0
    [ -f "$prefix/include/gmp.h" ] || return 0
    CFLAGS="${CFLAGS:-} -I$prefix/include"
    LDFLAGS="${LDFLAGS:-} -L$prefix/lib"
    export CFLAGS LDFLAGS
}

# Sets $missing: words among python, venv, compiler, headers, gmp.
find_missing() {
    missing=
    find_python
    if [ -z "$python" ]; then
        missing="python"
        return
    fi
    can_make_venv "$python" || missing="$missing venv"
    if ! compiles 'int main(void) { return 0; }' ''; then
        missing="$missing compiler"
        # Without a compiler the others cannot be tried; ask for all, they are small.
        missing="$missing headers gmp"
        return
    fi
    compiles '#include <Python.h>
int main(void) { return 0; }' '' || missing="$missing headers"
    gmp='#include <gmp.h>
int main(void) { mpz_t n; mpz_init(n); return 0; }'
    if ! compiles "$gmp" -lgmp; then
        use_homebrew
        compiles "$gmp" -lgmp || missing="$missing gmp"
    fi
}

# The Debian packages for $missing. A Python of one's own (pyenv, conda) brings headers and venv.
debian_packages() {
    packages=
    for thing in $missing; do
        case $thing in
            python)
                name=python3
                for version in 3.13 3.12 3.11; do
                    if apt-cache show "python$version" 2>/dev/null | grep -q '^Package:'; then
                        name=python$version
                        break
                    fi
                done
                packages="$packages $name $name-venv $name-dev build-essential libgmp-dev"
                ;;
            venv) packages="$packages $(debian_python)-venv" ;;
            headers) packages="$packages $(debian_python)-dev" ;;
            compiler) packages="$packages build-essential" ;;
            gmp) packages="$packages libgmp-dev" ;;
        esac
    done
    printf '%s' "${packages# }"
}

debian_python() { printf 'python%s' "$(minor_of "$python")"; }

fedora_packages() {
    packages=
    for thing in $missing; do
        case $thing in
            python | venv) packages="$packages python3" ;;
            headers) packages="$packages python3-devel" ;;
            compiler) packages="$packages gcc" ;;
            gmp) packages="$packages gmp-devel" ;;
        esac
        [ "$thing" != python ] || packages="$packages python3-devel gcc gmp-devel"
    done
    printf '%s' "${packages# }"
}

macos_command() {
    command=
    for thing in $missing; do
        case $thing in
            compiler) command="xcode-select --install; $command" ;;
            python) command="$command python@3.13 gmp" ;;
            venv | headers) command="$command python@3.13" ;;
            gmp) command="$command gmp" ;;
        esac
    done
    case $command in
        "xcode-select --install; "*) printf 'xcode-select --install; brew install%s' \
            "${command#xcode-select --install; }" ;;
        *) printf 'brew install%s' "$command" ;;
    esac
}

in_words() {
    words=
    for thing in $missing; do
        case $thing in
            python) word="Python 3.11 or newer" ;;
            venv) word="Python's venv and ensurepip" ;;
            compiler) word="a C compiler" ;;
            headers) word="Python's headers" ;;
            gmp) word="GMP's headers" ;;
        esac
        words="${words:+$words, }$word"
    done
    printf '%s' "$words"
}

ask_owner() {
    say "" >&2
    say "set-up: this machine lacks $(in_words)." >&2
    say "Run this once, then the same make command again:" >&2
    say "" >&2
    if command -v apt-get >/dev/null 2>&1; then
        say "  sudo apt-get update && sudo apt-get install -y $(debian_packages)" >&2
    elif command -v dnf >/dev/null 2>&1; then
        say "  sudo dnf install -y $(fedora_packages)" >&2
    elif [ "$(uname -s)" = Darwin ]; then
        say "  $(macos_command)" >&2
    else
        say "  Debian, Ubuntu: sudo apt-get update && sudo apt-get install -y $(debian_packages)" >&2
        say "  Fedora:         sudo dnf install -y $(fedora_packages)" >&2
        say "  macOS:          $(macos_command)" >&2
    fi
    exit 1
}

install_missing() {
    [ -z "${NO_SYSTEM_INSTALL:-}" ] || return 1
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root=
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root="sudo -n"
    fi
    say "set-up: this machine lacks $(in_words); installing with apt-get"
    # shellcheck disable=SC2086  # as_root is nothing or two words
    if ! $as_root apt-get update >>"$log" 2>&1; then
        say "  apt-get update failed (see $log); trying without" >&2
    fi
    packages=$(debian_packages)
    say "  apt-get install $packages"
    # shellcheck disable=SC2086  # packages is a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        $packages >>"$log" 2>&1 || {
        say "  apt-get failed; the end of $log:" >&2
        tail -n 5 "$log" | sed 's/^/    /' >&2
        return 1
    }
}

mkdir -p .cache 2>/dev/null || fail "$(pwd) is not writable"
: >"$log"

find_missing
if [ -n "$missing" ]; then
    install_missing || ask_owner
    find_missing
    [ -z "$missing" ] || ask_owner
fi

version=$(version_of "$python")
if [ "$version" = "$have" ] && up_to_date "$version"; then
    exit 0
fi

# --- the environment ---------------------------------------------------------------------------

started=$(date +%s)
elapsed() { printf '%s s' "$(($(date +%s) - started))"; }

made_elsewhere() { [ -f "$stamp" ] && [ "$(sed -n 2p "$stamp")" != "$(pwd)" ]; }
# Not so when making it was interrupted.
has_pip() { "$venv/bin/python" -c 'import pip' 2>/dev/null; }

if [ "$version" = "$have" ] && has_pip && ! made_elsewhere; then
    say "[1/3] Python $version: $venv is there, bringing it up to date"
else
    say "[1/3] Python $version: making $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv" >>"$log" 2>&1 || {
        tail -n 5 "$log" | sed 's/^/    /' >&2
        rm -rf "$venv"
        fail "$python cannot make an environment in $(pwd)/$venv" "the whole log: $log"
    }
fi
rm -f "$stamp"

pip="$venv/bin/python -m pip --disable-pip-version-check --no-input --no-color"

# What to do about the pip failure in the log; one line.
advice() {
    if grep -q 'No space left on device' "$log"; then
        say "The disk is full: about 1 GB is needed in $(pwd) and in ${TMPDIR:-/tmp}."
    elif grep -qE 'gmp\.h|cannot find -lgmp' "$log"; then
        say "GMP's headers were not found: install libgmp-dev (Debian), gmp-devel (Fedora), gmp (macOS)."
    elif grep -qE 'DO NOT MATCH THE HASHES' "$log"; then
        say "A download differs from the one pinned in $lock: try again, and do not use it if it stays so."
    elif grep -qE 'ReadTimeout|ConnectTimeout|NewConnectionError|Connection(Reset)?Error|Temporary failure in name|SSLError|ProxyError|IncompleteRead' "$log"; then
        say "The package index was not reached: check the network connection and run this again."
    elif grep -qE 'No matching distribution|Could not find a version' "$log"; then
        say "A pinned version is not to be had for Python $version here: try PYTHON=python3.12."
    else
        say "Run this again; when it fails in the same way, please report the log."
    fi
}

pip_failed() {
    say "" >&2
    say "set-up: installing failed after $(elapsed). The end of $log:" >&2
    grep -v '^[[:space:]]*$' "$log" | tail -n 12 | cut -c 1-200 | sed 's/^/    /' >&2
    say "" >&2
    say "$(advice)" >&2
    say "The whole log: $(pwd)/$log" >&2
    exit 1
}

total=$(grep -c '^[A-Za-z0-9]' "$lock")
say "[2/3] Installing $total pinned packages (a minute or two the first time; one is compiled)"
# Not through a function: $! is to be pip itself, so that an interrupt can end it.
$pip install --no-deps --require-hashes -r "$lock" >>"$log" 2>&1 &
pip_process=$!
ticks=0
while kill -0 "$pip_process" 2>/dev/null; do
    sleep 1
    ticks=$((ticks + 1))
    seen=$(grep -cE '^(Collecting|Requirement already)' "$log" || true)
    if [ -t 1 ]; then
        printf '\r      %s of %s found, %s ' "$seen" "$total" "$(elapsed)"
    elif [ $((ticks % 30)) = 0 ]; then
        say "      $seen of $total found, $(elapsed)"
    fi
done
[ ! -t 1 ] || printf '\r                                        \r'
wait "$pip_process" || { pip_process=; pip_failed; }
pip_process=

say "[3/3] Installing openfl-node itself"
$pip install --no-deps --no-build-isolation --editable . >>"$log" 2>&1 || pip_failed

stamp_for "$version" >"$stamp"
say "      ready after $(elapsed)"
