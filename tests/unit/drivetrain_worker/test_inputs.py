"""Checked JSON values become arguments."""

import pathlib
from dataclasses import dataclass
from enum import Enum
from typing import Dict, List, Optional, Set, Tuple, Union

import pytest
from cog import BaseModel, File, Input, Path, Secret

from drivetrain_worker.inputs import InputError, bind, open_weights
from drivetrain_worker.signature import read_parameters


class Style(Enum):
    PHOTO = "photo"


@dataclass
class Region:
    mask: Path
    weight: Optional[float]


class Prompt(BaseModel):
    text: str
    key: Secret


def bound(function, values, **options):
    return bind(read_parameters(function, bound=False), values, **options)


def arguments(function, values):
    with bound(function, values) as found:
        return found


def test_a_path_is_a_cog_path_wherever_it_stands():
    def predict(a: Path, b: List[Path], c: Dict[str, Path], d: Optional[Path], e: Tuple[int, Path], f: pathlib.Path): ...

    found = arguments(predict, {"a": "/a", "b": ["/b"], "c": {"k": "/c"}, "d": "/d", "e": [1, "/e"], "f": "/f"})
    paths = [found["a"], found["b"][0], found["c"]["k"], found["d"], found["e"][1], found["f"]]
    assert all(type(path) is Path for path in paths)
    assert found["e"] == (1, Path("/e"))


def test_a_file_is_open_during_the_call_and_closed_after_it(tmp_path):
    def predict(a: File): ...

    (tmp_path / "a.bin").write_bytes(b"content")
    with bound(predict, {"a": str(tmp_path / "a.bin")}) as found:
        assert found["a"].read() == b"content"
    assert found["a"].closed


def test_a_value_that_the_authors_class_refuses_is_named():
    @dataclass
    class Square:
        side: int

        def __post_init__(self):
            if self.side < 0:
                raise ValueError("a side is not negative")

    def predict(square: Square): ...

    with pytest.raises(InputError, match=r"^invalid input 'square': a side is not negative$"):
        bound(predict, {"square": {"side": -1}})


def test_files_are_closed_when_a_later_input_fails(tmp_path):
    def predict(a: File, b: File): ...

    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        bound(predict, {"a": str(tmp_path / "a.bin"), "b": str(tmp_path / "missing")})


def test_secrets_are_masked_also_inside_lists():
    def predict(a: Secret, b: List[Secret]): ...

    found = arguments(predict, {"a": "one", "b": ["two"]})
    assert str(found["a"]) == "*" * 10
    assert found["b"][0].get_secret_value() == "two"


def test_enums_sets_and_structures_are_made():
    def predict(style: Style, tags: Set[str], region: Region, prompt: Prompt): ...

    found = arguments(predict, {"style": "photo", "tags": ["a"], "region": {"mask": "/m"}, "prompt": {"text": "t", "key": "k"}})
    assert found["style"] is Style.PHOTO
    assert found["tags"] == {"a"}
    assert found["region"] == Region(Path("/m"), None)
    assert found["prompt"].key.get_secret_value() == "k"


def test_what_is_not_given_gets_the_default_as_written():
    shared = []

    def predict(
        a: str, b: Path = Input(default="image.png"), c: list = shared, d: Optional[Path] = None, e: int = Input(default=None)
    ): ...

    found = arguments(predict, {"a": "x"})
    assert found == {"a": "x", "b": "image.png", "c": shared, "d": None, "e": None}
    assert found["c"] is shared


def test_defaults_of_one_call_do_not_leak_into_the_next():
    def predict(a: int = 1): ...

    parameters = read_parameters(predict, bound=False)
    bind(parameters, {"a": 2})
    assert bind(parameters, {}).arguments == {"a": 1}


def test_null_is_none():
    def predict(a: Optional[int] = 5, b: Optional[Path] = None): ...

    assert arguments(predict, {"a": None, "b": None}) == {"a": None, "b": None}


def test_other_names_are_passed_only_to_who_takes_them():
    def strict(a: int): ...

    def open_hearted(a: int, **others): ...

    assert arguments(strict, {"a": 1, "b": 2}) == {"a": 1}
    assert arguments(open_hearted, {"a": 1, "b": 2}) == {"a": 1, "b": 2}


def test_text_where_a_union_allows_it_stays_text_unless_it_was_fetched():
    def predict(a: Union[Path, str], b: Union[Path, str]): ...

    with bound(predict, {"a": "/etc/hosts", "b": "/fetched/1"}, fetched={"/fetched/1"}) as found:
        assert found == {"a": "/etc/hosts", "b": Path("/fetched/1")}


@pytest.mark.parametrize(("annotation", "kind"), [(Path, Path), (Optional[Path], Path), (str, str), (Union[Path, str], str)])
def test_weights_come_as_the_annotation_asks(annotation, kind):
    def setup(weights): ...

    setup.__annotations__["weights"] = annotation
    assert open_weights(setup, "some/weights.bin") == kind("some/weights.bin")


def test_weights_may_lie_in_the_project(tmp_path, monkeypatch):
    def setup(weights: Optional[Path] = None): ...

    def setup_text(weights: str): ...

    monkeypatch.chdir(tmp_path)
    assert open_weights(setup, None) is None
    (tmp_path / "weights").write_bytes(b"w")
    assert open_weights(setup, None) == Path("weights")
    assert open_weights(setup_text, None) is None


def test_weights_as_a_file_are_open(tmp_path):
    def setup(weights: File): ...

    (tmp_path / "w").write_bytes(b"content")
    with open_weights(setup, str(tmp_path / "w")) as file:
        assert file.read() == b"content"


def test_weights_from_a_url_are_fetched_for_a_path():
    def setup(weights: Path): ...

    path = open_weights(setup, "data:text/plain,content")
    assert path.read_text() == "content"
    path.unlink()
