"""A local server that speaks the Messages API, for tests, the demo and trying things without a key.

`Simulator` answers in background threads, `serve_forever` until Ctrl-C. What it does is set by a `Behaviour`, by faults
given to `Simulator.script`, and by markers in the prompt (`markers`). Every answer says that it is simulated. The room
knows the API's wire format and nothing of the package's own requests, models or prices: it is the far end, so it must
not share a mistake with what it tests.
"""

from __future__ import annotations

from .behaviour import FAULTS, Behaviour, Fault, Latency, parse_latency
from .record import Received
from .server import Simulator, serve_forever

__all__ = ["Simulator", "Behaviour", "FAULTS", "Fault", "Latency", "Received", "parse_latency", "serve_forever"]
