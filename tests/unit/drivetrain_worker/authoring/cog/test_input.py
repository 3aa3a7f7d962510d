"""``Input`` keeps what it is told."""

import pytest
from cog import FieldInfo, Input


def test_the_default_may_come_first():
    assert Input(5).default == 5
    assert isinstance(Input(), FieldInfo)


def test_no_default_differs_from_none():
    assert Input(description="x").default is ...
    assert Input(default=None).default is None


def test_a_default_factory_is_refused_with_advice():
    with pytest.raises(TypeError, match="write Input"):
        Input(default_factory=list)


def test_it_shows_what_it_was_told():
    assert repr(Input(3, ge=1)) == "Input(default=3, ge=1)"
