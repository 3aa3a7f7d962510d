"""What can go wrong with images, beside what can go wrong everywhere."""

from __future__ import annotations

from drivetrain.model.errors import BadRequest, OutsideFailed


class ImageNotFound(BadRequest, LookupError):  # noqa: N818 (named for what happened, like its family)
    """There is no such image, here or in the registry."""

    code = "image_not_found"


class AccessDenied(BadRequest):
    """A registry does not let this user do it."""

    code = "access_denied"


class Damaged(OutsideFailed, ValueError):  # noqa: N818 (see above)
    """Content is not what its digest, its size or its form promised."""

    code = "image_damaged"
