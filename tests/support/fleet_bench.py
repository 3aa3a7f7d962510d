"""A fleet with real projects, and short ways to use it; shared by the suites of fleets."""

import asyncio
import contextlib
import os
import re
import select
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

from drivetrain.fleets.process import ProcessFleet
from drivetrain.model.prediction import Log, Output, Prediction, PredictionId
from drivetrain.model.project import Mode
from drivetrain.platform.app import AppName
from drivetrain.platform.fleet import (
    BuildOrder,
    Grant,
    Job,
    RunnerId,
    RunnerOrder,
)
from drivetrain.settings import read_settings

APP = AppName("alice", "model")
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

ECHO = """
    from cog import BasePredictor

    class Predictor(BasePredictor):
        def predict(self, text: str = "text") -> str:
            print("seen", text)
            return text[::-1]
"""

STOPPABLE = """
    import os, subprocess, time
    from cog import BasePredictor

    class Predictor(BasePredictor):
        def setup(self):
            self.daemon = subprocess.Popen(["setsid", "sleep", "1000"])
            self.child = subprocess.Popen(["sleep", "1000"])
            print("family", os.getpid(), os.getppid(), self.child.pid, self.daemon.pid, flush=True)

        def predict(self, action: str = "wait") -> str:
            print("began", os.getpid(), flush=True)
            if action == "crash":
                os._exit(3)
            if action == "obstinate":
                while True:
                    try:
                        time.sleep(1000)
                    except BaseException:
                        print("refused", flush=True)
            if action == "wait":
                time.sleep(1000)
            return action
"""


class Bench:
    """A fleet, and short ways to use it."""

    def __init__(self, fleet, directory):
        self.fleet = fleet
        self.directory = directory
        self.text = ""
        self._waiting = []
        self._numbers = 0

    def log(self, text):
        self.text += text
        for condition, future in self._waiting:
            if condition.search(self.text) and not future.done():
                future.set_result(condition.search(self.text))

    async def logged(self, pattern):
        """Wait until the runners' logs, as a whole, match; the match."""
        condition = re.compile(pattern)
        if match := condition.search(self.text):
            return match
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        return await future

    def project(self, source, config=""):
        self._numbers += 1
        root = self.directory / f"project-{self._numbers}"
        root.mkdir()
        (root / "predict.py").write_text(textwrap.dedent(source))
        (root / "cog.yaml").write_text(f'predict: predict.py:Predictor\nbuild:\n  python_version: "{PYTHON}"\n{config}')
        return root

    def order(self, source, **changes):
        self._numbers += 1
        return RunnerOrder(
            **{
                "id": RunnerId(f"runner-{self._numbers}"),
                "app": APP,
                "revision": "revision",
                "source": source,
                "data": self.directory / "data",
                "grant": Grant(),
                "variables": {},
                "files_url": "http://127.0.0.1:9/files/token",
                "concurrency": None,
                "startup_timeout": timedelta(seconds=30),
                "cancel_grace": timedelta(seconds=10),
                **changes,
            }
        )

    async def build(self, source):
        await self.fleet.build(BuildOrder(app=APP, revision="revision", source=source), self.log)

    async def start(self, source, config="", **changes):
        """A runner, not yet ready."""
        root = source if isinstance(source, Path) else self.project(source, config)
        return await self.fleet.start(self.order(root, **changes), self.log)

    async def runner(self, source, config="", **changes):
        """A runner that is ready."""
        runner = await self.start(source, config, **changes)
        await runner.ready()
        return runner


async def run(runner, prediction_id="p", mode=Mode.PREDICT, **inputs):
    """All events of a prediction."""
    return [event async for event in runner.run(Job(id=PredictionId(prediction_id), input=inputs, mode=mode))]


def fold(events):
    """The record that a prediction's events make."""
    prediction = Prediction(id=PredictionId("p"), input={}, created_at=events[0].at if hasattr(events[0], "at") else None)
    for event in events:
        prediction.apply(event)
    return prediction


def value(events):
    (output,) = [event.output.value for event in events if isinstance(event, Output)]
    return output


def is_there(pid):
    """Whether a process lives; one that waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def has_ended(pid, seconds=20):
    """Wait for the end of somebody else's process."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def command_lines():
    """What `ps` shows of everybody."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield file.read_text(errors="replace")


async def began(runner, bench, action, prediction_id="p"):
    """A prediction that is in the model's code, as a task that collects its events."""
    events = []

    async def collect():
        async for event in runner.run(Job(id=PredictionId(prediction_id), input={"action": action})):
            events.append(event)
            if isinstance(event, Log) and "began" in event.data:
                inside.set()
        return events

    inside = asyncio.Event()
    task = asyncio.ensure_future(collect())
    await inside.wait()
    return task


@contextlib.asynccontextmanager
async def process_fleet(directory, cache):
    settings = read_settings({**os.environ, "DRIVETRAIN_CACHE_DIR": str(cache), "PLATFORM_SECRET": "not for models"})
    fleet = ProcessFleet(settings, directory / "runners", data_place=directory / "place")
    await fleet.open()
    try:
        yield fleet
    finally:
        await fleet.aclose()
        assert not list((directory / "runners").iterdir()), "runners left files behind"
