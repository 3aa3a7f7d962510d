"""What becomes of predictions that never reach a worker."""

import asyncio
import contextlib
from datetime import timedelta

import pytest
from scripted_worker import ScriptedWorkers, command_for

from drivetrain.model.prediction import Status
from drivetrain.model.signature import ANY, PATH, Field, Signature
from drivetrain.serving.server import ModelServer, PredictionRequest, ServerOptions
from drivetrain.serving.supervisor import Supervisor, SupervisorHooks, SupervisorOptions

SIGNATURE = Signature(inputs=(Field(name="image", type=PATH, required=False),), output=ANY)


class EndlessDownloads:
    """Input files that never come."""

    def __init__(self):
        self.begun = asyncio.Event()

    async def fetch(self, _places, _directory):
        self.begun.set()
        await asyncio.Event().wait()

    async def aclose(self):
        pass


@contextlib.asynccontextmanager
async def ready(root, input_files):
    workers = ScriptedWorkers()
    supervisor = Supervisor(command_for(root), SupervisorOptions(), SupervisorHooks(), workers)
    options = ServerOptions(shutdown_grace=timedelta(hours=1), temporary=str(root))
    server = ModelServer(supervisor, options, input_files)
    server.start()
    try:
        await (await workers.next()).begin(SIGNATURE)
        await supervisor.ready()
        yield server
    finally:
        server.hurry()
        await server.stop()
        server.discard_files()
        workers.close()


def test_a_prediction_that_its_asker_cannot_follow_has_failed_and_takes_no_slot(tmp_path):
    async def test():
        async with ready(tmp_path, EndlessDownloads()) as server:
            with pytest.raises(ZeroDivisionError):
                server.create(PredictionRequest(id="a", input={}), accepted=lambda _run: 1 / 0)
            assert (server.under_way, server.get("a").prediction.status) == (0, Status.FAILED)

    asyncio.run(test())


def test_who_is_in_a_hurry_waits_for_no_download(tmp_path):
    async def test():
        downloads = EndlessDownloads()
        async with ready(tmp_path, downloads) as server:
            run = server.create(PredictionRequest(id="a", input={"image": "https://example.com/a"}))
            await downloads.begun.wait()
            stopping = asyncio.ensure_future(server.stop())
            server.hurry()
            assert (run.prediction.status, run.prediction.failure.worker_lost) == (Status.FAILED, True)
            await stopping

    asyncio.run(test())
