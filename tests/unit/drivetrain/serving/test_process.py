"""A worker process that the server ends says why."""

import asyncio
import struct

import pytest
from scripted_worker import ScriptedWorker

from drivetrain.serving.frames import Predict
from drivetrain.serving.process import WorkerProcess
from drivetrain_worker import protocol


class Listener:
    """Cannot cope with any frame."""

    ending = ""

    def frame_received(self, frame):
        raise ZeroDivisionError

    def log_received(self, log):
        pass

    def process_ended(self, ending):
        self.ending = ending


@pytest.mark.parametrize(
    ("sent", "ending"),
    [
        (protocol.encode({"type": "ready"}), "was ended because the server has a fault (its log says more)"),
        (struct.pack(">I", 1) + b"{", "sent what the server cannot read"),
    ],
    ids=["frame", "nonsense"],
)
def test_a_worker_that_is_ended_for_a_frame_is_not_said_to_have_been_killed(sent, ending):
    async def test():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        worker, listener = ScriptedWorker(), Listener()
        process = WorkerProcess(worker.launched, listener, loop)
        worker.send(sent)
        await process.ended
        worker.close()
        assert listener.ending == ending

    asyncio.run(test())


def test_what_comes_after_the_end_is_written_nowhere(tmp_path):
    large = Predict(id="p", input={"text": "x" * 100_000}, directory="/")

    async def test():
        worker = ScriptedWorker()
        process = WorkerProcess(worker.launched, Listener(), asyncio.get_running_loop())
        process.send(large, at_once=True)
        worker.end()
        await process.ended
        worker.close()
        files = [(tmp_path / str(number)).open("wb") for number in range(8)]  # they get the descriptors that have become free
        process.send(large, at_once=True)
        for file in files:
            file.close()

    asyncio.run(test())
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {0}
