"""Where older releases kept ``current_scope``."""

from __future__ import annotations

from cog._scope import Scope as Scope
from cog._scope import current_scope as current_scope
