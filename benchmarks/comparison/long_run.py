"""Full load for a long time: do memory, descriptors, threads or latencies grow?"""

from __future__ import annotations

import os
import time

import process_tree
from load import wrk
from running import running
from systems import DRIVETRAIN

_CLIENTS = 32
_SLICE_SECONDS = 30.0


def run(*, minutes: float) -> None:
    """Print a table, a line for each slice of the time."""
    until = time.monotonic() + minutes * 60
    print("| minute | per second | p50 ms | p99 ms | failed | resident MB | descriptors | threads |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with running(DRIVETRAIN, "trivial", 2 * _CLIENTS) as server:
        began = time.monotonic()
        while (left := until - time.monotonic()) > 0:
            load = wrk(server.port, server.request, clients=_CLIENTS, seconds=max(1.0, min(_SLICE_SECONDS, left)))
            descriptors, threads = process_tree.handles(server.process)
            resident = process_tree.memory(server.process).resident
            os.truncate(server.log, 0)  # a line for each prediction: gigabytes in an hour
            minute = (time.monotonic() - began) / 60
            print(
                f"| {minute:.1f} | {load.per_second:,.0f} | {load.p50:.2f} | {load.p99:.2f} | {load.failed} "
                f"| {resident:.1f} | {descriptors} | {threads} |",
                flush=True,
            )
