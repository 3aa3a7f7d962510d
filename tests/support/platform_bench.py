"""A fleet whose runners do what the test says, and what else a platform under test needs."""

import asyncio
import tarfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from io import BytesIO

from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.model.prediction import Completed, Output, OutputValue, Started, Status
from drivetrain.model.signature import INTEGER, PATH, SECRET, STRING, Field, IteratorOf, OptionalOf, Signature
from drivetrain.platform.access import Caller
from drivetrain.platform.app import AppName
from drivetrain.platform.deploy_event import Deployed, DeployOrder
from drivetrain.platform.fleet import Capacity, Ending, Ready, RunnerLost, SetupFailed
from drivetrain.platform.key import ApiKey, Scope

MODEL = Signature(
    inputs=(
        Field(name="text", type=STRING, required=True),
        Field(name="count", type=INTEGER, required=False, default=1, ge=1, le=10),
        Field(name="image", type=OptionalOf(PATH), required=False),
        Field(name="token", type=OptionalOf(SECRET), required=False),
    ),
    output=STRING,
)

STREAMING = Signature(inputs=MODEL.inputs, output=IteratorOf(STRING))


async def until(condition, what="it"):
    """Wait until something of the platform's loops has happened."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{what} did not happen")


class TurnedClock:
    """A clock that runs, and that a test may set."""

    def __init__(self):
        self.ahead = timedelta(0)

    def now(self):
        return datetime.now(timezone.utc) + self.ahead

    def steady(self):
        return datetime.now(timezone.utc)

    def monotonic(self):
        return asyncio.get_running_loop().time()


async def answer(runner, job):
    """What a runner does unless told otherwise: gives the text back."""
    yield Started(at=runner.now())
    yield Output(output=OutputValue(value=job.input["text"]))
    yield Completed(status=Status.SUCCEEDED, at=runner.now())


class FakeRunner:
    """A runner in this process. ``behaviour(runner, job)`` gives a prediction's events."""

    def __init__(self, order, fleet):
        self.order = order
        self.fleet = fleet
        self.id = order.id
        self.ended = asyncio.get_running_loop().create_future()
        self.jobs = []
        self.canceled = {}
        self.now = fleet.clock.now

    async def ready(self):
        await self.fleet.may_be_ready.wait()
        if self.fleet.setup_failure:
            self.end(was_asked=False, description="ended")
            raise SetupFailed(self.fleet.setup_failure)
        if self.ended.done():
            raise SetupFailed("the runner was stopped")
        signature = self.fleet.signature
        return Ready(
            schema=openapi_document(signature, None, version="1"),
            concurrency=self.fleet.concurrency,
            signature=signature,
            train_signature=self.fleet.train_signature,
        )

    async def run(self, job):
        self.jobs.append(job)
        cancel = self.canceled[job.id] = asyncio.Event()
        events = self.fleet.behaviour(self, job)
        while True:
            step = asyncio.ensure_future(anext(events))
            waits = {step, canceling := asyncio.ensure_future(cancel.wait()), self.ended}
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                canceling.cancel()
            if self.ended.done():
                step.cancel()
                raise RunnerLost(f"the runner {self.ended.result().description}")
            if cancel.is_set():
                step.cancel()
                yield Completed(status=Status.CANCELED, at=self.now())
                return
            event = step.result()
            yield event
            if isinstance(event, Completed):
                return

    async def cancel(self, prediction_id):
        if prediction_id in self.canceled:
            self.canceled[prediction_id].set()

    async def stop(self, grace):
        self.end(was_asked=True, description="was stopped")

    async def kill(self):
        self.end(was_asked=True, description="was killed")

    def end(self, *, was_asked, description):
        if not self.ended.done():
            self.ended.set_result(Ending(was_asked=was_asked, description=description))
            self.fleet.runners.remove(self)


@dataclass
class FakeFleet:
    """Starts runners in this process."""

    clock: TurnedClock
    capacity: Capacity = field(default_factory=lambda: Capacity(gpus=("0", "1"), memory=16 * 1024**3, cpus=4))
    signature: Signature = MODEL
    train_signature: Signature | None = None
    concurrency: int = 1
    behaviour: object = answer
    setup_failure: str = ""
    build_failure: Exception | None = None
    runners: list = field(default_factory=list)
    started: int = 0
    orders: list = field(default_factory=list)
    may_be_ready: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self):
        self.may_be_ready.set()

    async def build(self, order, log):
        log("building\n")
        if self.build_failure:
            raise self.build_failure

    async def start(self, order, log):
        self.started += 1
        self.orders.append(order)
        runner = FakeRunner(order, self)
        self.runners.append(runner)
        log("starting\n")
        return runner

    async def aclose(self):
        for runner in list(self.runners):
            await runner.kill()


def packed_project(**files):
    """A project's archive."""
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in {"cog.yaml": "predict: predict.py:Predictor\n", "predict.py": "# 1\n", **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, BytesIO(text.encode()))
    return packed.getvalue()


async def chunks(content):
    yield content


ROOT = Caller(
    key=ApiKey(
        id="root", digest="0" * 64, owner="acme", scope=Scope.ADMIN, name="root", hint="root", created_at=datetime.now(timezone.utc)
    )
)


@dataclass
class Bench:
    """A platform under test, its fleet and its clock."""

    platform: object
    fleet: FakeFleet
    clock: TurnedClock
    parts: object

    async def deploy(self, name="acme/echo", files=None, **order):
        """Deploy a project; its revision."""
        archive = chunks(packed_project(**(files or {})))
        async for event in self.platform.deploy(ROOT, DeployOrder(app=AppName.parse(name), **order), archive):
            if isinstance(event, Deployed):
                return event.revision
        raise AssertionError("it did not end")
