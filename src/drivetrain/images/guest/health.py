"""Ask the server in this container how its model is. Exit status 0 while it can predict, 1 otherwise."""

from __future__ import annotations

import http.client
import json
import os
import sys

_WELL = ("READY", "BUSY")


def main() -> int:
    """The exit status."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 5000), timeout=8)
    try:
        connection.request("GET", "/health-check")
        status = json.loads(connection.getresponse().read()).get("status")
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
        status = f"no answer: {error}"
    finally:
        connection.close()
    print(status)
    return 0 if status in _WELL else 1


if __name__ == "__main__":
    sys.exit(main())
