"""`python -m openfl_cli` is `openfl-node`."""

from __future__ import annotations

from openfl_cli.main import main

if __name__ == "__main__":
    main()
