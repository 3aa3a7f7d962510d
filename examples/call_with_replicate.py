"""Call the painting model on a platform with Replicate's own Python client, as if it were on replicate.com.

    REPLICATE_BASE_URL=http://127.0.0.1:8700 REPLICATE_API_TOKEN=dt_… python call_with_replicate.py MODEL PICTURE OUTPUT

Only these two variables say where the model is: the code would be the same there.
"""

import sys
import urllib.request
from pathlib import Path

import replicate


def main(model: str, picture: str, output: str) -> None:
    with Path(picture).open("rb") as image:
        result = replicate.run(model, input={"image": image, "brush": 12})
    # The client makes file objects of links that begin with https:, and leaves those of a platform without TLS as they are.
    content = urllib.request.urlopen(result).read() if isinstance(result, str) else result.read()
    Path(output).write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
