"""Results become JSON values and files."""

import array
import io
import os
import tempfile
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path as PlainPath
from typing import Any, List, Optional
from uuid import UUID

import pytest
from cog import BaseModel, Path, Secret
from cog.coder import Coder

from drivetrain_worker.outputs import OutputDirectory, OutputError, encode

PATH = {"kind": "path"}


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


@dataclass
class Score:
    label: str
    value: float


class Answer(BaseModel):
    text: str
    image: Optional[Path] = None
    scores: List[Score] = []


def value_of(result, declared=None):
    def refuse(source, name):
        raise AssertionError("there is no file in this result")

    encoded, files = encode(result, refuse, declared)
    assert not files
    return encoded


@pytest.fixture
def directory(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return OutputDirectory(str(tmp_path / "outputs"))


def contents(files):
    return [(file["pointer"], file["name"], PlainPath(file["path"]).read_bytes()) for file in files]


@pytest.mark.parametrize("result", [None, True, False, 0, "", 0.0, [], {}, 2**80, "text", 1.5, {"a": [1, None]}])
def test_plain_values_stay_what_they_are_also_when_falsy(result):
    encoded = value_of(result)
    assert encoded == result
    assert type(encoded) is type(result)


@pytest.mark.parametrize(
    ("result", "encoded"),
    [
        (Color.RED, "red"),
        (Level.LOW, 1),
        ({Color.RED: {1: 2, None: 3, False: 4}}, {"red": {"1": 2, "null": 3, "false": 4}}),
        (timedelta(minutes=1), 60.0),
        (Decimal("1.5"), 1.5),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ((1, 2), [1, 2]),
        ({"a"}, ["a"]),
        (frozenset({1}), [1]),
        (deque([1]), [1]),
        (range(3), [0, 1, 2]),
        ((n for n in range(2)), [0, 1]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        (OrderedDict(a=1), {"a": 1}),
        (array.array("i", [1, 2]), [1, 2]),
        (datetime(2024, 1, 2, 3, 4, tzinfo=timezone.utc), "2024-01-02T03:04:00+00:00"),
        (date(2024, 1, 2), "2024-01-02"),
        (Secret("hidden"), "**********"),
        (Score("a", 0.5), {"label": "a", "value": 0.5}),
        (Answer("hi", scores=[Score("a", 1)]), {"text": "hi", "image": None, "scores": [{"label": "a", "value": 1}]}),
    ],
)
def test_values_with_a_json_form_get_it(result, encoded):
    assert value_of(result) == encoded


def test_arrays_are_recognised_by_what_they_can_do():
    class Scalar(float):
        pass

    class Array:
        def tolist(self):
            return [Scalar(1), Scalar(2)]

    encoded = value_of({"scores": Array()})
    assert encoded == {"scores": [1.0, 2.0]}
    assert type(encoded["scores"][0]) is float


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (b"x", "the output is of type 'bytes'; write it to a file"),
        ({"a": [bytearray(b"x")]}, "the output at 'a[0]' is of type 'bytearray'"),
        (float("nan"), "the output is nan, which JSON cannot express"),
        ([1, float("inf")], "the output at '[1]' is inf"),
        (Score("a", float("-inf")), "the output at 'value' is -inf"),
        (object(), "the output is of type 'object', which has no JSON form"),
        (Path("missing.png"), "the output is the path 'missing.png', where there is no file"),
        (Path("."), "the output is the directory '.'; pack it"),
    ],
)
def test_what_cannot_be_handed_over_says_where_and_what_to_do(result, message):
    with pytest.raises(OutputError) as raised:
        value_of(result)
    assert str(raised.value).startswith(message)


def test_images_in_memory_are_to_be_saved():
    image = type("Image", (), {"__module__": "PIL.Image"})()
    with pytest.raises(OutputError, match=r"'PIL.Image.Image', an image in memory; save it to a file and return its Path"):
        value_of(image)


def test_something_asynchronous_is_to_be_awaited():
    async def later(): ...

    coroutine = later()
    with pytest.raises(OutputError, match="await it"):
        value_of(coroutine)
    coroutine.close()


def test_paths_become_files_wherever_they_stand(directory):
    PlainPath("a.png").write_bytes(b"A")
    PlainPath("b.txt").write_bytes(b"B")
    result = {"list": [Path("a.png")], "model": Answer("t", image=PlainPath("b.txt").absolute()), "n": 1}
    encoded, files = encode(result, directory.save)
    assert encoded == {"list": [None], "model": {"text": "t", "image": None, "scores": []}, "n": 1}
    assert contents(files) == [(["list", 0], "a.png", b"A"), (["model", "image"], "b.txt", b"B")]


def test_a_file_is_kept_as_it_was_when_it_was_given(directory):
    results = []
    for step in (b"1", b"2", b"3"):
        PlainPath("progress.tar.gz").write_bytes(step)
        results += encode(Path("progress.tar.gz"), directory.save)[1]
    assert [content for _, _, content in contents(results)] == [b"1", b"2", b"3"]
    assert [os.path.basename(file["path"]) for file in results] == ["progress.tar.gz", "progress.tar-1.gz", "progress.tar-2.gz"]
    assert {file["name"] for file in results} == {"progress.tar.gz"}


def test_copies_never_share_a_name(directory):
    names = ["a.png", "a-1.png", "a.png", "A.png", "a-1.png"]
    saved = [directory.save(io.BytesIO(b"x"), name) for name in names]
    assert len({path.casefold() for path in saved}) == len(names)


def test_no_directory_is_made_without_a_file(tmp_path):
    directory = OutputDirectory(str(tmp_path / "outputs"))
    encode({"a": 1}, directory.save)
    assert not (tmp_path / "outputs").exists()


def test_text_is_a_file_only_where_a_path_was_declared(directory):
    PlainPath("a.png").write_bytes(b"A")
    assert encode("a.png", directory.save) == ("a.png", [])
    assert encode("a.png", directory.save, {"kind": "string"}) == ("a.png", [])
    assert encode("https://host/a.png", directory.save, PATH) == ("https://host/a.png", [])
    encoded, files = encode("a.png", directory.save, PATH)
    assert (encoded, contents(files)) == (None, [([], "a.png", b"A")])


@pytest.mark.parametrize(
    ("result", "declared", "pointer"),
    [
        (["a.png"], {"kind": "list", "items": PATH}, [0]),
        ({"k": "a.png"}, {"kind": "dict", "values": PATH}, ["k"]),
        (
            Answer("a.png", image="a.png"),
            {"kind": "model", "fields": [{"name": "image", "type": {"kind": "optional", "of": PATH}}]},
            ["image"],
        ),
        (["a.png"], {"kind": "union", "members": [{"kind": "string"}, {"kind": "list", "items": PATH}]}, [0]),
    ],
)
def test_text_at_a_declared_path_is_a_file_also_inside(directory, result, declared, pointer):
    PlainPath("a.png").write_bytes(b"A")
    assert [file["pointer"] for file in encode(result, directory.save, declared)[1]] == [pointer]


def test_file_objects_give_their_whole_content(directory):
    named = io.BytesIO(b"named")
    named.name = "picture.png"
    named.read()
    PlainPath("notes.txt").write_bytes(b"on disk")
    with open("notes.txt") as text, tempfile.TemporaryFile() as unnamed:
        unnamed.write(b"unnamed")
        encoded, files = encode([named, io.StringIO("täxt"), text, unnamed], directory.save)
    assert encoded == [None] * 4
    assert contents(files) == [
        ([0], "picture.png", b"named"),
        ([1], "file", "täxt".encode()),
        ([2], "notes.txt", b"on disk"),
        ([3], "file", b"unnamed"),
    ]


def test_a_file_in_memory_is_not_taken_for_the_file_whose_name_it_has(directory):
    PlainPath("a.png").write_bytes(b"other")
    memory = io.BytesIO(b"mine")
    memory.name = "a.png"
    assert contents(encode(memory, directory.save)[1]) == [([], "a.png", b"mine")]


def test_a_file_still_being_written_gives_what_was_written(directory):
    with open("out.txt", "w") as handle:
        handle.write("so far")
        first = encode(handle, directory.save)[1]
        handle.write(", and more")
    second = encode(handle, directory.save)[1]
    assert [content for _, _, content in contents(first + second)] == [b"so far", b"so far, and more"]


def test_a_named_temporary_file_is_a_file(directory):
    with tempfile.NamedTemporaryFile(suffix=".png") as handle:
        handle.write(b"image")
        [(_, name, content)] = contents(encode(handle, directory.save)[1])
    assert (name, content) == (os.path.basename(handle.name), b"image")
    with pytest.raises(OutputError, match="can no longer be read"):
        encode(handle, directory.save)


def test_the_position_of_a_file_object_stays(directory):
    memory = io.BytesIO(b"0123456789")
    memory.seek(4)
    encode(memory, directory.save)
    assert memory.tell() == 4


def test_a_closed_buffer_is_refused():
    memory = io.BytesIO(b"x")
    memory.close()
    with pytest.raises(OutputError, match="can no longer be read"):
        value_of([memory])


def test_a_pipe_is_read_from_where_it_stands(directory):
    read_end, write_end = os.pipe()
    os.write(write_end, b"piped")
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert contents(encode(pipe, directory.save)[1]) == [([], "file", b"piped")]


def test_a_registered_coder_encodes(monkeypatch):
    class Celsius:
        degrees = 3

    class CelsiusCoder(Coder):
        @staticmethod
        def factory(tpe: Any) -> Optional[Coder]:
            return CelsiusCoder() if tpe is Celsius else None

        def encode(self, x: Any) -> Any:
            return {"degrees": x.degrees}

    monkeypatch.setattr(Coder, "_coders", {CelsiusCoder})
    assert value_of([Celsius()]) == [{"degrees": 3}]


def test_a_copy_that_fails_leaves_nothing(tmp_path):
    class Broken:
        def read(self, _size):
            raise OSError("no more room")

    with pytest.raises(OSError, match="no more room"):
        OutputDirectory(str(tmp_path)).save(Broken(), "x.bin")
    assert list(tmp_path.iterdir()) == []
