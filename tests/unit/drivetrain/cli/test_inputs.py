"""Inputs as they are typed."""

import pytest

from drivetrain.cli.inputs import read_batch, read_json_inputs, split_inputs
from drivetrain.model.errors import Misuse
from drivetrain.model.inputs import LocalFile


def test_a_repeated_name_collects_its_values():
    assert split_inputs(("tag=a", "tag=b", "n=1")) == {"tag": ["a", "b"], "n": ["1"]}


def test_only_the_first_equals_sign_divides():
    assert split_inputs(("text=a=b",)) == {"text": ["a=b"]}


def test_an_at_sign_names_a_file(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"")
    assert split_inputs((f"image=@{path}",)) == {"image": [LocalFile(str(path))]}


def test_all_problems_come_at_once(tmp_path):
    with pytest.raises(Misuse, match=r"'nonsense'.*no file 'missing\.jpg'.*is a directory"):
        split_inputs(("nonsense", "a=@missing.jpg", f"b=@{tmp_path}"))


@pytest.mark.parametrize("source", ["{", "[1]", "@missing.json", '{"a": NaN}'])
def test_json_that_is_no_object_is_refused(source):
    with pytest.raises(Misuse):
        read_json_inputs(source)


def test_a_batch_skips_empty_lines_and_names_bad_ones(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert read_batch(path) == [{"a": 1}, {"a": 2}]
    path.write_text('{"a": 1}\n{\n[]\n')
    with pytest.raises(Misuse, match=r"line 2.*line 3"):
        read_batch(path)


def test_only_a_line_feed_ends_a_line_of_a_batch(tmp_path):
    text = "a\u2028b\u2029c\u0085d"
    path = tmp_path / "in.jsonl"
    path.write_bytes(f'{{"text": "{text}"}}\r\n{{"text": "e"}}'.encode())
    assert read_batch(path) == [{"text": text}, {"text": "e"}]


def test_an_empty_batch_is_a_mistake(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("\n")
    with pytest.raises(Misuse, match="no inputs"):
        read_batch(path)
