"""Which licences the packages have that a node needs: `make licences`.

    python scripts/licences.py               of this environment: openfl-node and its extras
    python scripts/licences.py SITE-PACKAGES of another one
    python scripts/licences.py --json        for programs

One line a package. Exit code 1, and a line for each on stderr, when a package states no licence
that is known here, or one that the packages of an Apache-2.0 program must not have. What counts is
what the package itself states: an SPDX expression, else its `License` field, else its classifiers.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "openfl-node"
GOOD = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "HPND",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "MPL-2.0",  # of files: what is not changed asks for nothing
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
        "Zlib",
    }
)
"""Anybody may use these in a program under Apache-2.0, as long as their texts come along."""
BY_NAME: Mapping[str, tuple[str, str]] = {
    "zeroconf": (
        "LGPL-2.1-or-later",
        "imported as it is, from a distribution of its own that anybody can replace",
    ),
}
"""Package -> a licence that is good for this package alone, and why."""
WORDS: Mapping[str, str] = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "cc0 1.0 universal (cc0 1.0) public domain dedication": "CC0-1.0",
    "dual license": "BSD-3-Clause OR Apache-2.0",
    "isc license (iscl)": "ISC",
    "mit -or- apache license 2.0": "MIT OR Apache-2.0",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
"""What packages write that is no SPDX expression, in small letters -> what they mean."""
_TOKEN = re.compile(r"\s*([()]|[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.+-]+)?)")


@dataclass(frozen=True)
class Package:
    """licence: as an SPDX expression, or as it is stated; "" when nothing is."""

    name: str
    version: str
    licence: str


def stated(distribution: Distribution) -> str:
    """The licence that a package states of itself, as an SPDX expression if it can be told."""
    metadata = distribution.metadata
    expression = str(metadata.get("License-Expression") or "").strip()
    if expression:
        return expression
    lines = str(metadata.get("License") or "").strip().splitlines()
    first = re.sub(r"\s{2,}.*", "", lines[0]).strip() if lines else ""
    text = WORDS.get(first.lower(), first)
    if text and understood(text):
        return text
    classifiers = [
        value.rpartition("::")[2].strip()
        for value in metadata.get_all("Classifier") or ()
        if value.startswith("License ::")
    ]
    words = [WORDS.get(name.lower(), name) for name in classifiers if name != "OSI Approved"]
    return " OR ".join(dict.fromkeys(words)) or first


def understood(expression: str) -> bool:
    """Whether it is an SPDX expression of licences whose names look like such."""
    try:
        return bool([*_names(expression)])
    except ValueError:
        return False


def is_good(expression: str, good: frozenset[str] = GOOD) -> bool:
    """Whether a licence, or the choices it leaves, are among `good`; False as well when it is no
    SPDX expression."""
    try:
        names = [*_names(expression)]
    except ValueError:
        return False
    truth = " ".join(
        {"AND": "and", "OR": "or", "(": "(", ")": ")"}.get(name, str(name in good))
        for name in names
    )
    # Nothing but True, False, and, or and parentheses is left of it.
    return bool(truth) and bool(eval(truth, {"__builtins__": {}}))


def _names(expression: str) -> Iterator[str]:
    """The parts of an SPDX expression; ValueError when it is none."""
    depth, operand_next, place = 0, True, 0
    text = expression.strip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(expression)
        token, place = found[1], found.end()
        is_operand = token not in ("AND", "OR", ")")
        if is_operand != operand_next:
            raise ValueError(expression)
        depth += (token == "(") - (token == ")")
        if depth < 0:
            raise ValueError(expression)
        operand_next = token in ("AND", "OR", "(")
        yield token
    if depth or operand_next:
        raise ValueError(expression)


def packages(path: Sequence[str] | None = None, root: str = ROOT) -> list[Package]:
    """`root` and everything it needs, its extras included as far as they are there, by name. path:
    folders to look in, None: those of this Python. KeyError: `root` is not there."""
    given = {} if path is None else {"path": [*path]}
    there: dict[str, Distribution] = {}
    for found in distributions(**given):
        there.setdefault(canonicalize_name(found.metadata["Name"]), found)
    wanted: list[tuple[str, frozenset[str]]] = []
    done: set[tuple[str, frozenset[str]]] = set()
    extras = there[root].metadata.get_all("Provides-Extra") or ()
    wanted.append((root, frozenset(extras)))
    while wanted:
        name, asked = wanted.pop()
        if (name, asked) in done or name not in there:
            continue
        done.add((name, asked))
        for text in there[name].requires or ():
            needed = Requirement(text)
            if needed.marker is None or _holds(needed.marker, asked):
                wanted.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    return [
        Package(name, there[name].version, stated(there[name]))
        for name in sorted({name for name, _ in done})
    ]


def _holds(marker: Marker, extras: frozenset[str]) -> bool:
    return any(marker.evaluate({"extra": extra}) for extra in (extras or {""}) | {""})


def problems(found: Sequence[Package]) -> list[str]:
    """What is wrong with these licences, a line a package."""
    wrong = []
    for package in found:
        alone, _ = BY_NAME.get(package.name, ("", ""))
        if not package.licence:
            wrong.append(f"{package.name} {package.version} states no licence")
        elif not is_good(package.licence, GOOD | {alone}):
            wrong.append(
                f"{package.name} {package.version} has the licence {package.licence!r}, which"
                " scripts/licences.py does not know to be good: read it, and say so there"
            )
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="licences.py", description="List licences.")
    parser.add_argument("folder", nargs="*", help="a site-packages folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        found = packages(options.folder or None)
    except KeyError:
        print(f"licences: {ROOT} is not installed there", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps([vars(package) for package in found], indent=1))
    else:
        for package in found:
            print(f"{package.name:24} {package.version:18} {package.licence or '-'}")
    wrong = problems(found)
    for line in wrong:
        print(f"licences: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
