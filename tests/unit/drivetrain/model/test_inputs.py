import pytest

from drivetrain.model.errors import ProjectError
from drivetrain.model.inputs import InputChecker, InvalidInputs, LocalFile, check_inputs, replace_places
from drivetrain.model.signature import (
    ANY,
    BOOLEAN,
    FILE,
    INTEGER,
    NULL,
    NUMBER,
    OBJECT,
    PATH,
    SECRET,
    STRING,
    DictOf,
    EnumOf,
    Field,
    Kind,
    ListOf,
    ModelOf,
    OptionalOf,
    Signature,
    UnionOf,
)

POINT = ModelOf("Point", (Field(name="x", type=NUMBER, required=True), Field(name="label", type=STRING, required=False)))


def of(**fields):
    """A signature whose inputs are not required, or are given as whole fields."""
    inputs = (kind if isinstance(kind, Field) else Field(name=name, type=kind, required=False) for name, kind in fields.items())
    return Signature(inputs=tuple(inputs), output=ANY)


def checked(type_, value, **options):
    return check_inputs(of(x=type_), {"x": value}, **options).values["x"]


def problems(signature, values, **options):
    with pytest.raises(InvalidInputs) as caught:
        check_inputs(signature, values, **options)
    return caught.value.problems


def problem(type_, value, **options):
    (only,) = problems(of(x=type_), {"x": value}, **options)
    return only


def constrained(value, *, type_=STRING, **constraints):
    return problems(of(x=Field(name="x", type=type_, required=False, **constraints)), {"x": value})


def test_everything_wrong_is_said_at_once():
    signature = of(a=INTEGER, b=Field(name="b", type=STRING, required=True), c=BOOLEAN)
    found = problems(signature, {"a": "x", "c": 7})
    assert [(one.location, one.type) for one in found] == [(("a",), "type"), (("c",), "type"), (("b",), "missing")]


def test_the_message_names_every_place():
    with pytest.raises(
        InvalidInputs, match=r"'points\[1\]\.x': must be a finite number, not the string 'a'; 'n': must be an integer"
    ):
        check_inputs(of(points=ListOf(POINT), n=INTEGER), {"points": [{"x": 1}, {"x": "a"}], "n": None})


def test_what_is_not_given_is_left_to_the_authors_default():
    assert check_inputs(of(a=Field(name="a", type=INTEGER, required=False, default=5)), {}).values == {}


@pytest.mark.parametrize(
    ("type_", "value", "result"),
    [
        (STRING, 1, "1"),
        (INTEGER, "5", 5),
        (INTEGER, 2**80, 2**80),
        (NUMBER, 5, 5.0),
        (BOOLEAN, "true", True),
        (NULL, None, None),
        (ANY, {"a": [1]}, {"a": [1]}),
        (OBJECT, {"a": 1}, {"a": 1}),
        (ListOf(INTEGER), ["1", 2.0], [1, 2]),
        (DictOf(NUMBER), {"a": "1.5"}, {"a": 1.5}),
        (OptionalOf(INTEGER), None, None),
        (OptionalOf(INTEGER), "3", 3),
        (POINT, {"x": "1", "other": [1]}, {"x": 1.0, "other": [1]}),
        (EnumOf("", ("a", "b")), "a", "a"),
        (EnumOf("", (1, 2)), "2", 2),
        (EnumOf("", (1, 2)), 2.0, 2),
        (EnumOf("", ("1", "2")), 1, "1"),
        (EnumOf("", (1, "1.0")), 1.0, 1),
        (EnumOf("", (True,)), "yes", True),
    ],
)
def test_values_come_in_the_form_the_model_gets(type_, value, result):
    given = checked(type_, value)
    assert given == result
    assert type(given) is type(result)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (NULL, 0),
        (OBJECT, []),
        (ListOf(STRING), "a"),
        (DictOf(STRING), []),
        (POINT, []),
        (STRING, None),
        (STRING, ["a"]),
        (INTEGER, None),
        (NUMBER, None),
        (PATH, 5),
        (SECRET, None),
        (UnionOf((INTEGER, BOOLEAN)), "x"),
    ],
)
def test_values_of_another_type_are_refused(type_, value):
    assert problem(type_, value).type == "type"


def nested(levels):
    value = "inside"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (ANY, nested(501)),
        (OBJECT, {"a": 1, "b": [{"c": nested(498)}]}),
        (ListOf(ANY), [1, nested(501)]),
        (DictOf(OptionalOf(ANY)), {"a": None, "b": nested(501)}),
        (POINT, {"x": 1, "other": nested(501)}),
    ],
)
def test_values_that_are_too_deep_for_a_worker_are_refused(type_, value):
    assert problem(type_, value).type == "depth"


def test_extra_inputs_that_are_too_deep_are_refused():
    signature = Signature(inputs=(), output=ANY, accepts_extra=True)
    assert [one.type for one in problems(signature, {"more": nested(100_000)})] == ["depth"]


@pytest.mark.parametrize("value", [nested(500), [[], {}] * 1000, {"a": [1, {"b": [nested(400), nested(400)]}]}])
def test_values_that_are_not_too_deep_are_taken_as_they_are(value):
    assert checked(ANY, value) is value


@pytest.mark.parametrize(
    ("members", "value", "result"),
    [
        ((INTEGER, STRING), "5", "5"),
        ((STRING, INTEGER), 5, 5),
        ((STRING, NUMBER), 5, 5.0),
        ((NUMBER, INTEGER), 5, 5),
        ((INTEGER, BOOLEAN), True, True),
        ((INTEGER, ListOf(INTEGER)), ["1"], [1]),
        ((INTEGER, BOOLEAN), "5", 5),
        ((EnumOf("", ("auto",)), INTEGER), "7", 7),
        ((PATH, STRING), "plain words", "plain words"),
        ((ListOf(INTEGER), ListOf(STRING)), ["a"], ["a"]),
    ],
)
def test_a_union_takes_the_member_that_fits_best(members, value, result):
    given = checked(UnionOf(members), value)
    assert given == result
    assert type(given) is type(result)


def test_a_union_says_what_is_wrong_inside_the_member_that_was_meant():
    assert problem(UnionOf((STRING, POINT)), {"x": "a"}).location == ("x", "x")


def test_a_union_that_nothing_fits_names_its_members():
    message = problem(UnionOf((INTEGER, EnumOf("", ("a",)))), "b").message
    assert message == "must be an integer or one of 'a', not the string 'b'"


@pytest.mark.parametrize(
    ("constraints", "value", "kind"),
    [
        ({"type_": INTEGER, "ge": 1}, 0, "greater_than_equal"),
        ({"type_": OptionalOf(NUMBER), "le": 1}, "1.5", "less_than_equal"),
        ({"min_length": 2}, "a", "min_length"),
        ({"max_length": 2}, "abc", "max_length"),
        ({"regex": "^b"}, "ab", "regex"),
        ({"choices": ("a", "b")}, "c", "choice"),
        ({"type_": INTEGER, "choices": (1, 2)}, "3", "choice"),
        ({"type_": SECRET, "min_length": 2}, "a", "min_length"),
        ({"type_": ListOf(STRING), "min_length": 2}, ["abc"], "min_length"),
        ({"type_": DictOf(STRING), "max_length": 0}, {"a": "b"}, "max_length"),
    ],
)
def test_what_an_author_asked_is_checked(constraints, value, kind):
    (only,) = constrained(value, **constraints)
    assert (only.location, only.type) == (("x",), kind)


def test_bounds_and_choices_of_a_list_are_those_of_its_items():
    found = constrained([1, 7, 9], type_=ListOf(INTEGER), le=5)
    assert [one.location for one in found] == [("x", 1), ("x", 2)]


@pytest.mark.parametrize(
    "field",
    [
        Field(name="x", type=STRING, required=False, regex="b"),
        Field(name="x", type=OptionalOf(STRING), required=False, min_length=1, choices=("abc",)),
        Field(name="x", type=UnionOf((STRING, INTEGER)), required=False, ge=5),
        Field(name="x", type=ANY, required=False, le=5),
    ],
)
def test_values_within_constraints_pass(field):
    assert check_inputs(of(x=field), {"x": "abc"}).values == {"x": "abc"}


def test_null_is_within_the_constraints_of_an_optional_input():
    field = Field(name="x", type=OptionalOf(INTEGER), required=False, ge=5, choices=(7,))
    assert check_inputs(of(x=field), {"x": None}).values == {"x": None}


def test_constraints_do_not_look_at_the_urls_of_files():
    field = Field(name="x", type=PATH, required=False, max_length=3, regex="^a")
    assert check_inputs(of(x=field), {"x": "https://example.com/a"}).files


def test_a_regex_that_is_none_is_the_projects_fault():
    with pytest.raises(ProjectError, match="the regex of input 'x'"):
        InputChecker(of(x=Field(name="x", type=STRING, required=False, regex="(")))


def test_unknown_names_are_ignored_and_reported():
    result = check_inputs(of(text=STRING), {"txet": "a", "text": "b"})
    assert (result.values, result.ignored) == ({"text": "b"}, ("txet",))


def test_strictly_unknown_names_are_refused_with_the_nearest_known_one():
    (only,) = problems(of(text=STRING), {"txet": "a"}, strict=True)
    assert (only.type, only.nearest, only.location) == ("unknown", "text", ("txet",))


def test_an_ignored_name_is_told_when_something_else_is_wrong():
    with pytest.raises(InvalidInputs) as caught:
        check_inputs(of(text=Field(name="text", type=STRING, required=True)), {"txet": "a"})
    assert "'txet'" in caught.value.hint


def test_extra_inputs_are_passed_on_where_the_function_takes_them():
    signature = Signature(inputs=(), output=ANY, accepts_extra=True)
    result = check_inputs(signature, {"more": [1], "file": LocalFile("a.png")}, strict=True)
    assert result.values == {"more": [1], "file": "a.png"}
    assert [str(place) for place in result.files] == ["file"]


@pytest.mark.parametrize("url", ["https://example.com/a.png", "HTTP://example.com", "data:text/plain,hello"])
def test_files_come_by_url(url):
    (place,) = check_inputs(of(image=PATH), {"image": url}).files
    assert (place.pointer, place.kind, place.value, place.is_local) == (("image",), Kind.PATH, url, False)


@pytest.mark.parametrize("value", ["/etc/passwd", "file:///etc/passwd", "picture.png", "", "ftp://example.com/a", "httpfoo"])
def test_files_of_this_machine_are_refused_over_http(value):
    assert problem(PATH, value).type == "url"


def test_files_of_this_machine_are_taken_from_its_user():
    (place,) = check_inputs(of(image=FILE), {"image": "picture.png"}, local_files=True).files
    assert (place.kind, place.value, place.is_local) == (Kind.FILE, "picture.png", True)


def test_a_file_of_this_machine_may_have_cogs_mark():
    checked = check_inputs(of(image=PATH, text=STRING), {"image": "@picture.png", "text": "@ada"}, local_files=True)
    assert checked.values == {"image": "picture.png", "text": "@ada"}
    assert [place.value for place in checked.files] == ["picture.png"]


@pytest.mark.parametrize("type_", [PATH, FILE, OptionalOf(PATH), UnionOf((STRING, PATH)), ANY])
def test_a_marked_file_is_taken_where_a_file_may_be(type_):
    (place,) = check_inputs(of(image=type_), {"image": LocalFile("a.png")}).files
    assert (place.value, place.is_local) == ("a.png", True)


@pytest.mark.parametrize("type_", [STRING, INTEGER, NUMBER, BOOLEAN, ListOf(PATH), EnumOf("", ("a",)), POINT])
def test_a_marked_file_is_refused_elsewhere(type_):
    problem(type_, LocalFile("a.png"))


def test_text_that_was_given_as_a_file_is_refused_with_its_name():
    assert problem(STRING, LocalFile("a.txt")).message == "must be a string, not the file 'a.txt'"


def test_files_are_found_wherever_they_are():
    holder = ModelOf("M", (Field(name="image", type=OptionalOf(PATH), required=True),))
    signature = of(a=ListOf(PATH), b=DictOf(UnionOf((INTEGER, PATH))), c=holder, d=STRING, e=UnionOf((STRING, PATH)))
    url = "https://example.com/a"
    values = {"a": [url, url], "b": {"k": url, "n": 1}, "c": {"image": url}, "d": url, "e": url}
    assert [str(place) for place in check_inputs(signature, values).files] == ["a[0]", "a[1]", "b.k", "c.image"]


def test_replacing_places_leaves_the_checked_values_as_they_are():
    url = "https://example.com/a"
    result = check_inputs(of(a=ListOf(DictOf(PATH)), b=PATH, n=ANY), {"a": [{"k": url}, {"l": url}], "b": url, "n": [1]})
    replaced = replace_places(result.values, {place: f"/tmp/{place}" for place in result.files})
    assert replaced == {"a": [{"k": "/tmp/a[0].k"}, {"l": "/tmp/a[1].l"}], "b": "/tmp/b", "n": [1]}
    assert result.values == {"a": [{"k": url}, {"l": url}], "b": url, "n": [1]}


def test_secrets_are_masked_wherever_they_are_shown():
    result = check_inputs(of(key=SECRET, keys=ListOf(SECRET), text=STRING), {"key": "a", "keys": ["b", "c"], "text": "d"})
    assert result.shown == {"key": "*" * 10, "keys": ["*" * 10] * 2, "text": "d"}
    assert result.values == {"key": "a", "keys": ["b", "c"], "text": "d"}


@pytest.mark.parametrize("type_", [SECRET, UnionOf((SECRET, INTEGER))])
def test_a_secret_is_never_in_a_message(type_):
    assert "hidden" not in problem(type_, ["hidden"]).message
    assert "hidden" not in str(constrained("hidden", type_=type_, regex="^a")[0])


def test_a_checker_can_be_used_again():
    checker = InputChecker(of(image=PATH))
    first = checker.check({"image": "data:,a"})
    assert checker.check({}).files == ()
    assert len(first.files) == 1
