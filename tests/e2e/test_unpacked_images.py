"""Images that run without an engine: unpacked, in namespaces, as root and as a user without rights."""

import contextlib
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pytest
from programs import Program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="namespaces are of Linux"),
]

DRIVETRAIN = Path(sys.executable).parent / "drivetrain"

PREDICTOR = """
import os

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def setup(self):
        self.word = os.environ.get("WORD", "hello")
        if not self.word:
            raise RuntimeError("no word")
        open("/src/written", "w").write("by this run")

    def predict(self, text: str = Input(description="Whom to greet"), image: Path = Input(default=None)) -> str:
        print("greeting", text)
        size = len(image.read_bytes()) if image else 0
        return f"{self.word} {text} {size}"


def train(steps: int) -> str:
    return f"{steps} steps"
"""

#: Whom nothing belongs to; may look into the directories of the tests, and do nothing else.
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search"]
NOBODY += ["--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("unpacked") / "cache"


@pytest.fixture(scope="module")
def greeter(make_project, debian_base, tmp_path_factory, cache):
    """A project whose image is built."""
    config = f'build: {{python_version: "3.11", base: "{debian_base}"}}\npredict: predict.py:Predictor\ntrain: predict.py:train\n'
    made = make_project(tmp_path_factory.mktemp("greeter"), PREDICTOR, config=config)
    made.environ["DRIVETRAIN_CACHE_DIR"] = str(cache)
    if certificates := os.environ.get("SSL_CERT_FILE"):
        made.environ["COG_CA_CERT"] = certificates
    run(made, "build", "-t", "greeter")
    return made


def run(project, *arguments, status=0, **options):
    done = project.cli(*arguments, env=None, **options)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def inside(project, *command, options=(), status=0, **more):
    """Run a command in the image; what it printed."""
    words = ("exec", "--engine", "unpack", "--image", "greeter", *options, *command)
    return run(project, *words, status=status, **more).stdout


def runs(cache):
    """What runs have left."""
    return list((cache / "images" / "unpacked" / "runs").iterdir())


def start(project, *arguments, **options):
    command = [str(DRIVETRAIN), *arguments]
    return Program(command, cwd=project.root, env=project.environment(), text=True, **options)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_run_predicts_without_an_engine(greeter, cache, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"12345")
    for _ in range(2):  # the second time nothing is left to unpack
        done = run(greeter, "run", "greeter", "--engine", "unpack", "-i", "text=you", "-i", f"image=@{tmp_path}/photo.jpg")
        assert done.stdout == "hello you 5\n"
        assert "greeting you" in done.stderr
    assert runs(cache) == []


def test_train_trains_without_an_engine(greeter, tmp_path):
    target = tmp_path / "weights.txt"
    run(greeter, "train", "greeter", "--engine", "unpack", "-i", "steps=3", "-o", str(target))
    assert target.read_text().strip() == "3 steps"


def test_an_image_runs_as_its_user(greeter):
    run(greeter, "build", "-t", "of-a-user", "--user", "1234")
    done = run(greeter, "exec", "--engine", "unpack", "--image", "of-a-user", "sh", "-c", "id -u; grep CapEff /proc/self/status")
    assert done.stdout.split() == ["1234", "CapEff:", "0000000000000000"]
    assert run(greeter, "run", "of-a-user", "--engine", "unpack", "-i", "text=you").stdout == "hello you 0\n"


def test_what_a_run_writes_is_of_that_run_alone(greeter, cache):
    script = "cat /src/written 2>&1; echo mine >/src/predict.py; rm -r /usr/share/doc; touch /etc/new; mkdir -m 0 -p /deep/er"
    first = inside(greeter, "sh", "-c", script)
    assert "No such file" in first
    again = inside(greeter, "sh", "-c", "cat /src/predict.py; echo; ls -d /usr/share/doc /etc/new /deep 2>/dev/null || true")
    assert "from cog import BasePredictor" in again
    assert again.split()[-1] == "/usr/share/doc"
    assert runs(cache) == []


def test_a_command_gets_what_docker_would_give_it(greeter):
    shown = json.loads(
        inside(
            greeter,
            *("python", "-c"),
            "import json, os; print(json.dumps([os.getuid(), os.getcwd(), dict(os.environ), open('/proc/1/cmdline').read(), "
            "sorted(os.listdir('/proc/self/fd'))]))",
            options=("-e", "GREETING=hi there"),
        )
    )
    user, directory, environ, first, descriptors = shown
    assert (user, directory) == (0, "/src")
    assert environ["GREETING"] == "hi there"
    assert environ["HOME"] == "/root"
    assert environ["PATH"].startswith("/opt/model/bin:")
    assert "DRIVETRAIN_CACHE_DIR" not in environ
    assert "/opt/drivetrain/init.py" in first
    assert descriptors == ["0", "1", "2", "3"]  # the last one is the directory's own


def test_standard_input_and_exit_status_are_the_commands(greeter):
    assert inside(greeter, "sh", "-c", "cat; exit 7", stdin="through", status=7) == "through"
    assert inside(greeter, "sh", "-c", "kill -KILL $$", status=137) == ""
    assert "cannot run 'nothing'" in run(greeter, "exec", "--engine", "unpack", "--image", "greeter", "nothing", status=127).stderr


def test_the_kernel_can_be_looked_at_and_not_changed(greeter):
    script = "for file in /proc/sys/kernel/core_pattern /sys/kernel/profiling; do echo x >$file; done"
    script += "; mount -t tmpfs x /mnt; mount -o remount,rw /sys; wc -c </proc/timer_list; ls /sys /dev; cat /proc/self/mountinfo"
    done = run(greeter, "exec", "--engine", "unpack", "--image", "greeter", "sh", "-c", script)
    assert done.stderr.count("Read-only file system") == 2
    assert "must be superuser" in done.stderr or "permission denied" in done.stderr
    assert done.stdout.startswith("0\n")
    assert "kernel" in done.stdout
    assert "urandom" in done.stdout
    assert str(Path(__file__).parents[2]) not in done.stdout  # nothing of the host is mounted there


def test_serve_listens_where_it_is_told_and_ends_in_order(greeter, cache):
    port = free_port()
    with start(greeter, "serve", "greeter", "--engine", "unpack", "-p", str(port), stderr=subprocess.PIPE) as process:
        try:
            for line in process.stderr:
                if "Ready after" in line:
                    break
            answer = httpx.post(f"http://127.0.0.1:{port}/predictions", json={"input": {"text": "you"}}, timeout=30)
            assert answer.json()["output"] == "hello you 0"
            assert listeners(port) == ["0100007F"]  # 127.0.0.1 and no other address
        finally:
            process.terminate()
            process.stderr.read()
        assert process.wait(60) == 0
    assert runs(cache) == []


def listeners(port):
    """Addresses that are listened on, as the kernel writes them."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]


def test_nothing_outlives_a_run_that_is_killed(greeter, cache):
    marker = f"sleep-{free_port()}"
    script = f"import os; print('there', flush=True); os.execvp('sleep', ['{marker}', '1000'])"
    command = ("exec", "--engine", "unpack", "--image", "greeter", "python", "-c", script)
    with start(greeter, *command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "there\n"
        wait_for(lambda: processes(marker))
        process.kill()
    wait_for(lambda: not processes(marker))
    assert runs(cache) != []
    inside(greeter, "true")  # the next run sees to what was left
    assert runs(cache) == []


def test_the_end_of_run_ends_its_server(greeter, cache):
    with start(greeter, "run", "greeter", "--engine", "unpack", "-i", "text=you", "--setup-timeout", "60") as process:
        wait_for(lambda: [pid for pid in processes("cog.server.http") + processes("serve") if in_a_run(pid)])
        process.kill()
    wait_for(lambda: runs(cache) == [])


def in_a_run(pid):
    with contextlib.suppress(OSError):
        return "upperdir=../runs/" in Path(f"/proc/{pid}/mountinfo").read_text()
    return False


def test_the_layers_of_a_run_stay_while_it_lasts_and_go_when_nobody_wants_them(greeter, cache):
    unpacked = cache / "images" / "unpacked"

    def tidied_by_another():
        """Let all that is unpacked be old; the directories that a run of another image leaves."""
        for path in (*(unpacked / "layers").glob("*.json"), unpacked / "swept"):
            os.utime(path, (0, 0))
        run(greeter, "exec", "--engine", "unpack", "--image", "of-another", "true")
        return {path.name for path in (unpacked / "layers").iterdir() if path.is_dir()}

    run(greeter, "build", "-t", "of-another", "--user", "4321")
    command = ("exec", "--engine", "unpack", "--image", "greeter", "sh", "-c", "echo there; read line; head -1 /src/cog.yaml")
    with start(greeter, *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "there\n"
        while_it_runs = tidied_by_another()
        assert process.communicate("\n", timeout=60)[0].startswith("build:")
    afterwards = tidied_by_another()
    assert afterwards < while_it_runs


def processes(text):
    """Numbers of processes that have a text in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def wait_for(condition):
    while not condition():
        time.sleep(0.02)  # processes of others give no sign of their end


def test_a_terminal_is_passed_through(greeter):
    ours, theirs = pty.openpty()
    command = (
        "exec",
        "--engine",
        "unpack",
        "--image",
        "greeter",
        "sh",
        "-c",
        "test -t 0 && test -t 1 && read line && echo got $line",
    )
    with start(greeter, *command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        os.write(ours, b"typed\n")
        shown = b""
        with contextlib.suppress(OSError):
            while block := os.read(ours, 1000):
                shown += block
        assert process.wait(30) == 0, shown
    os.close(ours)
    assert b"got typed" in shown


def test_a_copy_serves_where_the_kernel_has_no_overlay_to_give(greeter, cache):
    # What a layer takes away is not marked in it, as on a file system that cannot.
    notes = sorted((cache / "images" / "unpacked" / "layers").glob("*.json"))
    before = {path: path.read_text() for path in notes}
    for path in notes:
        path.write_text(json.dumps({**json.loads(before[path]), "is_marked": False}))
    try:
        assert "overlay" not in inside(greeter, "head", "-1", "/proc/self/mountinfo")
        test_what_a_run_writes_is_of_that_run_alone(greeter, cache)
    finally:
        for path, text in before.items():
            path.write_text(text)


@pytest.fixture
def as_nobody(greeter):
    """Run the command line as a user who may do nothing but look; with a store of images of their own."""
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv on this machine")
    # Not in pytest's directory: the root of a namespace has no rights outside of it, and that is root's alone.
    with tempfile.TemporaryDirectory() as home:
        images = Path(home) / "cache" / "images"
        shutil.copytree(Path(greeter.environ["DRIVETRAIN_CACHE_DIR"]) / "images", images, ignore=shutil.ignore_patterns("unpacked"))
        for place, directories, files in os.walk(home):
            for one in (place, *(os.path.join(place, name) for name in (*directories, *files))):
                os.chown(one, 65534, 65534)
        environ = {**greeter.environment(), "HOME": home, "DRIVETRAIN_CACHE_DIR": f"{home}/cache", "TMPDIR": home}

        def cli(*arguments):
            command = [*NOBODY, str(DRIVETRAIN), *arguments]
            done = subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            return done.stdout

        cli.cache = Path(home) / "cache"
        yield cli


def test_a_kernel_that_forbids_namespaces_is_told(greeter):
    inner = f"echo 0 >/proc/sys/user/max_user_namespaces && exec {DRIVETRAIN} exec --engine unpack --image greeter true"
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", inner]
    done = subprocess.run(command, env=greeter.environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "does not let this user make namespaces" in done.stderr
    assert "sysctl user.max_user_namespaces=" in done.stderr


def test_within_a_container_that_hides_parts_of_proc_it_works_too(greeter):
    inner = f"mount --bind /dev/null /proc/cpuinfo && exec {DRIVETRAIN} exec --engine unpack --image greeter "
    inner += "sh -c 'cat /proc/self/comm; grep -c /proc/cpuinfo /proc/self/mountinfo'"
    command = ["unshare", "--mount", "sh", "-c", inner]
    done = subprocess.run(command, env=greeter.environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout == "cat\n1\n", done.stderr


def test_a_model_that_fails_in_set_up_is_told_with_what_it_wrote(greeter):
    done = run(greeter, "run", "greeter", "--engine", "unpack", "-e", "WORD=", "-i", "text=you", status=1)
    assert "the model failed in set-up" in done.stderr
    assert "no word" in done.stderr


def test_a_user_without_rights_runs_it_too(as_nobody):
    assert as_nobody("run", "greeter", "--engine", "unpack", "-i", "text=you") == "hello you 0\n"
    script = "id -u; rm /etc/passwd; cat /proc/self/uid_map"
    shown = as_nobody("exec", "--engine", "unpack", "--image", "greeter", "sh", "-c", script)
    assert shown.split() == ["0", "0", "65534", "1"]
    assert runs(as_nobody.cache) == []
