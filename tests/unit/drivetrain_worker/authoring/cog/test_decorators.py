"""Decorators state facts and return the function itself."""

import pytest
from cog import concurrent, streaming


def test_streaming_works_with_and_without_parentheses():
    def bare(): ...

    assert streaming(bare) is bare
    assert streaming()(bare) is bare
    assert bare.__cog_streaming__


def test_concurrent_keeps_its_number():
    async def predict(): ...

    assert concurrent(max=3)(predict) is predict
    assert predict.__cog_concurrent_max__ == 3
    assert concurrent(predict).__cog_concurrent_max__ == 1


def test_concurrency_needs_an_async_function():
    def predict(): ...

    with pytest.raises(TypeError, match="write 'async def'"):
        concurrent(max=2)(predict)


@pytest.mark.parametrize(("number", "error"), [(0, ValueError), (True, TypeError), ("2", TypeError)])
def test_concurrency_is_a_positive_integer(number, error):
    with pytest.raises(error):
        concurrent(max=number)
