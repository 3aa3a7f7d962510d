"""What `make demo` runs: two example models on real pictures, through the same commands that you would type.

Then one of them on a platform, called with Replicate's own client.
"""

import contextlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

EXAMPLES = Path(__file__).parent
OUTPUT = EXAMPLES.parent / "demo-output"
DRIVETRAIN = Path(sys.executable).with_name("drivetrain")
UV = Path(sys.executable).with_name("uv")
CLIENT = EXAMPLES.parent / ".cache" / "demo-client"
#: Replicate's Python client. The first generation is what most code uses; it does not run on Python 3.14.
CLIENT_PACKAGE = "replicate==1.0.7"
CLIENT_PYTHON = "3.13" if sys.version_info >= (3, 14) else sys.executable

STARTS_WITHIN_SECONDS = 60


class DemoFailed(Exception):
    pass


def main() -> int:
    try:
        check_drivetrain()
        OUTPUT.mkdir(exist_ok=True)
        show_reading()
        show_painting()
        show_platform()
        show_what_is_next()
    except DemoFailed as failure:
        print(f"\nThe demo stopped: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def check_drivetrain() -> None:
    if not DRIVETRAIN.exists():
        raise DemoFailed(f"there is no 'drivetrain' beside {sys.executable}; start the demo with 'make demo'")


def show_reading() -> None:
    headline("1. Read the text off a photographed page, with two neural networks")
    result = json.loads(drivetrain("ocr", "run", "-i", "image=@page.png", "--json"))
    lines = result["output"]["lines"]
    print(f"\nIt read {len(lines)} lines; how sure it is of each stands on the left:\n")
    for line in lines:
        print(f"    {line['confidence']:6.1%}  {line['text']}")


def show_painting() -> None:
    headline("2. Paint a photograph")
    painting = OUTPUT / "cat.png"
    drivetrain("painting", "run", "-i", "image=@cat.png", "-i", "brush=7", "-o", os.path.relpath(painting, EXAMPLES / "painting"))
    if not painting.is_file():
        raise DemoFailed(f"the model ended well, but there is no '{painting}'")
    width, height = png_size(painting)
    print(f"\nBefore: {shown(EXAMPLES / 'painting' / 'cat.png')}")
    print(f"After:  {shown(painting)}  ({width} x {height} pixels, {painting.stat().st_size // 1024} KiB)")


def show_platform() -> None:
    headline("3. Deploy it, and call it with Replicate's own client")
    client = replicate_client()
    with tempfile.TemporaryDirectory(prefix="drivetrain-demo-") as directory, platform(Path(directory)) as (environ, url, key):
        drivetrain("painting", "deploy", "--name", "demo/painting", environ=environ)
        painting = OUTPUT / "cat-by-client.png"
        script = EXAMPLES / "call_with_replicate.py"
        picture = EXAMPLES / "painting" / "cat.png"
        typed = f"python {shown(script)} demo/painting {shown(picture)} {shown(painting)}"
        print(f"$ REPLICATE_BASE_URL={url} {typed}", flush=True)
        began = time.monotonic()
        command = [client, script, "demo/painting", picture, painting]
        variables = {**environ, "REPLICATE_BASE_URL": url, "REPLICATE_API_TOKEN": key}
        done = subprocess.run(command, env=variables, check=False)
        if done.returncode != 0:
            raise DemoFailed(f"Replicate's client ended with status {done.returncode}")
        width, height = png_size(painting)
        print(f"({time.monotonic() - began:.1f} s)\n\nPainted on the platform: {shown(painting)}  ({width} x {height} pixels)")


def replicate_client() -> Path:
    """The Python of an environment that has Replicate's client, made the first time."""
    python = CLIENT / "bin" / "python"
    stamp = CLIENT / CLIENT_PACKAGE
    if not stamp.exists():
        for command in (
            [UV, "venv", "--quiet", "--clear", "--python", CLIENT_PYTHON, CLIENT],
            [UV, "pip", "install", "--quiet", "--python", python, CLIENT_PACKAGE],
        ):
            if subprocess.run(command, check=False).returncode != 0:
                raise DemoFailed("Replicate's client could not be installed")
        stamp.touch()
    return python


@contextlib.contextmanager
def platform(directory: Path) -> "Iterator[tuple[dict[str, str], str, str]]":
    """A platform with its state in a directory: variables for those who use it, its URL and its key."""
    environ = {**os.environ, "XDG_CONFIG_HOME": str(directory / "config"), "DRIVETRAIN_STATE_DIR": str(directory / "state")}
    for name in ("DRIVETRAIN_PLATFORM", "DRIVETRAIN_API_KEY"):
        environ.pop(name, None)
    log = directory / "platform.log"
    print("$ drivetrain up --port 0 &", flush=True)
    with log.open("w") as written:
        command = [DRIVETRAIN, "up", "--port", "0", "--owner", "demo"]
        process = subprocess.Popen(command, env=environ, stdout=written, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while "Listening on" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed(f"the platform did not start:\n{log.read_text()}")
            time.sleep(0.05)
        known = json.loads((directory / "config" / "drivetrain" / "platform.json").read_text())["platforms"][0]
        yield environ, known["url"], known["key"]
    finally:
        print("$ drivetrain down", flush=True)
        subprocess.run([DRIVETRAIN, "down"], env=environ, check=False)
        process.kill()
        process.wait()


def show_what_is_next() -> None:
    headline("Your turn")
    print(
        f"""The environments are made now: the same commands again start at once. Others to try from here:

    source {shown(DRIVETRAIN.parent / "activate")}
    (cd {shown(EXAMPLES / "stream")} && drivetrain run -i words=40)           # text, word by word
    (cd {shown(EXAMPLES / "ocr")} && drivetrain serve)                        # the model over HTTP
    drivetrain up                                                # a platform; then drivetrain deploy --name me/app
    (mkdir my-model && cd my-model && drivetrain init)           # a project of your own

More in {shown(EXAMPLES / "README.md")}."""
    )


def headline(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def drivetrain(example: str, *arguments: str, environ: "dict[str, str] | None" = None) -> str:
    """Run the command in an example's directory; its messages go to the terminal, its standard output comes back."""
    directory = EXAMPLES / example
    print(f"$ (cd {shown(directory)} && drivetrain {' '.join(arguments)})", flush=True)
    began = time.monotonic()
    done = subprocess.run([DRIVETRAIN, *arguments], cwd=directory, env=environ, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise DemoFailed(f"'drivetrain {' '.join(arguments)}' in {shown(directory)} ended with status {done.returncode}")
    print(f"({time.monotonic() - began:.1f} s)")
    return done.stdout


def png_size(file: Path) -> "tuple[int, int]":
    """Width and height, which every PNG has in bytes 16 to 24."""
    with file.open("rb") as png:
        head = png.read(24)
    if len(head) < 24 or not head.startswith(b"\x89PNG"):
        raise DemoFailed(f"'{file}' is not a PNG picture")
    width, height = struct.unpack(">II", head[16:])
    return width, height


def shown(path: Path) -> str:
    """The path as one would type it from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


if __name__ == "__main__":
    sys.exit(main())
