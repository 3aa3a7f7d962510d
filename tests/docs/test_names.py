"""What the pages name is there: links, files, commands, options, variables, targets of make."""

import json
import re
import shlex

import click
import pytest
import yaml

from drivetrain.cli.command_line import ALIASES, COMMANDS, cli
from drivetrain.dialects.cog.environment_variables import RESERVED_NAMES

LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
ROOMS = ("src/", "docs/", "tests/", "scripts/", "examples/", ".ci/")

#: Variables of other programs, which the pages tell about.
FOREIGN_VARIABLES = {
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "REPLICATE_API_TOKEN",
    "REPLICATE_BASE_URL",
}
#: Heading of the list of what Cog has and drivetrain has not.
NOT_THERE_YET = "Not there yet"


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_links_lead_somewhere(page):
    for target in LINK.findall(page.prose):
        if target.startswith(("http://", "https://")):
            continue
        file, _, place = target.partition("#")
        path = (page.path.parent / file).resolve() if file else page.path
        assert path.exists(), target
        if place:
            assert place in map(anchor, HEADING.findall(path.read_text(encoding="utf-8"))), target


def test_every_page_can_be_reached_from_the_index(pages):
    reached, new = set(), {"docs/README.md"}
    while new:
        reached |= new
        texts = [(pages[name].path.parent, pages[name].prose) for name in new]
        targets = {(folder / link.partition("#")[0]).resolve() for folder, text in texts for link in LINK.findall(text)}
        new = {name for name, page in pages.items() if page.path in targets} - reached
    assert {name for name in pages if name.startswith("docs/")} <= reached


def test_files_of_the_checkout_are_there(page, root):
    for name in page.code:
        if name.startswith(ROOMS) and "*" not in name:
            assert (root / name).exists(), name


def test_modules_are_there(page, root):
    for name in page.code:
        if re.fullmatch(r"(cli|serving|environments|dialects|model|authoring)/[a-z_/]+(\.py)?", name):
            stem = name.removesuffix(".py")
            assert any(list(root.glob(f"src/drivetrain*/{stem}{suffix}")) for suffix in ("", ".py")), name


def command_lines(page):
    """Every call of drivetrain, in blocks and in the text, cut at what ends a command in a shell."""
    shown = [line.removeprefix("$ ") for block in page.blocks for line in block.splitlines()[1:-1]]
    for text in [*shown, *page.code]:
        for call in re.findall(r"(?:^|(?<=\s)|(?<=\())drivetrain (\S.*)", text):
            if not call[0].isalpha() and not call.startswith("-"):
                continue
            yield re.split(r" (?:[|>&#]|&&|2>)|;|\)", call)[0].replace("…", "")


def options_of(command):
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"-h", "--help"}
    return (
        own.union(*map(options_of, command.commands.values())) if isinstance(command, click.Group) and command is not cli else own
    )


def check_call(call):
    words = shlex.split(call) if call.count("'") % 2 == 0 and call.count('"') % 2 == 0 else call.split()
    place = next((index for index, word in enumerate(words) if not word.startswith("-")), None)
    before = words if place is None else words[:place]
    assert {word for word in before if word.startswith("-")} <= options_of(cli), call
    if place is None:
        return
    name = words[place]
    assert name in {*COMMANDS, *ALIASES}, call
    command = cli.get_command(click.Context(cli), name)
    for word in words[place + 1 :]:
        if name == "exec" and not word.startswith("-"):
            return
        if re.match(r"--?[a-zA-Z]", word):
            assert word.partition("=")[0] in options_of(command), call


def test_commands_and_their_options_are_there(page):
    if page.path.name == "CHANGELOG.md":
        return  # tells of the past too
    for call in command_lines(page):
        check_call(call)


def test_options_named_by_themselves_are_there(page):
    known = options_of(cli).union(*(options_of(cli.get_command(click.Context(cli), name)) for name in COMMANDS))
    # Of pip, in requirements; of uv; of git.
    known |= {"-r", "-c", "--extra-index-url", "--index-url", "--find-links"}
    for name in page.code:
        if re.fullmatch(r"--?[a-z][a-z-]*(?: \S+)?", name) and page.path.name != "CHANGELOG.md":
            assert name.split()[0] in known, name


def test_variables_are_known_to_the_code(page, root):
    text = page.text
    if NOT_THERE_YET in text:
        text = text.replace(page.section(NOT_THERE_YET), "")
    source = "\n".join(path.read_text(encoding="utf-8") for path in root.glob("src/**/*.py"))
    known = {*VARIABLE.findall(source), *RESERVED_NAMES, *FOREIGN_VARIABLES}
    named = {name for code in re.findall(r"`([^`\n]+)`", text) for name in VARIABLE.findall(code)}
    assert named <= known


def test_what_is_not_there_yet_is_not_there(pages, root):
    section = pages["docs/compatibility.md"].section(NOT_THERE_YET)
    source = "\n".join(path.read_text(encoding="utf-8") for path in root.glob("src/drivetrain*/**/*.py"))
    variables = set(VARIABLE.findall(section))
    assert variables
    for name in variables:
        assert f'"{name}"' not in source, f"{name} is there now"
    commands = re.findall(r"`([a-z]+)`", section)
    assert not set(commands) & set(COMMANDS)


def test_targets_of_make_are_there(page, root):
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for code in [*page.code, *page.blocks] for target in re.findall(r"\bmake ([a-z][a-z-]*)\b", code)}
    assert named <= targets


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX"])
def test_no_page_is_unfinished(page, word):
    assert word not in page.text


def test_blocks_are_well_formed(page):
    readers = {"python": lambda text: compile(text, str(page), "exec"), "json": json.loads, "yaml": yaml.safe_load}
    for block in page.blocks:
        opening, _, rest = block.partition("\n")
        language = opening.removeprefix("```").split(" ")[0]
        if language in readers:
            readers[language](rest.removesuffix("```"))
