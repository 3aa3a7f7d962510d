"""Templates that a platform keeps for servers in other processes."""

import asyncio
import contextlib
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from drivetrain.environments.environment import Environment
from drivetrain.model.project import EnvironmentSpec, Mode, Project, Reference
from drivetrain.serving.launch import WorkerCommand
from drivetrain.serving.supervisor import ModelState, Supervisor, SupervisorHooks, SupervisorOptions
from drivetrain.serving.template_fork import Door
from drivetrain.serving.template_keeper import DoorSource, TemplateKeeper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="templates are for Linux")

SOURCE = """
import os
import colorsys  # of all that Python brings, what nobody else imports

class Predictor:
    def setup(self):
        print("parent", os.getppid(), flush=True)
    def predict(self) -> int:
        return os.getppid()
"""

MARK = "DRIVETRAIN_LIFELINE"


@pytest.fixture
def command(tmp_path):
    """How to start workers of a project; each call is another project."""
    made = []

    def make():
        root = tmp_path / f"project-{len(made)}"
        root.mkdir()
        (root / "predict.py").write_text(SOURCE)
        (root / "cog.yaml").write_text("")
        project = Project(
            root=root,
            dialect="cog",
            config_file=root / "cog.yaml",
            environment=EnvironmentSpec(root=root),
            predict=Reference(file="predict.py", name="Predictor"),
        )
        environment = Environment(python=Path(sys.executable), directory=None, variables={})
        made.append(root)
        return WorkerCommand(project=project, environment=environment, environ={"PATH": os.environ["PATH"]}, mode=Mode.PREDICT)

    return make


@contextlib.asynccontextmanager
async def served(command, source):
    """A supervisor as a runner's process has it; the parent of its worker."""
    said = []
    supervisor = Supervisor(command, SupervisorOptions(), SupervisorHooks(log=lambda log: said.append(log.data)), source)
    supervisor.start()
    try:
        await supervisor.ready()
        assert supervisor.state is ModelState.READY, said
        yield int("".join(said).split("parent ")[1].split()[0])
    finally:
        await supervisor.stop(timedelta(seconds=5))


async def learnt(command, directory):
    async with served(command, DoorSource(None, command, directory, tell=lambda _text: None)) as parent:
        assert parent == os.getpid()
        await until(lambda: list(directory.glob("*.json")))


async def until(predicate):
    while not predicate():  # noqa: ASYNC110 (it is about another process)
        await asyncio.sleep(0.01)


async def door_of(keeper, command):
    while (door := await keeper.door(command)) is None:  # noqa: ASYNC110 (as above)
        await asyncio.sleep(0.01)
    return door


def test_a_project_has_a_door_once_a_server_has_learnt_what_it_imports(command, tmp_path):
    async def scenario():
        one, directory = command(), tmp_path / "imports"
        keeper = TemplateKeeper(directory)
        assert await keeper.door(one) is None
        await learnt(one, directory)
        door = await door_of(keeper, one)
        async with served(one, DoorSource(door, one, directory, tell=pytest.fail)) as parent:
            assert parent != os.getpid()
        await keeper.aclose()
        await keeper.aclose()

    asyncio.run(scenario())


def test_a_door_that_leads_nowhere_is_told_and_the_worker_started(command, tmp_path):
    async def scenario():
        one, directory, told = command(), tmp_path / "imports", []
        keeper = TemplateKeeper(directory)
        await learnt(one, directory)
        door = await door_of(keeper, one)
        await keeper.aclose()
        async with served(one, DoorSource(door, one, directory, tell=told.append)) as parent:
            assert parent == os.getpid()
        assert "the template did not fork it" in told[0]

    asyncio.run(scenario())


def test_there_are_as_many_templates_as_may_be_and_none_that_nobody_asks_for(command, tmp_path):
    async def scenario():
        keeper = TemplateKeeper(tmp_path / "imports", limit=2, idle=timedelta(seconds=0.2))
        for _ in range(4):
            await keeper.door(command())
        assert len(keeper) == 2
        await until(lambda: len(keeper) == 0)
        await keeper.aclose()

    asyncio.run(scenario())


def test_a_fork_carries_the_marks_of_the_server_that_asked_for_it(command, tmp_path):
    async def scenario():
        one, directory = command(), tmp_path / "imports"
        keeper = TemplateKeeper(directory, marks=(MARK,))
        await learnt(one, directory)
        door = Door(await door_of(keeper, one))
        marked = WorkerCommand(
            project=one.project, environment=one.environment, environ=one.environ, mode=one.mode, variables={MARK: "fleet-7"}
        )
        worker = await asyncio.to_thread(door.fork, marked)
        process = Path(f"/proc/{worker.process.pid}")
        assert f"{MARK}=fleet-7" in (process / "environ").read_text().split("\0")
        worker.discard()
        await until(lambda: not process.exists())
        door.close()
        await keeper.aclose()

    asyncio.run(scenario())
