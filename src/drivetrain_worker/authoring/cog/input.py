"""How authors describe an input: ``prompt: str = Input(description="…")``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterable, Optional, Union

if TYPE_CHECKING:
    Number = Union[int, float]


class FieldInfo:
    """What ``Input`` was told. ``default`` is ``...`` when there is none: the input is required."""

    __slots__ = ("accept", "choices", "default", "deprecated", "description", "ge", "le", "max_length", "min_length", "regex")

    def __init__(
        self,
        default: Any = ...,
        description: Optional[str] = None,
        ge: Optional[Number] = None,
        le: Optional[Number] = None,
        min_length: Optional[int] = None,
        max_length: Optional[int] = None,
        regex: Optional[str] = None,
        choices: Optional[Iterable[Any]] = None,
        deprecated: Optional[bool] = None,
        accept: Optional[str] = None,
    ) -> None:
        self.default = default
        self.description = description
        self.ge = ge
        self.le = le
        self.min_length = min_length
        self.max_length = max_length
        self.regex = regex
        self.choices = choices
        self.deprecated = deprecated
        self.accept = accept

    def __repr__(self) -> str:
        given = ["%s=%r" % (name, getattr(self, name)) for name in self.__slots__ if getattr(self, name) not in (None, ...)]
        return "Input(%s)" % ", ".join(given)


def Input(  # noqa: N802 (Cog's name)
    default: Any = ...,
    description: Optional[str] = None,
    ge: Optional[Number] = None,
    le: Optional[Number] = None,
    min_length: Optional[int] = None,
    max_length: Optional[int] = None,
    regex: Optional[str] = None,
    choices: Optional[Iterable[Any]] = None,
    deprecated: Optional[bool] = None,
    *,
    accept: Optional[str] = None,
    default_factory: Optional[Callable[[], Any]] = None,
) -> Any:
    """Describe an input, as the default of a parameter.

    Args:
        default: Value when the caller gives none. Without it the input is required, unless its type is ``Optional``;
            ``None`` makes it optional whatever its type.
        description: Shown to callers.
        ge: Least number allowed.
        le: Greatest number allowed.
        min_length: Least length of a string.
        max_length: Greatest length of a string.
        regex: Pattern a string must match.
        choices: The values allowed.
        deprecated: Whether callers should stop using it.
        accept: For files: MIME types or suffixes, as in HTML.
        default_factory: Refused; it exists to say what to write instead.

    Raises:
        TypeError: A ``default_factory`` was given.
    """
    if default_factory is not None:
        raise TypeError(
            "Input() has no 'default_factory', since the schema must show a default; "
            "write Input(default=...), or default=None and make the value inside the function"
        )
    return FieldInfo(default, description, ge, le, min_length, max_length, regex, choices, deprecated, accept)
