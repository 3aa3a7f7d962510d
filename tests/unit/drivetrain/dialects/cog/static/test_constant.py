import ast

import pytest

from drivetrain.dialects.cog.static.constant import enum_members, evaluate
from drivetrain.dialects.cog.static.operation import UNKNOWN, Member, Unresolved
from drivetrain.dialects.cog.static.scope import Scope
from drivetrain.dialects.cog.static.source import SourceTree

MODULE = """
import enum, os, pathlib
from cog import Path
from enum import Enum, auto
import shared
from presets import SIZES, STYLES, LIMITS
from starred import *
SIZES.append(4)
STYLES += ["c"]
LIMITS["x"] = 1
OTHERS.append("d")
shared.LEVEL = 2
NUMBER = 5
NAMES = ["a", "b"]
TABLE = {"x": object(), "y": 2}
GROWN = [1]
GROWN.append(2)
ADDED = [1]
ADDED += [2]
SET = {}
SET["a"] = 1
FIRST, SECOND = 1, 2
if os.environ.get("GPU"):
    DEVICE = "cuda"
else:
    DEVICE = "cpu"
try:
    import missing
    MAYBE = 1
except ImportError:
    MAYBE = 2
class Holder:
    LIMIT = NUMBER * 2
    class Inner:
        DEEP = "deep"
class Colour(str, Enum):
    RED = "r"
    BLUE = "b"
class Number(enum.IntEnum):
    ONE = auto()
    TWO = auto()
class Odd(Enum):
    THING = object()
def label(text, *, end="!"):
    '''Says it.'''
    return f"{text}{end}"
def complicated():
    x = 1
    return x
ALIAS = Colour.RED
"""


@pytest.fixture
def value(tmp_path):
    (tmp_path / "module.py").write_text(MODULE)
    (tmp_path / "presets.py").write_text("SIZES = [1]\nSTYLES = ['a']\nLIMITS = {}\n")
    (tmp_path / "starred.py").write_text("OTHERS = ['a']\nSAME = ['a']\n")
    (tmp_path / "shared.py").write_text("LEVEL = 1\n")
    tree = SourceTree(tmp_path)
    scope = Scope(tree, tree.parse("module.py"))
    return lambda text: evaluate(ast.parse(text, mode="eval").body, scope)


@pytest.mark.parametrize(
    "text",
    [
        "1 + 2 * 3 - 4 // 3 % 2",
        "-2 ** 31 + (1 << 4)",
        "'a' 'b' + \"\\\"c\\\"\\n\"",
        "[1, *[2, 3], *(4,)]",
        "{'a': 1, **{'b': 2}}",
        "{1, 2} | {3}",
        "not True or (1 < 2 and 'yes')",
        "None is None and 1 in [1] and 2 not in [1]",
        "'a' if 1 == 1 else 'b'",
        "f'{1 + 1:03d} {\"x\"!r} {1.5} {None!s} {{}}'",
        "[1, 2, 3][1:][-1]",
        "[a + b for a, b in [('x', 'y'), ('z', 'w')] if a != 'z']",
        "{k: v for k in 'ab' for v in [1]}",
        "{x for x in [1, 1]}",
        "sorted(x for x in [2, 1])",
        "list(range(3)) + list({'a': 1}.keys()) + list({'a': 1}.values()) + list(dict(a=2).items())",
        "list(zip([1], [2])) + list(enumerate(['a'])) + list(reversed([1, 2]))",
        "len('abc') + min(1, 2) + max([1, 2]) + sum([1]) + abs(-1) + round(1.6)",
        "str(1) + ', '.join(['a', 'b']).upper().replace('A', 'c') + '{}-{x}'.format(1, x=2)",
        "int('7') + float('1.5') + bool(1)",
        "tuple([1]) + (2,)",
        "{'a': {'b': 1}}['a'].get('b')",
    ],
)
def test_expressions_have_the_value_python_gives_them(value, text):
    expected = eval(text)
    assert value(text) == expected
    assert type(value(text)) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NUMBER", 5),
        ("NAMES + ['c']", ["a", "b", "c"]),
        ("list(TABLE)", ["x", "y"]),
        ("list(TABLE.keys())", ["x", "y"]),
        ("len(TABLE)", 2),
        ("TABLE['y']", 2),
        ("SECOND", 2),
        ("SAME", ["a"]),
        ("Holder.LIMIT", 10),
        ("Holder.Inner.DEEP", "deep"),
        ("Colour.RED", Member("RED", "r")),
        ("Colour.RED.value", "r"),
        ("ALIAS", Member("RED", "r")),
        ("[colour.value for colour in Colour]", ["r", "b"]),
        ("[number.name for number in Number if number != Number.ONE]", ["TWO"]),
        ("label('hi')", "hi!"),
        ("label('hi', end='?')", "hi?"),
        ("str(Path('a') / 'b.png')", "a/b.png"),
        ("pathlib.Path('a/b.png').stem", "b"),
        ("os.path.join('a', 'b')", "a/b"),
    ],
)
def test_names_stand_for_what_the_module_says(value, text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "GROWN",
        "ADDED",
        "SET",
        "SIZES",
        "STYLES",
        "LIMITS",
        "OTHERS",
        "shared.LEVEL",
        "DEVICE",
        "MAYBE",
        "TABLE",
        "TABLE['x']",
        "list(TABLE.values())",
        "str(TABLE['x'])",
        "Odd.THING",
        "f'{Colour.RED}'",
        "str(Colour.RED)",
        "complicated()",
        "os.environ['HOME']",
        "open('x')",
        "unheard",
        "missing.name",
        "lambda: 1",
        "1 / 0",
        "[][0]",
        "'a' + 1",
        "'a' * 10 ** 9",
        "9 ** 9 ** 9",
        "1 << 10 ** 9",
        "list(range(10 ** 9))",
        "'a'.encode()",
        "(1).__class__",
        "1 < 2 < 3",
    ],
)
def test_what_only_running_can_tell_is_not_guessed(value, text):
    with pytest.raises(Unresolved):
        value(text)


def test_members_of_an_enumeration_that_cannot_be_told_are_unknown(tmp_path):
    (tmp_path / "module.py").write_text(MODULE)
    tree = SourceTree(tmp_path)
    odd = Scope(tree, tree.parse("module.py")).resolve(ast.Name(id="Odd", ctx=ast.Load()))
    assert enum_members(odd) == [Member("THING", UNKNOWN)]
