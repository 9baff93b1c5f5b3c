"""Does what a unit of `openfl-node service install --print` says, as systemd would: for
scripts/bare_debian.sh, and for other machines without systemd.

    python3 scripts/supervise.py FILE.service

Runs ExecStart in WorkingDirectory, as User, with Environment and nothing else of this one's; starts
it again after RestartSec when it failed, unless its exit code is in RestartPreventExitStatus. Ends
with it, or passes SIGTERM on. Nothing of the hardening is done. Needs no package.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

QUOTED = {"\\": "\\", '"': '"'}


def words(text: str) -> list[str]:
    """The words of a value: in double quotes, with backslashes, or bare."""
    found: list[str] = []
    word, quoted, there = "", False, False
    letters = iter(text)
    for letter in letters:
        if quoted and letter == "\\":
            word += QUOTED[next(letters)]
        elif letter == '"':
            quoted, there = not quoted, True
        elif letter == " " and not quoted:
            if word or there:
                found.append(word)
            word, there = "", False
        else:
            word += letter
    if quoted:
        raise SystemExit(f"supervise: a quote is never closed: {text}")
    return [*found, word] if word or there else found


def settings(text: str) -> dict[str, list[str]]:
    """Key -> its values, with `%%` as `%`."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(key, []).append(value.replace("%%", "%"))
    return found


def main() -> int:
    if len(sys.argv) != 2:
        print(f"usage: {Path(sys.argv[0]).name} FILE.service", file=sys.stderr)
        return 2
    unit = settings(Path(sys.argv[1]).read_text(encoding="utf-8"))
    command = [word.replace("$$", "$") for word in words(unit["ExecStart"][0])]
    user = pwd.getpwnam(unit.get("User", [pwd.getpwuid(os.getuid()).pw_name])[0])
    environment = {"PATH": os.defpath, "HOME": user.pw_dir, "LANG": "C.UTF-8"}
    for value in unit.get("Environment", []):
        environment.update(word.split("=", 1) for word in words(value))
    never = {int(code) for code in unit["RestartPreventExitStatus"][0].split()}
    fine = {0, -signal.SIGTERM, *map(int, unit["SuccessExitStatus"][0].split())}
    stopping = False
    node: subprocess.Popen[bytes] | None = None

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        if node is not None:
            node.terminate()

    signal.signal(signal.SIGTERM, stop)
    while True:
        ids = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        node = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            cwd=unit["WorkingDirectory"][0],
            env=environment,
            umask=0o077,
            **(ids if os.geteuid() == 0 else {}),
        )
        code = node.wait()
        print(f"supervise: the node ended with {code}", file=sys.stderr, flush=True)
        if stopping or code in fine or code in never:
            return max(0, code)
        time.sleep(float(unit["RestartSec"][0]))


if __name__ == "__main__":
    sys.exit(main())
