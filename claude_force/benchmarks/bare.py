"""The floor of a call: the same request by `http.client` and nothing else, as a script and from threads.

As a script it takes the address and a file that holds the request's body, and prints the answer's text. It imports
nothing of the package: what the package adds is what is measured against it.
"""

import json
import os
import sys
from http.client import HTTPConnection

HEADERS = {"content-type": "application/json", "anthropic-version": "2023-06-01", "x-api-key": "simulated"}


def connection(url: str) -> HTTPConnection:
    """Return a connection to `url`, which is opened by its first call and kept."""
    host, _, port = url.removeprefix("http://").partition(":")
    return HTTPConnection(host, int(port))


def call(opened: HTTPConnection, body: bytes) -> str:
    """Return the text that the far end streams in answer to `body`."""
    opened.request("POST", "/v1/messages", body, HEADERS)
    answer = opened.getresponse()
    pieces = []
    for line in answer:
        if line.startswith(b"data:"):
            event = json.loads(line[5:])
            if event["type"] == "content_block_delta":
                pieces.append(event["delta"]["text"])
    if answer.status != 200:
        raise OSError(f"the far end answered {answer.status}")
    return "".join(pieces)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as stream:
        sys.stdout.write(call(connection(os.environ["ANTHROPIC_BASE_URL"]), stream.read()) + "\n")
