"""scripts/setup.sh on machines that lack something: every tool it calls is a stand-in here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]

TOOLS = [
    *("cat", "chmod", "cksum", "cut", "date", "dirname", "env", "grep", "id", "mkdir", "mktemp"),
    *("rm", "sed", "sh", "tail", "uname"),
]

# A Python that runs for real, but whose environments and their pip are stand-ins.
PYTHON = r"""#!/bin/sh
case "$1 $2" in
    "-m venv")
        rm -rf "$3"; mkdir -p "$3/bin"; cat >"$3/bin/python" <<'END'
#!/bin/sh
case "$1 $2" in
    "-m pip")
        echo "pip $*" >>"$CALLS"
        printf 'Collecting one\n%s\n' "$PIP_SAYS"; exit "${PIP_STATUS:-0}" ;;
    "-c import pip") [ -z "$NO_PIP" ] ;;
    "-c import sys; print(sys._base_executable)") command -v python3 ;;
    *) exec "$REAL_PYTHON" "$@" ;;
esac
END
        chmod +x "$3/bin/python"; echo "venv" >>"$CALLS" ;;
    "-c import venv, ensurepip") [ -z "$NO_VENV" ] ;;
    "-c import sys; sys.exit(sys.version_info < (3, 11))") [ -z "$OLD" ] ;;
    *) exec "$REAL_PYTHON" "$@" ;;
esac
"""

# A compiler that lacks what $LACKS_HEADERS names.
COMPILER = r"""#!/bin/sh
for word in $LACKS_HEADERS; do
    grep -q "$word" probe.c && exit 1
done
exit 0
"""


class Machine:
    """A folder with the project's set-up files and a PATH of stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "the project"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        self.bin.mkdir()
        for name in ("scripts", "requirements"):
            shutil.copytree(ROOT / name, self.project / name)
        shutil.copy(ROOT / "pyproject.toml", self.project)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)
        self.add("cc", COMPILER)
        self.add("python3", PYTHON)
        self.add("sleep", f"#!/bin/sh\nexec {shutil.which('sleep')} 0.02\n")

    def add(self, name: str, script: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def add_apt(self, root: bool) -> None:
        self.add("apt-get", '#!/bin/sh\necho "apt-get $*" >>"$CALLS"\nexit ${APT_STATUS:-0}\n')
        self.add("apt-cache", '#!/bin/sh\n[ "$2" = python3.12 ] && echo "Package: $2"\n')
        self.add("id", f"#!/bin/sh\necho {0 if root else 1000}\n")
        self.add("sudo", "#!/bin/sh\nexit 1\n")

    def setup(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [shutil.which("sh") or "sh", "scripts/setup.sh"],
            cwd=self.project,
            env={
                "PATH": str(self.bin),
                "HOME": str(self.project),
                "CC": "cc",
                "CALLS": str(self.calls_file),
                "REAL_PYTHON": sys.executable,
                **variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    def calls(self) -> list[str]:
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_complete_machine_gets_an_environment_and_a_second_call_does_nothing(
    machine: Machine,
) -> None:
    first = machine.setup()
    assert first.returncode == 0, first.stderr
    assert [line[:5] for line in first.stdout.splitlines()] == ["[1/3]", "[2/3]", "[3/3]", "     "]
    venv, pinned, itself = machine.calls()
    assert venv == "venv"
    assert "install --no-deps --require-hashes -r requirements/lock.txt" in pinned
    assert "install --no-deps --no-build-isolation --editable ." in itself
    second = machine.setup()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert machine.calls() == []


@pytest.mark.parametrize("file", ["requirements/lock.txt", "pyproject.toml"])
def test_changed_requirements_are_installed_into_the_environment_there_is(
    machine: Machine, file: str
) -> None:
    machine.setup()
    machine.calls()
    with (machine.project / file).open("a") as changed:
        changed.write("# changed\n")
    assert machine.setup().returncode == 0
    assert [call.split()[0] for call in machine.calls()] == ["pip", "pip"]


def test_a_moved_project_gets_a_new_environment(machine: Machine, tmp_path: Path) -> None:
    machine.setup()
    machine.calls()
    machine.project = machine.project.rename(tmp_path / "moved")
    assert machine.setup().returncode == 0
    assert machine.calls()[0] == "venv"


def test_a_broken_environment_is_made_anew(machine: Machine) -> None:
    machine.setup()
    machine.calls()
    machine_python = machine.project / ".venv" / "bin" / "python"
    machine_python.write_text("#!/bin/sh\nexit 127\n")
    assert machine.setup().returncode == 0
    assert machine.calls()[0] == "venv"


def test_an_environment_whose_making_was_interrupted_is_made_anew(machine: Machine) -> None:
    machine.setup(PIP_STATUS="1")
    machine.calls()
    assert machine.setup(NO_PIP="1").returncode == 0
    assert machine.calls()[0] == "venv"


def test_a_failed_install_shows_the_end_of_the_log_and_is_taken_up_again(
    machine: Machine,
) -> None:
    failed = machine.setup(PIP_STATUS="1", PIP_SAYS="ERROR: the last line")
    assert failed.returncode == 1
    assert "installing failed" in failed.stderr
    assert "    ERROR: the last line" in failed.stderr
    assert f"The whole log: {machine.project}/.cache/setup.log" in failed.stderr
    machine.calls()
    assert machine.setup().returncode == 0
    assert len(machine.calls()) == 2, "the environment is there already"


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("fatal error: gmp.h: No such file or directory", "GMP's headers were not found"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "differs from the one pinned"),
        ("NewConnectionError: Temporary failure in name resolution", "check the network"),
        ("ERROR: No matching distribution found for x==1", "try PYTHON=python3.12"),
        ("Segmentation fault", "please report the log"),
    ],
)
def test_a_failed_install_says_what_to_do(machine: Machine, said: str, advice: str) -> None:
    assert advice in machine.setup(PIP_STATUS="1", PIP_SAYS=said).stderr


# --- what a machine may lack -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lacks", "words", "debian", "fedora", "macos"),
    [
        (
            {"LACKS_HEADERS": "gmp.h"},
            "GMP's headers",
            "libgmp-dev",
            "gmp-devel",
            "brew install gmp",
        ),
        (
            {"LACKS_HEADERS": "Python.h"},
            "Python's headers",
            "python3.{minor}-dev",
            "python3-devel",
            "brew install python@3.13",
        ),
        (
            {"NO_VENV": "1"},
            "Python's venv and ensurepip",
            "python3.{minor}-venv",
            "python3",
            "brew install python@3.13",
        ),
        (
            {"LACKS_HEADERS": "main"},
            "a C compiler, Python's headers, GMP's headers",
            "build-essential python3.{minor}-dev libgmp-dev",
            "gcc python3-devel gmp-devel",
            "xcode-select --install; brew install python@3.13 gmp",
        ),
        (
            {"OLD": "1"},
            "Python 3.11 or newer",
            "python3.12 python3.12-venv python3.12-dev build-essential libgmp-dev",
            "python3 python3-devel gcc gmp-devel",
            "brew install python@3.13 gmp",
        ),
    ],
)
def test_what_is_missing_is_named_with_one_command_to_run(
    machine: Machine, lacks: dict[str, str], words: str, debian: str, fedora: str, macos: str
) -> None:
    debian = debian.replace("{minor}", str(sys.version_info[1]))
    machine.add("uname", "#!/bin/sh\necho Darwin\n")
    on_macos = machine.setup(**lacks)
    machine.add("dnf", "#!/bin/sh\nexit 1\n")
    on_fedora = machine.setup(**lacks)
    machine.add_apt(root=False)
    on_debian = machine.setup(**lacks)
    for result, command in (
        (on_debian, f"  sudo apt-get update && sudo apt-get install -y {debian}"),
        (on_fedora, f"  sudo dnf install -y {fedora}"),
        (on_macos, f"  {macos}"),
    ):
        assert result.returncode == 1
        assert f"this machine lacks {words}.\n" in result.stderr
        assert result.stderr.splitlines()[-1] == command
    assert machine.calls() == []
    assert not (machine.project / ".venv").exists()


def test_on_an_unknown_system_all_three_commands_are_printed(machine: Machine) -> None:
    machine.add("uname", "#!/bin/sh\necho Plan9\n")
    machine.add("apt-cache", "#!/bin/sh\nexit 1\n")
    text = machine.setup(LACKS_HEADERS="gmp.h").stderr
    assert "Debian, Ubuntu: sudo apt-get" in text
    assert "Fedora:         sudo dnf" in text
    assert "macOS:          brew" in text


def test_root_on_debian_gets_what_is_missing_installed(machine: Machine) -> None:
    machine.add_apt(root=True)
    headers = machine.bin / "headers-are-there"
    machine.add("cc", f'#!/bin/sh\n[ -e "{headers}" ] || ! grep -q gmp.h probe.c\n')
    machine.add(
        "apt-get",
        f'#!/bin/sh\necho "apt-get $*" >>"$CALLS"\n[ "$1" = update ] || : >"{headers}"\n',
    )
    result = machine.setup()
    assert result.returncode == 0, result.stderr
    assert "lacks GMP's headers; installing with apt-get" in result.stdout
    update, install, venv, *_ = machine.calls()
    assert update == "apt-get update"
    assert install == "apt-get install -y --no-install-recommends libgmp-dev"
    assert venv == "venv"


def test_when_apt_get_fails_the_command_is_printed(machine: Machine) -> None:
    machine.add_apt(root=True)
    result = machine.setup(LACKS_HEADERS="gmp.h", APT_STATUS="100")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith("apt-get install -y libgmp-dev")


def test_nothing_is_installed_into_the_system_when_that_is_not_wanted(machine: Machine) -> None:
    machine.add_apt(root=True)
    result = machine.setup(LACKS_HEADERS="gmp.h", NO_SYSTEM_INSTALL="1")
    assert result.returncode == 1
    assert machine.calls() == []


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"PYTHON": "no-such-python"}, "PYTHON=no-such-python: no such command"),
        ({"PYTHON": "python3", "OLD": "1"}, "PYTHON=python3 is not Python 3.11 or newer"),
    ],
)
def test_a_python_that_cannot_be_used_is_refused(
    machine: Machine, variables: dict[str, str], complaint: str
) -> None:
    result = machine.setup(**variables)
    assert result.returncode == 1
    assert complaint in result.stderr


def test_the_scripts_are_executable() -> None:
    for name in ("scripts/setup.sh", "scripts/lock.sh", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name
