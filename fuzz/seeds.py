"""`python -m fuzz.seeds`: writes the seeds of both targets into the corpus."""

from __future__ import annotations

import hashlib

from fuzz import CORPUS, decoder, session


def main() -> None:
    for name, seeds in (("decoder", decoder.seeds()), ("session", session.seeds())):
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main()
