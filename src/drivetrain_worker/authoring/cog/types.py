"""The types authors annotate inputs and outputs with.

They may also stand in pydantic models, of either major version; pydantic calls the hooks of ``_Field`` and is never imported here.
"""

from __future__ import annotations

import io
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any, AsyncIterator, Dict, Iterator, Optional, TypeVar, Union

from cog.input import Input as Input  # older releases had it here

_FILENAME_BYTES = 200  # file systems allow 255, and a temporary file's name gets a prefix

Item = TypeVar("Item")


class ExperimentalFeatureWarning(FutureWarning):
    """Older releases warned with it; kept for code that silences it."""


class _Field:
    """What pydantic asks of a type that it does not know: how to check a value, and how the JSON schema describes it."""

    __slots__ = ()

    @classmethod
    def validate(cls, value: Any) -> Any:
        """Make a value of this type from what a caller gave."""
        raise NotImplementedError

    @classmethod
    def _json_schema(cls) -> Dict[str, Any]:
        return {"type": "string", "format": "uri"}

    @classmethod
    def __get_validators__(cls) -> Iterator[Any]:  # pydantic 1
        yield cls.validate

    @classmethod
    def __modify_schema__(cls, field_schema: Dict[str, Any]) -> None:  # pydantic 1
        field_schema.update(cls._json_schema())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:  # pydantic 2
        from pydantic_core import core_schema  # type: ignore[import-not-found] # comes with pydantic 2

        return core_schema.no_info_plain_validator_function(cls.validate)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Dict[str, Any]:  # pydantic 2
        return cls._json_schema()


class Path(_Field, pathlib.PosixPath):
    """A file. As an input it has been fetched and is on disk; returned as an output, its content is what the caller gets."""

    @classmethod
    def validate(cls, value: Any) -> pathlib.Path:
        """Make a path of a string; a URL becomes a path that is fetched when asked to ``convert``."""
        if isinstance(value, pathlib.Path):
            return value
        if _scheme(value) in ("http", "https", "data"):
            return URLPath(source=value, filename=get_filename(value), fileobj=File.validate(value))
        return cls(value)


class URLPath(_Field, pathlib.PosixPath):
    """A path that stands for a URL. ``str()`` gives the URL, ``convert()`` fetches it."""

    source: str
    filename: str
    fileobj: Any
    _fetched: Optional[Path]

    def __new__(cls, *, source: str, filename: str, fileobj: Any) -> URLPath:
        """A path with the file name that the URL suggests."""
        return super().__new__(cls, filename)

    def __init__(self, *, source: str, filename: str, fileobj: Any) -> None:
        if sys.version_info >= (3, 12):  # where a path gets its segments from then on
            super().__init__(filename)
        self.source = source
        self.filename = _shortened(filename)
        self.fileobj = fileobj
        self._fetched = None

    @classmethod
    def validate(cls, value: Any) -> pathlib.Path:
        """As ``Path.validate``."""
        return Path.validate(value)

    def convert(self) -> Path:
        """Fetch the content, once, into a temporary file that keeps the file name's suffix."""
        if self._fetched is None:
            import shutil
            import tempfile

            with tempfile.NamedTemporaryFile(suffix=self.filename, delete=False) as file:
                shutil.copyfileobj(self.fileobj, file)
            self._fetched = Path(file.name)
        return self._fetched

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the temporary file, if there is one."""
        if self._fetched is not None:
            try:
                self._fetched.unlink()
            except FileNotFoundError:
                if not missing_ok:
                    raise

    def with_segments(self, *segments: Any) -> pathlib.Path:
        """Paths derived from this one are ordinary paths."""
        return Path(*segments)

    def __str__(self) -> str:
        source: Optional[str] = self.__dict__.get("source")
        return source or super().__str__()  # before Python 3.12, paths derived from this one are of its class


class File(_Field, io.IOBase):
    """An open binary file. Annotating inputs with it is deprecated; use ``Path``."""

    @classmethod
    def validate(cls, value: Any) -> Any:
        """Make a readable file of a ``data:`` or ``http(s):`` URL; a file stays what it is.

        Raises:
            ValueError: The value is neither.
        """
        if isinstance(value, io.IOBase):
            return value
        scheme = _scheme(value)
        if scheme == "data":
            return io.BytesIO(_data_url(value)[1])
        if scheme in ("http", "https"):
            return URLFile(value)
        raise ValueError("'%s' is not a URL that can be opened; use one that starts with http:, https: or data:" % value)


class URLFile(io.IOBase):
    """The content of an ``http(s):`` URL, asked for when it is first read. It can be pickled.

    Attributes:
        name: The file name that the URL suggests.
    """

    def __init__(self, url: str, filename: Optional[str] = None) -> None:
        if _scheme(url) not in ("http", "https"):
            raise ValueError("'%s' is not a URL that starts with http: or https:" % url)
        self.url = url
        self.name = filename or get_filename(url)
        self._response: Any = None

    @property
    def _opened(self) -> Any:
        if self._response is None:
            from urllib.request import Request, urlopen

            agent = os.environ.get("COG_USER_AGENT")
            request = Request(self.url, headers={"User-Agent": agent} if agent else {})  # noqa: S310 (scheme checked above)
            self._response = urlopen(request, timeout=10)  # noqa: S310 (scheme checked above)
        return self._response

    def read(self, size: int = -1) -> bytes:
        """The next bytes, all that are left by default."""
        content: bytes = self._opened.read() if size < 0 else self._opened.read(size)
        return content

    def readable(self) -> bool:
        """It can be read."""
        return True

    def __iter__(self) -> Any:
        return iter(self._opened)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._opened, name)

    def close(self) -> None:
        """Close the connection, if there is one."""
        response = self.__dict__.get("_response")
        if response is not None:
            response.close()
        super().close()

    def __getstate__(self) -> Dict[str, Any]:
        return {"url": self.url, "name": self.name}

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__init__(state["url"], state["name"])  # type: ignore[misc] # a pickle starts from an empty object

    def __repr__(self) -> str:
        return "URLFile(%r)" % self.url


class Secret(_Field):
    """A string that shows as asterisks wherever it is printed; ``get_secret_value()`` gives it."""

    __slots__ = ("_value",)

    def __init__(self, secret_value: Optional[str] = None) -> None:
        self._value = secret_value

    @property
    def secret_value(self) -> Optional[str]:
        """The string itself."""
        return self._value

    def get_secret_value(self) -> Optional[str]:
        """The string itself."""
        return self._value

    @classmethod
    def validate(cls, value: Any) -> Secret:
        """Make a secret of a string."""
        return value if isinstance(value, Secret) else cls(value)

    @classmethod
    def _json_schema(cls) -> Dict[str, Any]:
        return {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True}

    def __str__(self) -> str:
        return "" if self._value is None else "*" * 10

    def __repr__(self) -> str:
        return "Secret(%r)" % str(self)

    def __len__(self) -> int:
        return len(self._value or "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


if TYPE_CHECKING:  # a generator function may be annotated with these, but not with a class that derives from them
    ConcatenateIterator = Iterator
    AsyncConcatenateIterator = AsyncIterator
else:

    class _Iterated(_Field):
        """What pydantic asks of the iterator types, which authors may have in models of older projects."""

        __slots__ = ()

        @classmethod
        def validate(cls, value: Any) -> Any:
            """Any iterator will do."""
            return value

        @classmethod
        def _json_schema(cls) -> Dict[str, Any]:
            return {
                "type": "array",
                "items": {"type": "string"},
                "x-cog-array-type": "iterator",
                "x-cog-array-display": "concatenate",
            }

    class ConcatenateIterator(_Iterated, Iterator[Item]):
        """Return annotation of a generator whose items make one text when put together."""

    class AsyncConcatenateIterator(_Iterated, AsyncIterator[Item]):
        """Return annotation of an async generator whose items make one text when put together."""


Weights = Union[File, Path, str]


def get_filename(url: str) -> str:
    """The file name that a URL suggests, short enough for any file system; ``file`` with a suffix for ``data:`` URLs."""
    if _scheme(url) == "data":
        import mimetypes

        return "file" + (mimetypes.guess_extension(_data_url(url)[0]) or "")
    from urllib.parse import unquote_plus, urlparse

    name = unquote_plus(os.path.basename(urlparse(url).path))
    return _shortened(name).replace("\0", "_").replace("/", "_")


def _scheme(value: Any) -> str:
    return str(value).partition(":")[0].lower() if ":" in str(value) else ""


def _data_url(url: str) -> Any:
    """Media type and content."""
    from urllib.request import urlopen

    with urlopen(url) as response:  # noqa: S310 (only called for data: URLs)
        return response.headers.get_content_type(), response.read()


def _shortened(name: str) -> str:
    encoded = name.encode("utf-8")
    if len(encoded) <= _FILENAME_BYTES:
        return name
    suffix = os.path.splitext(name)[1].encode("utf-8")[: _FILENAME_BYTES // 2]
    kept = encoded[: _FILENAME_BYTES - len(suffix) - 1]
    return kept.decode("utf-8", "ignore") + "~" + suffix.decode("utf-8", "ignore")
