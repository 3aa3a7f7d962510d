"""Who calls, and what they may do. Every use case asks."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.model.errors import BadRequest
from drivetrain.model.prediction import PredictionId
from drivetrain.platform.app import Access, App
from drivetrain.platform.key import ApiKey, Scope


class Unauthenticated(BadRequest):
    """No key came with the request, or none that is known."""

    code = "unauthenticated"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="send 'Authorization: Bearer <key>'; 'drivetrain keys add' makes one")


class Forbidden(BadRequest):
    """The key is known and does not allow this."""

    code = "forbidden"


class NotFound(BadRequest, LookupError):  # noqa: N818 (named for what it says to the asker)
    """There is no such thing, or none that this caller may know of."""

    code = "not_found"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"there is no {kind} '{name}'")
        self.kind = kind
        self.name = name


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody with a key, or nobody in particular.

    Attributes:
        key: The key; ``None`` for a caller without one, who may call public apps and nothing else.
        shown: The one prediction that a signed URL lets its bearer see.
    """

    key: ApiKey | None = None
    shown: PredictionId | None = None

    @property
    def id(self) -> str:
        """For audit lines and the predictions it makes."""
        return self.key.id if self.key is not None else ""

    @property
    def owner(self) -> str:
        """Whose apps are its own."""
        return self.key.owner if self.key is not None else ""

    @property
    def is_admin(self) -> bool:
        """Whether it may do everything."""
        return self.key is not None and self.key.scope is Scope.ADMIN

    def require(self, scope: Scope, owner: str | None = None) -> None:
        """Go on only if the key has this scope, for things of ``owner`` if one is given.

        Raises:
            Unauthenticated: There is no key.
            Forbidden: It does not allow this.
        """
        if self.key is None:
            raise Unauthenticated("this needs an API key")
        if not self.key.scope.includes(scope):
            raise Forbidden(f"this needs a key of scope '{scope.value}'; this one has '{self.key.scope.value}'")
        if owner is not None and not self.owns(owner):
            raise Forbidden(f"this key is for '{self.key.owner}', not for '{owner}'")

    def owns(self, owner: str) -> bool:
        """Whether things of this owner are its to handle."""
        return self.is_admin or (self.key is not None and self.key.owner == owner)

    def may_call(self, app: App) -> bool:
        """Whether it may run predictions of the app."""
        if app.access is Access.PUBLIC or self.owns(app.name.owner):
            return True
        return app.access is Access.SHARED and self.key is not None
