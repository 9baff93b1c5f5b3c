#!/bin/sh
# The steps of scripts/bare_debian.sh that happen in the bare Debian, as its process 1.

set -eu

cd /root/openfl
node=/opt/node/bin/openfl-node
place=/var/lib/openfl
home=$place/service
other=$place/other
unit=/etc/openfl-node.service

say() { printf '\n-- %s\n' "$*"; }
fail() {
    printf 'bare: %s\n' "$*" >&2
    for log in "$home" "$other"; do
        [ ! -e "$log/node.log" ] || tail -n 8 "$log/node.log" | cut -c 1-200 >&2
    done
    exit 1
}
as_owner() { setpriv --reuid openfl --regid openfl --init-groups env HOME=$place "$@"; }

# Peer id, group and round of a node, on a line.
who_where() {
    as_owner "$node" status --json --home "$1" | python3 -c '
import json, sys
status = json.load(sys.stdin)
print(status["peer_id"], status["group"]["id"], status["group"]["name"], status["round"])'
}

supervise() {
    setsid python3 scripts/supervise.py $unit </dev/null >>/var/log/supervise.log 2>&1 &
    as_owner "$node" wait --home $home --timeout 120 ||
        { cat /var/log/supervise.log >&2; fail "the service does not come up"; }
}

commands() {
    say "make demo"
    make demo
    say "make test ARGS=\"$TEST_ARGS\""
    make test ARGS="$TEST_ARGS"
}

service() {
    say "the wheel, in an environment of its own"
    make build >/dev/null
    python3 -m venv /opt/node
    /opt/node/bin/pip install --quiet --disable-pip-version-check dist/*.whl
    $node --version
    [ -e $place ] || useradd --system --create-home --home-dir $place openfl
    for share in 0 1; do
        awk -F, -v n=$share 'NR == 1 || $1 % 2 == n' examples/music/ratings.csv >$place/$share.csv
    done

    say "service install, where no systemd runs"
    set -- --home $home --run-as openfl -- --data $place/0.csv --interval 0.5 --set network.host=127.0.0.1
    code=0
    $node service install "$@" || code=$?
    [ $code = 6 ] || fail "exit code $code where no systemd runs"
    [ ! -e /etc/systemd/system/openfl-node-service.service ] || fail "a unit was written all the same"
    $node service install --print "$@" >$unit
    grep -E '^(ExecStart|User|Restart)' $unit

    say "the unit, done by scripts/supervise.py; and a second node, in the background"
    install -d -m 0700 -o openfl -g openfl $home
    supervise
    (cd $place && as_owner "$node" start --detach --home $other --data 1.csv --interval 0.5 \
        --set network.host=127.0.0.1 --bootstrap "$(as_owner $node id --home $home --address)")
    for each in $home $other; do
        as_owner $node wait --home $each --members 2 --round 10 --useful --timeout 120 || fail "not together"
        as_owner $node status --home $each --healthy || fail "not healthy"
        who_where $each >$each.before
        cat $each.before
    done
    # Saved are all rounds but those of the last two seconds.
    for each in $home $other; do
        round=$(cut -d ' ' -f 4 $each.before)
        as_owner $node wait --home $each --round $((round + 10)) --timeout 120
    done
    say "kill -9 -1"
    # Of process 1 and of all others: the end of this namespace is that, too.
    trap '' TERM
    kill -9 -1 || true
}

boot() {
    rm -f /run/openfl-* # what a boot does; the homes stay as they were left
    [ -S $home/control.sock ] || fail "no socket was left behind: that was no SIGKILL"
    supervise
    as_owner $node restart --home $other
    for each in $home $other; do
        as_owner $node wait --home $each --members 2 --timeout 120 || fail "not together again"
        who_where $each >$each.after
        cat $each.after
        [ "$(cut -d ' ' -f 1-3 $each.before)" = "$(cut -d ' ' -f 1-3 $each.after)" ] ||
            fail "it is not who it was: $(cat $each.before)"
        [ "$(cut -d ' ' -f 4 $each.after)" -ge "$(cut -d ' ' -f 4 $each.before)" ] ||
            fail "rounds are lost: $(cat $each.before)"
        as_owner $node logs --home $each -n all --json | grep -q '"event": "resumed"' ||
            fail "it did not go on where it was"
        as_owner $node status --home $each --healthy || fail "not healthy again"
    done
    say "kill -9 of the node alone: the service starts it again"
    before=$(head -n 1 $home/lock)
    kill -9 "$before"
    as_owner $node wait --home $home --members 2 --timeout 120 || fail "not started again"
    [ "$(head -n 1 $home/lock)" != "$before" ] || fail "the same process"
    say "stop: the service leaves it at that"
    as_owner $node stop --home $home
    as_owner $node stop --home $other
    sleep 7 # longer than RestartSec
    as_owner $node status --home $home --healthy && fail "it was started again" || true
    grep -q "ended with 0" /var/log/supervise.log || fail "it did not end with 0"
}

"$1"
