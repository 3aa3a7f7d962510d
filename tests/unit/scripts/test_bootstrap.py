"""`scripts/bootstrap.sh` on machines that lack something; each is played by a `python3` that answers as theirs does."""

import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

#: Debian's, without the packages python3-venv and python3-pip.
BARE = """
    case "$1 $2" in
        "-m venv") echo "The virtual environment was not created successfully because ensurepip is not available."; exit 1 ;;
        "-m pip") echo "$0: No module named pip" >&2; exit 1 ;;
    esac
"""
OFFLINE = """
    case "$1 $2" in
        "-m venv") mkdir -p "$3/bin"; printf '#!/bin/sh\\necho no route to host >&2; exit 1\\n' > "$3/bin/python"; chmod +x "$3/bin/python" ;;
        "-m pip") echo "no route to host" >&2; exit 1 ;;
    esac
"""
#: Refuses as PEP 668 wants it, unless it is told where to install.
MANAGED = """
    case "$1 $2 $3 $4" in
        "-m venv"*) exit 1 ;;
        "-m pip install --quiet") [ "$5" = --target ] || { echo "error: externally-managed-environment"; exit 1; }
            mkdir -p "$6/bin"; cp "$(dirname "$0")/uv-to-install" "$6/bin/uv" ;;
    esac
"""
OLD = """
    [ "$1" = -c ] && exit 1
"""


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "programs").mkdir()
    shutil.copy(ROOT / "scripts" / "bootstrap.sh", tmp_path / "scripts")
    (tmp_path / "requirements.lock").write_text("uv==1.2.3 \\\n    --hash=sha256:0\n")
    for program in ("sh", "sed", "cat", "grep", "dirname", "rm", "mkdir", "ln", "cp", "chmod", "printf"):
        (tmp_path / "programs" / program).symlink_to(shutil.which(program))
    return tmp_path


def install(machine, program, script):
    path = machine / "programs" / program
    path.write_text("#!/bin/sh\n" + textwrap.dedent(script))
    path.chmod(0o755)


def bootstrap(machine):
    environ = {"PATH": str(machine / "programs")}
    return subprocess.run(["sh", machine / "scripts" / "bootstrap.sh"], env=environ, capture_output=True, text=True, timeout=30)


def test_a_machine_without_python_is_told_what_to_install(machine):
    done = bootstrap(machine)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no 'python3'; install Python 3.10 or later" in done.stderr


def test_a_python_that_is_too_old_is_refused(machine):
    install(machine, "python3", OLD)
    assert "'python3' is not Python 3.10 or later" in bootstrap(machine).stderr


def test_a_python_without_pip_and_venv_is_told_the_package(machine):
    install(machine, "python3", BARE)
    done = bootstrap(machine)
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr


def test_an_unreachable_network_is_not_taken_for_a_missing_package(machine):
    install(machine, "python3", OFFLINE)
    done = bootstrap(machine)
    assert done.returncode == 1
    assert "no route to host" in done.stderr
    assert "check the network" in done.stderr
    assert "python3-venv" not in done.stderr


def test_a_uv_that_is_installed_is_the_last_resort_and_taken_again(machine):
    install(machine, "python3", BARE)
    install(machine, "uv", "echo uv 9.9.9\n")
    first = bootstrap(machine)
    assert (first.returncode, first.stdout) == (0, ".tooling/bin/uv\n")
    assert (machine / first.stdout.strip()).resolve() == machine / "programs" / "uv"
    assert bootstrap(machine).stderr == ""


def test_a_pip_that_the_system_manages_is_told_where_to_install(machine):
    install(machine, "python3", MANAGED)
    install(machine, "uv-to-install", "echo uv 1.2.3\n")
    done = bootstrap(machine)
    assert (done.returncode, done.stdout) == (0, ".tooling/bin/uv\n")


def test_another_pinned_version_is_fetched_anew(machine):
    install(machine, "python3", BARE)
    install(machine, "uv", "echo uv 9.9.9\n")
    bootstrap(machine)
    (machine / "requirements.lock").write_text("uv==1.2.4\n")
    assert "Fetching uv 1.2.4" in bootstrap(machine).stderr
