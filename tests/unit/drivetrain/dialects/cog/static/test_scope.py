import ast

import pytest

from drivetrain.dialects.cog.static.scope import Assigned, Callee, Class, External, Module, Scope
from drivetrain.dialects.cog.static.source import SourceTree

FILES = {
    "main.py": """
import numpy as np
import package.inner
import package.inner as inner_module
import space.leaf
from package import THING, helper
from package.inner import Deep as Renamed
from package.stars import *
from typing import *
try:
    from fast import Engine
except ImportError:
    from slow import Engine
alias = Renamed
again = alias
def function(): ...
class Local:
    attribute = 1
    other = attribute
class Sub(Local): ...
shadowed = 1
del shadowed
""",
    "package/__init__.py": "from .inner import THING\nfrom . import helper\n",
    "package/inner.py": "THING = 'thing'\nclass Deep: ...\n",
    "package/helper.py": "from ..main import function\nfrom .inner import Deep\n",
    "package/stars.py": "STAR = 1\n",
    "space/leaf.py": "class Leaf: ...\n",
}


@pytest.fixture
def resolve(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    tree = SourceTree(tmp_path)
    scope = Scope(tree, tree.parse("main.py"))
    return lambda text: scope.resolve(ast.parse(text, mode="eval").body)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("np.ndarray", "numpy.ndarray"),
        ("Optional", "typing.Optional"),
        ("str", "builtins.str"),
        ("Engine", "fast.Engine"),
    ],
)
def test_what_is_outside_the_project_goes_by_its_full_name(resolve, text, name):
    assert resolve(text) == External(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Renamed", "Deep"),
        ("again", "Deep"),
        ("package.inner.Deep", "Deep"),
        ("inner_module.Deep", "Deep"),
        ("helper.Deep", "Deep"),
        ("space.leaf.Leaf", "Leaf"),
        ("Local", "Local"),
    ],
)
def test_classes_are_found_across_files(resolve, text, name):
    found = resolve(text)
    assert isinstance(found, Class)
    assert found.node.name == name


@pytest.mark.parametrize("text", ["THING", "STAR", "Local.attribute", "Sub.other", "package.THING"])
def test_constants_are_found_across_files(resolve, text):
    found = resolve(text)
    assert isinstance(found, Assigned)
    assert isinstance(found.node, ast.Constant)


def test_functions_and_modules_are_found(resolve):
    assert isinstance(resolve("function"), Callee)
    assert isinstance(resolve("helper"), Module)


@pytest.mark.parametrize("text", ["unheard", "Local.unheard", "shadowed", "1 + 1", "function.attribute", "package.unheard"])
def test_what_is_not_there_is_nothing(resolve, text):
    assert resolve(text) is None
