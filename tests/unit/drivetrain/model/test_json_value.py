"""Values put into places of JSON values, and their weight."""

from drivetrain.model.json_value import put_in, weigh


def test_the_value_itself_can_be_replaced():
    assert put_in({"a": 1}, {(): 2}) == 2


def test_places_in_lists_and_objects_are_replaced_and_the_rest_is_kept():
    value = {"image": None, "more": [None, {"file": None, "name": "x"}]}
    put = put_in(value, {("image",): "a", ("more", 0): "b", ("more", 1, "file"): "c"})
    assert put == {"image": "a", "more": ["b", {"file": "c", "name": "x"}]}
    assert value["image"] is None


def test_texts_weigh_what_they_are_long_wherever_they_are():
    assert weigh({"name": ["x" * 1000, {"y" * 1000: "z" * 1000}]}) in range(3000, 3500)


def test_a_deep_value_is_weighed():
    value = []
    for _ in range(100_000):
        value = [value]
    assert weigh(value) > 100_000
