"""The base classes of models."""

from __future__ import annotations

from typing import Any

from cog._scope import Scope, current_scope


class _CurrentScope:
    """``self.scope``. Not a property, so that a model may keep something of its own under that name."""

    def __get__(self, instance: object, owner: Any = None) -> Scope:
        return current_scope()


class BaseRunner:
    """A model: ``setup`` loads it once, ``run`` (or the older ``predict``) is called for every prediction.

    Whichever of the two a class defines, the other one calls it.
    """

    scope = _CurrentScope()

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """Load the model. A subclass that gives it a parameter ``weights`` is told where ``COG_WEIGHTS`` points."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run one prediction."""
        if type(self).predict is BaseRunner.predict:
            raise NotImplementedError("'%s' defines neither 'run' nor 'predict'" % type(self).__name__)
        return self.predict(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Run one prediction, by the older name."""
        if type(self).run is BaseRunner.run:
            raise NotImplementedError("'%s' defines neither 'predict' nor 'run'" % type(self).__name__)
        return self.run(*args, **kwargs)

    def record_metric(self, key: str, value: Any, mode: str = "replace") -> None:
        """Record a metric of the running prediction; see ``cog.current_scope().record_metric``."""
        current_scope().record_metric(key, value, mode)


class BasePredictor(BaseRunner):
    """The older name of ``BaseRunner``."""
