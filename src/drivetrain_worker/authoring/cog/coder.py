"""How authors teach Cog to carry types of their own."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Optional, Set, Type


class Coder:
    """Turns values of an author's type into JSON objects and back.

    Subclass it, and name the subclass to ``Coder.register``. ``factory`` says whether it handles a type.
    """

    _coders: ClassVar[Set[Type[Coder]]] = set()

    @staticmethod
    def register(coder: Type[Coder]) -> None:
        """Make a subclass known. Registering it twice does no harm."""
        Coder._coders.add(coder)

    @staticmethod
    def lookup(tpe: Any) -> Optional[Coder]:
        """A coder for a type, or ``None`` if no registered one handles it."""
        for coder in Coder._coders:
            made = coder.factory(tpe)
            if made is not None:
                return made
        return None

    @staticmethod
    def factory(tpe: Any) -> Optional[Coder]:
        """An instance if this coder handles the type, else ``None``."""
        raise NotImplementedError("a Coder must define the static method 'factory'")

    def encode(self, x: Any) -> Dict[str, Any]:
        """A value of the type as a JSON object."""
        raise NotImplementedError("'%s' does not define 'encode'" % type(self).__name__)

    def decode(self, x: Dict[str, Any]) -> Any:
        """A JSON object as a value of the type."""
        raise NotImplementedError("'%s' does not define 'decode'" % type(self).__name__)
