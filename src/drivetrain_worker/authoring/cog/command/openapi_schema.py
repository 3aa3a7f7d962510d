"""``python -m cog.command.openapi_schema`` printed the OpenAPI document in older releases; here the model server makes it."""

from __future__ import annotations

import sys


def main() -> None:
    """Say where the document is, and fail, so that no script takes the sentence for the document."""
    sys.exit("the OpenAPI document is made by drivetrain's model server; get it from '/openapi.json' of the running server")


if __name__ == "__main__":
    main()
