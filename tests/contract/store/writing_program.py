"""Accepts, claims, releases, cancels and completes predictions as fast as it can, and says what it was told has happened.

python writing_program.py MODULE PLACE
"""

import asyncio
import importlib
import os
import random
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from drivetrain.model.prediction import Completed, Started, Status
from drivetrain.platform.app import AppName
from drivetrain.platform.queue import CancelResult, Claimant, Outcome, Submission, WebhookOrder

REVISION = "a" * 64
WEBHOOK = WebhookOrder(url="http://receiver/", events=frozenset({"completed"}), gateway="replicate")


async def main(module, place):
    store = await importlib.import_module(module).open_store(Path(place))
    await asyncio.gather(*(work(store.queue) for _ in range(16)))


async def work(queue):
    while True:
        now = datetime.now(timezone.utc)
        submission = Submission(
            id=f"{random.getrandbits(120):030x}",
            app=AppName("alice", "hotdog"),
            revision=REVISION,
            created_at=now,
            input={"text": "hello" * random.randrange(500)},
            webhook=WEBHOOK,
        )
        await queue.submit(submission, queue_limit=10**9)
        tell("accepted", submission.id)
        if random.random() < 0.1 and await queue.cancel(submission.id, now=now) is CancelResult.CANCELED:
            tell("canceled", submission.id)
        claimant = Claimant(runner="runner", lease_until=now + timedelta(hours=1))
        for claim in await queue.claim(REVISION, claimant, limit=random.choice([1, 1, 3]), now=now):
            if random.random() < 0.1:
                await queue.release(claim.token, not_before=now, note="Again.")
                continue
            if random.random() < 0.1:
                continue  # left claimed
            events = (Started(at=now), Completed(status=Status.SUCCEEDED, at=now))
            outcome = Outcome(status=Status.SUCCEEDED, completed_at=now, started_at=now, events=events)
            if await queue.complete(claim.token, outcome):
                tell("succeeded", claim.record.submission.id)


def tell(what, prediction_id):
    # One write each: what is told before the end is told whole.
    os.write(1, f"{what} {prediction_id}\n".encode())


asyncio.run(main(*sys.argv[1:]))
