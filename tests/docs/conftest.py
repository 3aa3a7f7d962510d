"""Ways to read the pages, shared by the tests that hold them to the code."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Page:
    """A page of documentation."""

    path: Path

    def __str__(self):
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self):
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self):
        """The text without fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def blocks(self):
        """The fenced blocks, with the line that opens each."""
        return _FENCE.findall(self.text)

    @property
    def code(self):
        """What stands in backticks within the text."""
        return _CODE.findall(self.prose)

    def section(self, heading):
        """The text below a heading, to the next one of the same or a higher level."""
        level, start = next((len(m[1]), m.end()) for m in re.finditer(r"^(#+) (.*)$", self.text, re.MULTILINE) if m[2] == heading)
        end = re.search(rf"^#{{1,{level}}} ", self.text[start:], re.MULTILINE)
        return self.text[start : start + end.start()] if end else self.text[start:]

    def first_column(self, heading):
        """What stands in backticks in the first column of the tables below a heading."""
        rows = (line.split(" | ")[0] for line in self.section(heading).splitlines() if line.startswith("| `"))
        return [name for row in rows for name in _CODE.findall(row)]


PAGES = [Page(path) for path in sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")})]


def pytest_generate_tests(metafunc):
    """A test with a parameter ``page`` runs for each page."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", PAGES, ids=str)


@pytest.fixture
def pages():
    """Gives a page by its path from the checkout."""
    return {str(page): page for page in PAGES}


@pytest.fixture
def root():
    """The checkout."""
    return ROOT


@pytest.fixture
def drivetrain():
    """The installed command."""
    return Path(sys.executable).parent / "drivetrain"
