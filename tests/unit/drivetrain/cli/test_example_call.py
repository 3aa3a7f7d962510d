"""Calls that can be pasted have values for what an app cannot do without."""

import json
import re
import shlex

from drivetrain.cli.example_call import example_calls
from drivetrain.model.signature import BOOLEAN, INTEGER, PATH, STRING, Field, ListOf, OptionalOf, Signature


def calls(*fields):
    signature = Signature(inputs=fields, output=STRING).to_wire()
    return "\n".join(example_calls("me/app", signature, "http://h:1"))


def field(name, type_, required=True, **options):
    return Field(name=name, type=type_, required=required, **options)


def test_required_inputs_have_values_of_their_types():
    text = calls(field("say", STRING), field("count", INTEGER, ge=3), field("loud", BOOLEAN), field("more", STRING, required=False))
    assert "drivetrain call me/app -i say=text -i count=3 -i loud=true\n" in text
    body = shlex.split(text[text.index("-d ") :].splitlines()[0])[1]
    assert json.loads(body) == {"input": {"say": "text", "count": 3, "loud": True}}
    assert "client.run('me/app', input={'say': 'text', 'count': 3, 'loud': True})" in text
    compile(text[text.index("# pip") :], "example", "exec")


def test_files_are_files():
    text = calls(field("image", PATH), field("mask", OptionalOf(PATH)))
    assert "-i image=@file -i mask=@file" in text
    assert "open('file', 'rb')" in text


def test_choices_and_defaults_are_taken_from_the_author():
    text = calls(field("style", STRING, choices=("oil's", "ink")), field("tags", ListOf(STRING)))
    assert shlex.split(text.splitlines()[0])[4] == "style=oil's"
    assert re.search(r'tags=\["text"\]', text)


def test_an_app_that_needs_nothing_or_says_nothing_can_be_called():
    assert "drivetrain call me/app\n" in calls()
    assert "drivetrain call me/app\n" in "\n".join(example_calls("me/app", None, "http://h:1"))
