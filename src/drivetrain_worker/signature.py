"""What a function that runs predictions takes and gives, read from the function itself.

``describe`` says it to the server in the wire form that ``drivetrain.model.signature`` reads; change one, change the other.
``read_parameters`` says it to ``drivetrain_worker.inputs``, which calls the function.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

from drivetrain_worker.conversion import Converter, Wire
from drivetrain_worker.structure import MISSING
from drivetrain_worker.value_type import TypeReader, json_default, optional

_CONSTRAINTS = ("ge", "le", "min_length", "max_length", "accept")


class SignatureError(ValueError):
    """A function cannot be called with inputs by name."""


class Parameters(NamedTuple):
    """The inputs of a function.

    Attributes:
        fields: Their descriptions in wire form, in order.
        converters: By name: what turns a JSON value into the argument; ``None`` where it is the argument.
        defaults: By name, for those that need not be given: the argument then, as the author wrote it.
        accepts_extra: Whether the function takes other names as well.
        notes: Sentences about what could not be expressed exactly.
    """

    fields: List[Wire]
    converters: Dict[str, Optional[Converter]]
    defaults: Dict[str, Any]
    accepts_extra: bool
    notes: List[str]


def read_parameters(function: Callable[..., Any], *, bound: bool) -> Parameters:
    """Read what a function takes.

    Args:
        function: A function, also one wrapped by ``functools.wraps``, a ``functools.partial`` or a callable object.
        bound: Whether its first parameter is ``self``.

    Raises:
        SignatureError: It cannot be called with inputs by name.
    """
    reader = TypeReader(_names(function))
    parameters = Parameters([], {}, {}, _takes_any_name(function), reader.notes)
    for parameter in _inputs(function, bound):
        _add(parameters, parameter, reader)
    return parameters


def describe(function: Callable[..., Any], *, bound: bool) -> Dict[str, Any]:
    """The signature of a function in wire form.

    Args:
        function: As for ``read_parameters``.
        bound: As for ``read_parameters``.

    Raises:
        SignatureError: It cannot be called with inputs by name.
    """
    parameters = read_parameters(function, bound=bound)
    functions = list(_unwrapped(function))
    reader = TypeReader(_names(function))
    yields = any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in functions)
    output = reader.read_output(_signature(function).return_annotation, yields=yields)
    return {
        "inputs": parameters.fields,
        "accepts_extra": parameters.accepts_extra,
        "output": output,
        "async": any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in functions),
        "streaming": any(getattr(one, "__cog_streaming__", False) for one in functions),
        "concurrency": next((one.__cog_concurrent_max__ for one in functions if hasattr(one, "__cog_concurrent_max__")), None),
        "notes": parameters.notes + reader.notes,
    }


def see_through_decorators(function: Callable[..., Any]) -> None:
    """Do for decorators what their author forgot: mark what they wrap, as ``functools.wraps`` does.

    Such a decorator shows by its function: it takes any arguments, and holds one other function. To be called before the signature
    is read.
    """
    for one in _unwrapped(function):
        if inspect.isfunction(one) and not hasattr(one, "__wrapped__") and _takes_anything(one):
            held = [cell for cell in inspect.getclosurevars(one).nonlocals.values() if inspect.isfunction(cell)]
            if len(held) == 1:
                one.__wrapped__ = held[0]  # type: ignore[attr-defined] # functions take attributes


def _takes_anything(function: Callable[..., Any]) -> bool:
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    takes_the_rest = kinds[-2:] == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]
    return takes_the_rest and len(kinds) <= 3  # one of its own may be "self"


def settle_defaults(function: Callable[..., Any]) -> None:
    """Put the plain default where a function's parameter has ``Input(…)`` as its default.

    Authors call their own ``predict`` too, to warm a model up; then nobody but Python fills the defaults in. Inputs without a
    default get ``None``. To be called after the signature has been read.
    """
    for one in _unwrapped(function):
        if inspect.isfunction(one):
            if one.__defaults__:
                one.__defaults__ = tuple(map(_settled, one.__defaults__))
            if one.__kwdefaults__:
                one.__kwdefaults__ = {name: _settled(default) for name, default in one.__kwdefaults__.items()}


def _settled(default: Any) -> Any:
    if not _is_field_info(default):
        return default
    return None if default.default is ... else default.default


def _unwrapped(function: Any) -> Iterator[Any]:
    """The function, and every function it wraps, outermost first."""
    seen = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__wrapped__", None) or getattr(function, "func", None) or _call_method(function)


def _call_method(target: Any) -> Any:
    is_callable_object = callable(target) and not (inspect.isroutine(target) or isinstance(target, type))
    return type(target).__call__ if is_callable_object else None


def _names(function: Callable[..., Any]) -> Dict[str, Any]:
    """The names that text annotations of a function may use: those of its module and of the class around it."""
    innermost = list(_unwrapped(function))[-1]
    names: Dict[str, Any] = dict(getattr(innermost, "__globals__", {}))
    around = getattr(innermost, "__qualname__", "").split(".")[:-1]
    scope: Any = names
    for name in around:
        scope = scope.get(name) if isinstance(scope, dict) else vars(scope).get(name)
        if not isinstance(scope, type):
            break
        names = {**names, **vars(scope)}
    return names


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise SignatureError("the parameters of %r cannot be read: %s" % (function, error)) from error


def _takes_any_name(function: Callable[..., Any]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in _signature(function).parameters.values())


def _inputs(function: Callable[..., Any], bound: bool) -> Iterator[inspect.Parameter]:
    name = getattr(function, "__qualname__", repr(function))
    parameters = list(_signature(function).parameters.values())
    if bound:
        if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
            raise SignatureError("'%s' is a method but has no first parameter; add 'self'" % name)
        if parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            del parameters[0]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is not parameter.POSITIONAL_ONLY:
            yield parameter
        elif parameter.default is parameter.empty:
            raise SignatureError(
                "'%s' takes '%s' by position only, and inputs come by name; move it behind the '/'" % (name, parameter.name)
            )


def _add(parameters: Parameters, parameter: inspect.Parameter, reader: TypeReader) -> None:
    info = _field_info(parameter)
    reading = reader.read(parameter.annotation, place="input '%s'" % parameter.name)
    default = info.default
    if default is ... and reading.wire["kind"] in ("optional", "null"):
        default = None
    if default is None:
        reading = optional(reading)
    field = _field(parameter.name, reading.wire, default, info)
    for name in (*_CONSTRAINTS, "regex", "choices"):
        if getattr(info, name) is not None and name not in field:
            parameters.notes.append(
                "input '%s': what is asked with '%s' has no JSON form and is not checked" % (parameter.name, name)
            )
    parameters.fields.append(field)
    parameters.converters[parameter.name] = reading.convert
    if default is not ...:
        parameters.defaults[parameter.name] = default


def _field_info(parameter: inspect.Parameter) -> Any:
    """What the author said about a parameter with ``Input``: as its default, or inside ``Annotated``."""
    from cog.input import FieldInfo

    if _is_field_info(parameter.default):
        return parameter.default
    default = ... if parameter.default is parameter.empty else parameter.default
    for mark in getattr(parameter.annotation, "__metadata__", ()):
        if _is_field_info(mark):
            told = {name: getattr(mark, name) for name in FieldInfo.__slots__}
            return FieldInfo(**{**told, "default": mark.default if default is ... else default})
    return FieldInfo(default)


def _is_field_info(value: Any) -> bool:
    from cog.input import FieldInfo

    return isinstance(value, FieldInfo)


def _field(name: str, wire: Wire, default: Any, info: Any) -> Wire:
    field: Wire = {"name": name, "type": wire, "required": default is ...}
    shown = MISSING if default is ... else json_default(default)
    if shown is not MISSING and shown is not None:
        field["default"] = shown
    if info.description is not None:
        field["description"] = str(info.description)
    asked = {name: getattr(info, name) for name in _CONSTRAINTS}
    asked["regex"] = getattr(info.regex, "pattern", info.regex)
    asked["choices"] = info.choices if info.choices is None else list(info.choices)
    for name, constraint in asked.items():
        shown = json_default(constraint)
        if shown is not MISSING and shown is not None:
            field[name] = shown
    if info.deprecated:
        field["deprecated"] = True
    return field
