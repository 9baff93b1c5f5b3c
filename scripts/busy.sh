#!/bin/sh
# Runs a command on a machine that is busy with something else: beside two processes for each core
# that do nothing but spin. They end with it, however it ends.
#
#   scripts/busy.sh COMMAND [ARGUMENT]...

set -eu

# Looks now and then whether this shell is still there: nothing can be done at its SIGKILL.
spin() {
    trap - EXIT INT TERM
    while kill -0 $$ 2>/dev/null; do
        turns=0
        while [ "$turns" -lt 50000 ]; do turns=$((turns + 1)); done
    done
}

spinners=
# shellcheck disable=SC2086  # a list of process ids
end_spinners() { [ -z "$spinners" ] || kill $spinners 2>/dev/null || true; }
trap end_spinners EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

count=$(($(getconf _NPROCESSORS_ONLN) * 2))
echo "busy: beside $count spinning processes"
while [ "$count" -gt 0 ]; do
    spin &
    spinners="$spinners $!"
    count=$((count - 1))
done
status=0
"$@" || status=$?
exit "$status"
