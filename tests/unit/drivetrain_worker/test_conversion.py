"""JSON values become what the author's annotation asks for."""

from collections import deque

from drivetrain_worker.conversion import (
    Files,
    by_position,
    dict_of,
    first_fitting,
    instance_of,
    list_of,
    lookup,
    open_file,
    optional_of,
)


def shout(value, files):
    return value.upper()


NO_FILES = Files(())


def test_items_are_converted_one_by_one():
    assert list_of(shout, list)(["a", "b"], NO_FILES) == ["A", "B"]
    assert list_of(shout, deque)(["a"], NO_FILES) == deque(["A"])


def test_a_list_of_plain_values_needs_no_conversion():
    assert list_of(None, list) is None
    assert list_of(None, frozenset)(["a"], NO_FILES) == frozenset({"a"})


def test_tuples_are_converted_by_position():
    assert by_position([None, shout])([1, "a"], NO_FILES) == (1, "A")


def test_values_of_dicts_are_converted_and_keys_are_not():
    assert dict_of(shout)({"a": "b"}, NO_FILES) == {"a": "B"}


def test_null_stays_null():
    assert optional_of(shout)(None, NO_FILES) is None
    assert optional_of(shout)("a", NO_FILES) == "A"


def test_values_are_looked_up():
    assert lookup({1: "one"})(1, NO_FILES) == "one"


def test_opened_files_are_remembered(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    files = Files(())
    assert open_file(str(path), files).read() == b"content"
    assert len(files.opened) == 1
    files.opened[0].close()


def test_fields_that_may_be_left_out_are_filled_in():
    class Pair:
        def __init__(self, left, right):
            self.both = (left, right)

    convert = instance_of(Pair, {"left": shout, "right": None}, {"right": None})
    assert convert({"left": "a", "unknown": 1}, NO_FILES).both == ("A", None)


PATH_OR_TEXT = first_fitting([({"kind": "path"}, shout), ({"kind": "string"}, None)])


def test_in_a_union_with_text_only_fetched_strings_are_files():
    files = Files(("/fetched",))
    assert PATH_OR_TEXT("/fetched", files) == "/FETCHED"
    assert PATH_OR_TEXT("/etc/passwd", files) == "/etc/passwd"


def test_in_a_union_without_text_strings_are_files():
    convert = first_fitting([({"kind": "integer"}, None), ({"kind": "path"}, shout)])
    assert convert("/a", NO_FILES) == "/A"
    assert convert(3, NO_FILES) == 3


def test_a_union_decides_between_lists_by_their_items():
    convert = first_fitting(
        [
            ({"kind": "list", "items": {"kind": "integer"}}, None),
            ({"kind": "list", "items": {"kind": "path"}}, list_of(shout, list)),
        ]
    )
    assert convert([1], NO_FILES) == [1]
    assert convert(["a"], NO_FILES) == ["A"]


def test_a_union_decides_between_models_by_their_required_fields():
    circle = {"kind": "model", "name": "Circle", "fields": [{"name": "radius", "required": True}]}
    square = {"kind": "model", "name": "Square", "fields": [{"name": "side", "required": True}]}
    convert = first_fitting([(circle, lambda value, files: "circle"), (square, lambda value, files: "square")])
    assert convert({"side": 1}, NO_FILES) == "square"


def test_true_is_not_taken_for_a_number():
    convert = first_fitting([({"kind": "integer"}, lambda value, files: "number"), ({"kind": "boolean"}, None)])
    assert convert(True, NO_FILES) is True
