"""What `make demo` runs: two example models on real pictures, through the same commands that you would type."""

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = Path(__file__).parent
OUTPUT = EXAMPLES.parent / "demo-output"
DRIVETRAIN = Path(sys.executable).with_name("drivetrain")


class DemoFailed(Exception):
    pass


def main() -> int:
    try:
        check_drivetrain()
        OUTPUT.mkdir(exist_ok=True)
        show_reading()
        show_painting()
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


def show_what_is_next() -> None:
    headline("Your turn")
    print(
        f"""The environments are made now: the same commands again start at once. Others to try from here:

    source {shown(DRIVETRAIN.parent / "activate")}
    (cd {shown(EXAMPLES / "stream")} && drivetrain run -i words=40)           # text, word by word
    (cd {shown(EXAMPLES / "ocr")} && drivetrain serve)                        # the model over HTTP
    (mkdir my-model && cd my-model && drivetrain init)           # a project of your own

More in {shown(EXAMPLES / "README.md")}."""
    )


def headline(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def drivetrain(example: str, *arguments: str) -> str:
    """Run the command in an example's directory; its messages go to the terminal, its standard output comes back."""
    directory = EXAMPLES / example
    print(f"$ (cd {shown(directory)} && drivetrain {' '.join(arguments)})", flush=True)
    began = time.monotonic()
    done = subprocess.run([DRIVETRAIN, *arguments], cwd=directory, stdout=subprocess.PIPE, text=True, check=False)
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
