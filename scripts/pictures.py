"""Draw the pictures of README.md, in docs/pictures.

    python scripts/pictures.py            view.svg, from the snapshot that is kept beside it
    python scripts/pictures.py --anew     the same from a new snapshot: four nodes learn a while
    python scripts/pictures.py --page     page.png, the page of such a node: needs Chromium

`snapshot.json` is what a real node said of itself; only its addresses and its home were replaced. A
test compares view.svg with what the view draws of it today.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.terminal_theme import TerminalTheme

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from openfl.core.telemetry import GroupView, NodeSnapshot  # noqa: E402
from openfl_cli.ask import running_node  # noqa: E402
from openfl_cli.live.picture import Scene, draw  # noqa: E402
from openfl_cli.live.state import ViewState  # noqa: E402
from scripts.docs_run import Reader, end_cleanly_when_told, reader  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
SNAPSHOT = FOLDER / "snapshot.json"
VIEW = FOLDER / "view.svg"
PAGE = FOLDER / "page.png"
COLUMNS, LINES = 100, 30
WIDTH, HEIGHT = 1000, 860
ROUNDS, MEMBERS = 14, 4
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DARK = TerminalTheme(
    (24, 26, 31),
    (200, 204, 212),
    [
        *((40, 44, 52), (224, 108, 117), (152, 195, 121), (229, 192, 123)),
        *((97, 175, 239), (198, 120, 221), (86, 182, 194), (171, 178, 191)),
    ],
)
# Rich's own frame fetches a font from the web; the reader's will do.
FRAME = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code", "ui-monospace"
)


def drawn(plain: dict[str, Any]) -> str:
    """The live view of a snapshot as SVG; the same for the same snapshot."""
    console = Console(
        file=io.StringIO(),
        record=True,
        width=COLUMNS,
        height=LINES,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        markup=False,
        emoji=False,
    )
    shot = NodeSnapshot.from_plain(plain)
    scene = Scene(shot, (own_group(shot),))
    for line in draw(scene, ViewState(), COLUMNS, LINES, ascii_only=False).lines:
        console.print(line, no_wrap=True, crop=True)
    text = console.export_svg(
        title="openfl-node start", theme=DARK, code_format=FRAME, unique_id="view"
    )
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


@contextlib.contextmanager
def four_nodes() -> Iterator[Reader]:
    """Four real nodes that have learned together for some rounds; the fourth is `nodes/3`."""
    deal = (
        "for n in 0 1 2 3; do mkdir -p nodes/$n; cp examples/music/songs.csv nodes/$n/;"
        " awk -F, -v n=$n 'NR == 1 || $1 % 4 == n' examples/music/ratings.csv"
        " > nodes/$n/ratings.csv; done\n"
    )
    nodes = "openfl-node start --home nodes/0 --data nodes/0/ratings.csv\n"
    nodes += "ADDRESS=$(openfl-node id --home nodes/0 --address)\n" + "".join(
        f"openfl-node start --home nodes/{n} --data nodes/{n}/ratings.csv --bootstrap $ADDRESS\n"
        for n in (1, 2, 3)
    )
    with reader({"OPENFL_TRAINING_INTERVAL_SECONDS": "2"}) as person:
        code, _, errors = person.types(f"{deal}{nodes}reached nodes/3 {ROUNDS} {MEMBERS}")
        if code:
            raise SystemExit(f"pictures: {errors}")
        yield person


def own_group(shot: NodeSnapshot) -> GroupView:
    """The one group that these nodes know, as its members' fits tell."""
    fits = [member.fit for member in shot.members if member.fit is not None]
    return GroupView(
        id=shot.group_id,
        name=shot.group_name,
        task=shot.task,
        members=len(shot.members),
        fit_metric=shot.metric,
        fit_best=min(fits),
        fit_median=statistics.median(fits),
        age_seconds=0.0,
        mine=True,
        compatible=True,
    )


def take_snapshot() -> dict[str, Any]:
    """What one of four real nodes says of itself after some rounds."""
    with four_nodes() as person:
        plain: dict[str, Any] = running_node(person.folder / "nodes" / "3", "snapshot")
        return anonymous(plain, person.folder)


def anonymous(plain: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Without where it was taken."""
    text = json.dumps(plain).replace(str(folder), "/home/ann/openfl")
    addresses = sorted(set(re.findall(r"/ip4/(\d+\.\d+\.\d+\.\d+)/", text)) - {"127.0.0.1"})
    for number, address in enumerate(addresses, start=2):
        text = text.replace(f"/ip4/{address}/", f"/ip4/192.0.2.{number}/")
    changed: dict[str, Any] = json.loads(text)
    return changed


def photograph(page: Path, picture: Path) -> None:
    """A page as a browser shows it, without a network."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"pictures: none of these is installed: {', '.join(BROWSERS)}")
    subprocess.run(
        [
            *(browser, "--headless=new", "--no-sandbox", "--hide-scrollbars"),
            *(
                "--proxy-server=127.0.0.1:9",
                f"--window-size={WIDTH},{HEIGHT}",
                "--virtual-time-budget=3000",
            ),
            *(f"--screenshot={picture}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
    )


def photograph_page() -> None:
    """The page of one of four real nodes, as `openfl-node report --html` writes it."""
    with four_nodes() as person:
        code, _, errors = person.types("openfl-node report --home nodes/3 --html page.html")
        if code:
            raise SystemExit(f"pictures: {errors}")
        page = person.folder / "page.html"
        page.write_text(page.read_text("utf-8").replace(str(person.folder), "/home/ann/openfl"))
        photograph(page, PAGE)


def main() -> int:
    end_cleanly_when_told()
    FOLDER.mkdir(exist_ok=True)
    if "--page" in sys.argv:
        photograph_page()
        return 0
    if "--anew" in sys.argv or not SNAPSHOT.exists():
        SNAPSHOT.write_text(json.dumps(take_snapshot(), indent=1) + "\n", encoding="utf-8")
    VIEW.write_text(drawn(json.loads(SNAPSHOT.read_text("utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
