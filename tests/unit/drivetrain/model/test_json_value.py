"""Values put into places of JSON values."""

from drivetrain.model.json_value import put_in


def test_the_value_itself_can_be_replaced():
    assert put_in({"a": 1}, {(): 2}) == 2


def test_places_in_lists_and_objects_are_replaced_and_the_rest_is_kept():
    value = {"image": None, "more": [None, {"file": None, "name": "x"}]}
    put = put_in(value, {("image",): "a", ("more", 0): "b", ("more", 1, "file"): "c"})
    assert put == {"image": "a", "more": ["b", {"file": "c", "name": "x"}]}
    assert value["image"] is None
