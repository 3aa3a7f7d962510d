"""Which predictions workers are given, and what is believed of the model."""

import asyncio
import contextlib
from datetime import timedelta

from scripted_worker import ScriptedWorkers, command_for

from drivetrain.model.prediction import Prediction, PredictionId, Status
from drivetrain.model.signature import ANY, STRING, Field, Signature
from drivetrain.serving import frames
from drivetrain.serving.run import Run, now
from drivetrain.serving.supervisor import ModelState, Supervisor, SupervisorHooks, SupervisorOptions

OLD = Signature(inputs=(Field(name="old", type=STRING, required=False),), output=ANY)
NEW = Signature(inputs=(Field(name="new", type=STRING, required=False),), output=ANY)


@contextlib.asynccontextmanager
async def started(root):
    """A supervisor that has asked for its first worker, and where its workers come from."""
    workers = ScriptedWorkers()
    supervisor = Supervisor(command_for(root), SupervisorOptions(), SupervisorHooks(), workers)
    supervisor.start()
    try:
        yield supervisor, workers
    finally:
        await supervisor.stop(timedelta(0))
        workers.close()


def run_of(name, **inputs):
    return Run(Prediction(id=PredictionId(name), input={}, created_at=now()), inputs, "/nowhere")


def test_a_prediction_that_cannot_be_handed_over_fails_and_the_next_one_has_its_turn(tmp_path):
    async def test():
        faults = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(type(context["exception"])))
        async with started(tmp_path) as (supervisor, workers):
            worker = await workers.next()
            await worker.begin(NEW)
            await supervisor.ready()
            first, hopeless, last = run_of("first"), run_of("hopeless", value=object()), run_of("last")
            for run in (first, hopeless, last):
                supervisor.submit(run)
            worker.tell("completed", id=(await worker.hear("predict"))["id"], status="succeeded")
            assert (await worker.hear("predict"))["id"] == "last"
            statuses = [run.prediction.status for run in (first, hopeless, last)]
            assert statuses == [Status.SUCCEEDED, Status.FAILED, Status.PROCESSING]
            assert (supervisor.waiting, supervisor.free_slots, faults) == (0, 0, [TypeError])

    asyncio.run(test())


def test_inputs_beyond_what_a_frame_can_be_fail_their_prediction_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "_LARGEST_BYTES", 2_000_000)

    async def test():
        async with started(tmp_path) as (supervisor, workers):
            worker = await workers.next()
            await worker.begin(NEW)
            await supervisor.ready()
            for run in (huge := run_of("huge", new="x" * 3_000_000), run_of("next")):
                supervisor.submit(run)
            assert huge.prediction.status is Status.FAILED
            assert "the inputs take 3 MB" in huge.prediction.failure.message
            assert (await worker.hear("predict"))["id"] == "next"

    asyncio.run(test())


def test_what_a_worker_said_before_it_heard_of_a_reload_is_not_taken_for_the_new_code(tmp_path):
    async def test():
        async with started(tmp_path) as (supervisor, workers):
            old = await workers.next()
            reloading = asyncio.ensure_future(supervisor.reload())
            await old.hear("stop")
            old.tell("loaded", signature=OLD.to_wire())
            old.tell("ready")
            old.end()
            await reloading
            assert (supervisor.state, supervisor.signature) == (ModelState.STARTING, None)
            await (await workers.next()).begin(NEW)
            await supervisor.ready()
            assert (supervisor.state, supervisor.signature) == (ModelState.READY, NEW)

    asyncio.run(test())
