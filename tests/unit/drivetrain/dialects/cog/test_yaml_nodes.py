"""The YAML tree keeps lines and source text, and refuses what would cost too much."""

import pytest

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.yaml_nodes import Mapping, Scalar, Sequence, parse_yaml


def parse(text):
    findings = Findings("cog.yaml")
    return parse_yaml(text, findings), [(finding.code, finding.line) for finding in findings.in_order()]


def value(text, *keys):
    node, found = parse(text)
    assert not found
    for key in keys:
        node = node.entries[key].value
    return node


def test_scalars_keep_their_source_text_and_line():
    assert value("a: 1\nb:\n  c: 3.10\n", "b", "c") == Scalar(text="3.10", line=3, plain=True)


def test_quoted_text_is_not_plain_and_never_null():
    null = value("a: ''", "a")
    assert not null.plain
    assert not null.is_null


@pytest.mark.parametrize("text", ["a:", "a: ~", "a: null", "a: NULL"])
def test_the_forms_of_null_are_null(text):
    assert value(text, "a").is_null


def test_merge_keys_yield_to_own_keys_and_to_earlier_sources():
    text = "x: &x {a: 1, b: 1, c: 1}\ny: &y {a: 2, b: 2, d: 2}\nz:\n  a: own\n  <<: [*x, *y]\n"
    merged = value(text, "z")
    assert {key: entry.value.text for key, entry in merged.entries.items()} == {"a": "own", "b": "1", "c": "1", "d": "2"}


def test_an_alias_stands_for_the_node_it_names():
    packages = value("p: &p [torch]\nbuild: *p\n", "build")
    assert isinstance(packages, Sequence)
    assert packages.items[0].text == "torch"


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_a_text_without_content_has_no_root(text):
    assert parse(text) == (None, [])


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: 1\n\tb: 2\n", "yaml-syntax", 2),
        ("a: b: c\n", "yaml-syntax", 1),
        ("a: [1, 2\nb: 3\n", "yaml-syntax", 2),
        ("x: 1\na: 'never closed\nb: 2\n", "yaml-syntax", 2),
        ("a: @x\n", "yaml-syntax", 1),
        ("a: *gone\n", "yaml-alias", 1),
        ("a: &a\n  b: *a\n", "yaml-alias", 2),
        ("a: &a\n  <<: *a\n", "yaml-alias", 2),
        ("a:\n  <<: 1\n", "yaml-merge", 2),
        ("a: 1\n---\nb: 2\n", "yaml-several-documents", 2),
        ("a: 1\nb: 2\na: 3\n", "yaml-duplicate-key", 3),
        ("a: 1\n? [b]\n: 2\n", "yaml-key", 2),
        ("a: 1\nb: \x00\n", "yaml-character", 2),
        ("[" * 5000, "yaml-too-deep", 1),
        ("- " * 5000, "yaml-too-deep", 1),
    ],
)
def test_what_cannot_be_read_is_one_finding_with_its_line(text, code, line):
    assert parse(text)[1] == [(code, line)]


def test_aliases_that_unfold_without_end_are_refused():
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    node, found = parse("\n".join(rows))
    assert node is None
    assert [code for code, _ in found] == ["yaml-too-large"]


def test_a_duplicate_key_does_not_hide_the_rest():
    node, _ = parse("a: 1\na: 2\nb: 3\n")
    assert isinstance(node, Mapping)
    assert node.entries["a"].value.text == "1"
    assert node.entries["b"].value.text == "3"
