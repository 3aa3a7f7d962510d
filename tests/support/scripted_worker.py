"""Workers whose part a test plays: processes that do nothing, and the other ends of their connections."""

import asyncio
import os
import socket
import subprocess
import uuid
from collections import deque
from pathlib import Path

from drivetrain.environments.environment import Environment
from drivetrain.model.project import EnvironmentSpec, Project, Reference
from drivetrain.serving.launch import LaunchedWorker, WorkerCommand
from drivetrain_worker import protocol


def command_for(root):
    """What a supervisor wants to know of a project, though nothing of it is ever read."""
    project = Project(
        root=root,
        dialect="cog",
        config_file=root / "cog.yaml",
        environment=EnvironmentSpec(root=root),
        predict=Reference(file="predict.py", name="Predictor"),
    )
    return WorkerCommand(project=project, environment=Environment(python=Path(), directory=None, variables={}), environ={})


class ScriptedWorker:
    """One worker.

    Attributes:
        launched: What its server gets.
    """

    def __init__(self):
        self._connection, theirs = socket.socketpair()
        self._connection.setblocking(False)
        log, self._log = os.pipe()
        self._process = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self._decoder = protocol.FrameDecoder()
        self._heard = deque()
        self.launched = LaunchedWorker(process=self._process, connection=theirs, log=log, family=uuid.uuid4().hex)

    def tell(self, kind, **fields):
        """Send a frame."""
        self.send(protocol.encode({"type": kind, **fields}))

    def send(self, data):
        """Send bytes."""
        self._connection.sendall(data)

    async def hear(self, kind):
        """The next frame of a kind; those before it are passed over."""
        while True:
            while self._heard:
                if (frame := self._heard.popleft())["type"] == kind:
                    return frame
            data = await asyncio.get_running_loop().sock_recv(self._connection, 65536)
            assert data, f"the server closed the connection without sending '{kind}'"
            self._heard += self._decoder.feed(data)

    async def begin(self, signature):
        """Load and set up."""
        self.tell("loaded", signature=signature.to_wire())
        await self.hear("setup")
        self.tell("ready")

    def end(self):
        """End the process."""
        self._process.kill()

    def close(self):
        """Let go of what the test holds, once the server has seen the end."""
        self._connection.close()
        os.close(self._log)


class ScriptedWorkers:
    """Implements ``ForkSource`` with workers that the test gets hold of one after the other."""

    records = False

    def __init__(self):
        self._made = asyncio.Queue()
        self._all = []

    async def next(self):
        """The next worker that the supervisor has asked for."""
        return await self._made.get()

    def close(self):
        for worker in self._all:
            worker.close()

    def start(self):
        pass

    def may_fork(self, *, waits):
        return True

    async def fork(self, command, *, limit=None):
        worker = ScriptedWorker()
        self._all.append(worker)
        self._made.put_nowait(worker)
        return worker.launched

    def learn(self, report):
        pass

    def kill(self):
        pass

    async def aclose(self):
        pass
