"""Exceptions of the author's code in words."""

import pytest

from drivetrain_worker.failure import describe_exception, message_of


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("boom"), "boom"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (ModuleNotFoundError("No module named 'x'"), "ModuleNotFoundError: No module named 'x'"),
    ],
)
def test_the_authors_words_are_used_where_they_say_something(error, message):
    assert message_of(error) == message


def test_an_exception_whose_text_fails_is_still_named():
    class BrokenError(Exception):
        def __str__(self):
            raise RuntimeError

    assert message_of(BrokenError()) == "BrokenError"


def test_a_syntax_error_names_its_place(tmp_path):
    with pytest.raises(SyntaxError) as caught:
        compile("def f(:\n", str(tmp_path / "x.py"), "exec")
    assert message_of(caught.value).endswith("x.py, line 1)")


def test_the_traceback_keeps_causes():
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as outer:
        described = describe_exception(outer)
    assert "KeyError: 'inner'" in described["traceback"]
    assert described["traceback"].endswith("ValueError: outer\n")
    assert described["kind"] == "ValueError"
