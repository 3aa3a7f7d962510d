"""The platform's use cases, with runners that do what the test says."""

import asyncio
from datetime import timedelta
from types import MappingProxyType

import pytest
from msgspec import structs
from platform_bench import MODEL, ROOT, STREAMING, chunks, packed_project, until

from drivetrain.model.errors import BadRequest
from drivetrain.model.inputs import InvalidInputs
from drivetrain.model.prediction import Completed, Failure, Log, Output, OutputValue, PredictionId, Source, Started, Status
from drivetrain.platform.access import Caller, Forbidden, NotFound, Unauthenticated
from drivetrain.platform.app import Access, App, AppName, RevisionState
from drivetrain.platform.deploy_event import DeployOrder, Step, StepBegun, Strategy
from drivetrain.platform.deploying import BreaksClients
from drivetrain.platform.files import QuotaExceeded
from drivetrain.platform.fleet import Answer, RunnerRefused, SetupFailed
from drivetrain.platform.key import Scope
from drivetrain.platform.limits import LimitExceeded
from drivetrain.platform.platform import AppChange
from drivetrain.platform.queue import KeyReused, PredictionQuery, Priority, QueueFull, Submission
from drivetrain.platform.submission import NotDeployed, PredictionRequest
from drivetrain.stores.failure import DiskFull

ECHO = AppName("acme", "echo")
LONG = timedelta(seconds=20)
LARGE = "data:image/png;base64," + "aGVsbG8h" * 20_000
SECOND = MappingProxyType({"predict.py": "# 2\n"})


def request(text="hello", **settings):
    return PredictionRequest(**{"app": ECHO, "input": {"text": text}, **settings})


async def files(it):
    """What is stored of the owner's."""
    return await it.platform.files.find(owner="acme")


async def limited(it, **limits):
    """Somebody whose key has limits."""
    _, text = await it.platform.add_key(ROOT, owner="acme", scope=Scope.CALL, name="limited", **limits)
    return await it.platform.authenticate(text)


async def spelling(runner, job):
    """A model that gives the letters of its text."""
    yield Started(at=runner.now())
    for letter in job.input["text"]:
        yield Output(output=OutputValue(value=letter))
    yield Completed(status=Status.SUCCEEDED, at=runner.now())


def blocking(gate):
    """A model that waits for the gate before it answers."""

    async def behaviour(runner, job):
        yield Started(at=runner.now())
        await gate.wait()
        yield Output(output=OutputValue(value=job.input["text"]))
        yield Completed(status=Status.SUCCEEDED, at=runner.now())

    return behaviour


def test_a_prediction_is_answered(bench):
    async def test(it):
        await it.deploy()
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert (view.status, view.output, view.attempt) == (Status.SUCCEEDED, "hello", 1)
        assert await it.platform.prediction(ROOT, view.id) == view

    bench(test)


def test_a_prediction_that_is_not_waited_for_is_found_later(bench):
    async def test(it):
        await it.deploy()
        accepted = await it.platform.predict(ROOT, request())
        assert not accepted.status.is_terminal
        ended = await it.platform.wait(ROOT, accepted.id, LONG)
        assert ended.output == "hello"

    bench(test)


def test_what_was_accepted_outlives_the_platform(bench):
    gate = asyncio.Event()

    async def first(it):
        await it.deploy()
        it.fleet.behaviour = blocking(gate)
        running = await it.platform.predict(ROOT, request("one"))
        waiting = await it.platform.predict(ROOT, request("two"))
        await until(lambda: any(runner.jobs for runner in it.fleet.runners))
        return running.id, waiting.id

    async def second(it):
        views = [await it.platform.wait(ROOT, each, LONG) for each in ids]
        assert [view.output for view in views] == ["one", "two"]
        assert views[0].attempt == 2
        assert "given up" in views[0].logs or "cut off" in views[0].logs

    ids = bench(first, options={"stop_grace": timedelta(0)})
    bench(second)


def test_inputs_are_checked_before_anything_is_accepted(bench):
    async def test(it):
        await it.deploy()
        with pytest.raises(InvalidInputs, match="count"):
            await it.platform.predict(ROOT, request(input={"text": "x", "count": 11}))
        assert await it.platform.predictions(ROOT, PredictionQuery()) == []

    bench(test)


def test_an_app_without_a_revision_says_so(bench):
    async def test(it):
        it.fleet.setup_failure = "no weights"
        with pytest.raises(SetupFailed, match="no weights"):
            await it.deploy()
        with pytest.raises(NotDeployed):
            await it.platform.predict(ROOT, request())

    bench(test)


def test_a_secret_input_is_masked_everywhere_but_in_the_model(bench):
    async def test(it):
        await it.deploy()
        view = await it.platform.predict(ROOT, request(input={"text": "x", "token": "hunter2"}), wait=LONG)
        assert "hunter2" not in repr(view)
        jobs = [job for runner in it.fleet.runners for job in runner.jobs]
        assert jobs[0].input["token"] == "hunter2"

    bench(test)


def test_a_large_data_url_becomes_a_file_that_the_runner_reads_below_its_own_url(bench):
    async def test(it):
        await it.deploy()
        view = await it.platform.predict(ROOT, request(input={"text": "x", "image": LARGE}), wait=LONG)
        assert view.submission.input["image"].startswith("drivetrain://files/")
        runner = it.fleet.runners[0]
        assert runner.jobs[0].input["image"].startswith(runner.order.files_url + "/files/")

    bench(test)


def test_the_same_idempotency_key_is_the_same_prediction(bench):
    async def test(it):
        await it.deploy()
        first = await it.platform.predict(ROOT, request(idempotency_key="k", fingerprint="f"), wait=LONG)
        again = await it.platform.predict(ROOT, request(idempotency_key="k", fingerprint="f"), wait=LONG)
        assert again == first
        with pytest.raises(KeyReused):
            await it.platform.predict(ROOT, request(idempotency_key="k", fingerprint="other"))

    bench(test)


def test_who_asks_again_is_told_though_the_key_has_reached_its_limit(bench):
    gate = asyncio.Event()

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = blocking(gate)
        caller = await limited(it, concurrency=1, requests_per_minute=1)
        first = await it.platform.predict(caller, request(idempotency_key="k", fingerprint="f"))
        again = await it.platform.predict(caller, request(idempotency_key="k", fingerprint="f"))
        assert again.id == first.id
        with pytest.raises(LimitExceeded):
            await it.platform.predict(caller, request(idempotency_key="other", fingerprint="f"))
        gate.set()

    bench(test)


def test_the_same_idempotency_key_twice_at_once_stores_the_files_once(bench):
    async def test(it):
        await it.deploy()
        asked = request(input={"text": "x", "image": LARGE}, idempotency_key="k", fingerprint="f")
        one, other = await asyncio.gather(*(it.platform.predict(ROOT, asked, wait=LONG) for _ in range(2)))
        assert one.id == other.id
        assert [file.reference for file in await files(it)] == [one.submission.input["image"]]

    bench(test)


def test_what_is_refused_leaves_no_files(bench):
    gate = asyncio.Event()

    async def test(it):
        await it.deploy(scaling={"queue_limit": 1})
        it.fleet.behaviour = blocking(gate)
        caller = await limited(it, concurrency=2)
        await it.platform.predict(caller, request(idempotency_key="k", fingerprint="f"))
        await until(lambda: it.parts.dispatcher.under_way == 1)
        await it.platform.predict(caller, request())
        large = {"text": "x", "image": LARGE}
        with pytest.raises(QueueFull):
            await it.platform.predict(ROOT, request(input=large))
        with pytest.raises(LimitExceeded):
            await it.platform.predict(caller, request(input=large))
        with pytest.raises(KeyReused):
            await it.platform.predict(caller, request(input=large, idempotency_key="k", fingerprint="other"))
        assert await files(it) == []
        gate.set()

    bench(test)


def test_of_files_that_do_not_all_fit_none_stays(bench):
    mask = structs.replace(MODEL.inputs[2], name="mask")

    async def test(it):
        await it.deploy()
        with pytest.raises(QuotaExceeded):
            await it.platform.predict(ROOT, request(input={"text": "x", "image": LARGE, "mask": LARGE}))
        assert await files(it) == []

    bench(test, signature=structs.replace(MODEL, inputs=(*MODEL.inputs, mask)), options={"quota_bytes": 200_000})


def test_a_key_has_no_more_under_way_than_it_may(bench):
    gate = asyncio.Event()

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = blocking(gate)
        caller = await limited(it, concurrency=2)
        asked = [it.platform.predict(caller, request()) for _ in range(10)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        accepted = [result for result in results if not isinstance(result, LimitExceeded)]
        assert len(accepted) == 2
        gate.set()
        for view in accepted:
            await it.platform.wait(caller, view.id, LONG)
        assert (await it.platform.predict(caller, request(), wait=LONG)).status is Status.SUCCEEDED

    bench(test)


def test_what_is_refused_does_not_count_for_its_key(bench):
    async def test(it):
        await it.deploy()
        caller = await limited(it, concurrency=1, requests_per_minute=1)
        with pytest.raises(InvalidInputs):
            await it.platform.predict(caller, request(input={}))
        assert (await it.platform.predict(caller, request(), wait=LONG)).status is Status.SUCCEEDED

    bench(test)


def test_what_waited_for_an_app_that_is_gone_does_not_count_for_its_key(bench):
    async def test(it):
        await it.deploy()
        it.fleet.behaviour = blocking(asyncio.Event())
        caller = await limited(it, concurrency=3)
        for _ in range(3):
            await it.platform.predict(caller, request())
        await it.platform.remove_app(ROOT, ECHO)
        await it.deploy()
        for _ in range(3):
            await it.platform.predict(caller, request())

    bench(test, options={"stop_grace": timedelta(0)})


def test_a_full_queue_refuses(bench):
    gate = asyncio.Event()

    async def test(it):
        await it.deploy(scaling={"queue_limit": 1})
        it.fleet.behaviour = blocking(gate)
        await it.platform.predict(ROOT, request())
        await until(lambda: it.parts.dispatcher.under_way == 1)
        await it.platform.predict(ROOT, request())
        with pytest.raises(QueueFull):
            await it.platform.predict(ROOT, request())
        gate.set()

    bench(test)


def test_priority_and_order(bench):
    gate = asyncio.Event()

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = blocking(gate)
        first = await it.platform.predict(ROOT, request("first"))
        await until(lambda: it.parts.dispatcher.under_way == 1)
        low = await it.platform.predict(ROOT, request("low", priority=Priority.LOW))
        normal = await it.platform.predict(ROOT, request("normal"))
        assert await it.platform.position(ROOT, normal.id) == 0
        assert await it.platform.position(ROOT, low.id) == 1
        gate.set()
        for view in (first, low, normal):
            await it.platform.wait(ROOT, view.id, LONG)
        texts = [job.input["text"] for job in it.fleet.runners[0].jobs]
        assert texts == ["first", "normal", "low"]

    bench(test)


def test_cancel_while_it_waits(bench):
    gate = asyncio.Event()

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = blocking(gate)
        await it.platform.predict(ROOT, request())
        await until(lambda: it.parts.dispatcher.under_way == 1)
        waiting = await it.platform.predict(ROOT, request("never"))
        waiter = asyncio.ensure_future(it.platform.wait(ROOT, waiting.id, LONG))
        assert (await it.platform.cancel(ROOT, waiting.id)).status is Status.CANCELED
        assert (await waiter).status is Status.CANCELED
        gate.set()
        await it.platform.predict(ROOT, request(), wait=LONG)
        assert "never" not in [job.input["text"] for job in it.fleet.runners[0].jobs]

    bench(test)


def test_cancel_while_it_runs(bench):
    async def test(it):
        await it.deploy()
        it.fleet.behaviour = blocking(asyncio.Event())
        view = await it.platform.predict(ROOT, request())
        await until(lambda: it.parts.dispatcher.under_way == 1)
        await it.platform.cancel(ROOT, view.id)
        assert (await it.platform.wait(ROOT, view.id, LONG)).status is Status.CANCELED
        await it.platform.cancel(ROOT, view.id)  # what has ended stays as it is

    bench(test)


def test_a_deadline_cancels_wherever_it_is(bench):
    async def test(it):
        await it.deploy()
        it.fleet.behaviour = blocking(asyncio.Event())
        running = await it.platform.predict(ROOT, request(cancel_after=timedelta(seconds=0.3)))
        waiting = await it.platform.predict(ROOT, request(cancel_after=timedelta(seconds=0.3)))
        for view in (running, waiting):
            assert (await it.platform.wait(ROOT, view.id, LONG)).status is Status.CANCELED

    bench(test)


def test_a_lost_runner_costs_an_attempt_and_not_the_prediction(bench):
    attempts = []

    async def behaviour(runner, job):
        attempts.append(job.id)
        yield Started(at=runner.now())
        if len(attempts) == 1:
            yield Output(output=OutputValue(value="half"))
            runner.end(was_asked=False, description="was killed by signal 9")
            await asyncio.sleep(60)
        yield Output(output=OutputValue(value="whole"))
        yield Completed(status=Status.SUCCEEDED, at=runner.now())

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = behaviour
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert (view.status, view.output, view.attempt) == (Status.SUCCEEDED, "whole", 2)
        assert "Attempt 1 was given up" in view.logs
        assert "signal 9" in view.logs

    bench(test)


def test_a_poison_prediction_fails_after_its_attempts(bench):
    async def behaviour(runner, job):
        yield Started(at=runner.now())
        runner.end(was_asked=False, description="was killed by signal 11")
        await asyncio.sleep(60)

    async def test(it):
        await it.deploy(scaling={"max_attempts": 2})
        it.fleet.behaviour = behaviour
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert view.status is Status.FAILED
        assert view.attempt == 2
        assert "signal 11" in view.failure.message

    bench(test)


def test_a_busy_runner_costs_nothing(bench):
    asked = []

    async def behaviour(runner, job):
        asked.append(job.id)
        if len(asked) == 1:
            raise RunnerRefused(Answer.BUSY, "no slot")
        yield Started(at=runner.now())
        yield Completed(status=Status.SUCCEEDED, at=runner.now())

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = behaviour
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert (view.status, view.attempt, view.history) == (Status.SUCCEEDED, 1, ())

    bench(test)


def test_a_failing_model_is_not_run_again(bench):
    async def behaviour(runner, job):
        yield Started(at=runner.now())
        yield Completed(status=Status.FAILED, at=runner.now(), failure=Failure(message="ValueError: no"))

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = behaviour
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert (view.status, view.attempt, view.failure.message) == (Status.FAILED, 1, "ValueError: no")

    bench(test)


def test_what_takes_too_long_is_given_up(bench):
    async def test(it):
        await it.deploy(scaling={"request_timeout": timedelta(seconds=0.2), "max_attempts": 1})
        it.fleet.behaviour = blocking(asyncio.Event())
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert view.status is Status.FAILED
        assert "longer than 0.2 seconds" in view.failure.message

    bench(test)


def test_events_are_followed_live_and_replayed_later(bench):
    gate = asyncio.Event()

    async def behaviour(runner, job):
        yield Started(at=runner.now())
        yield Log(source=Source.STDOUT, data="working\n")
        yield Output(output=OutputValue(value="a"))
        await gate.wait()
        yield Output(output=OutputValue(value="b"))
        yield Completed(status=Status.SUCCEEDED, at=runner.now())

    async def collect(it, prediction_id, **settings):
        events = []
        async for batch in it.platform.follow(ROOT, prediction_id, **settings):
            events += batch
            if any(isinstance(each.event, Output) for each in batch):
                gate.set()
        return events

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = behaviour
        view = await it.platform.predict(ROOT, request())
        live = await collect(it, view.id)
        assert [type(each.event).__name__ for each in live] == ["Started", "Log", "Output", "Output", "Completed"]
        assert await collect(it, view.id) == live
        assert await collect(it, view.id, after=(1, 2)) == live[3:]

    bench(test, signature=STREAMING)


def test_from_zero_and_back(bench):
    async def test(it):
        await it.deploy(scaling={"keep_alive": timedelta(seconds=0.2)})
        await it.platform.predict(ROOT, request(), wait=LONG)
        await until(lambda: not it.fleet.runners, "scaling to zero")
        assert (await it.platform.predict(ROOT, request(), wait=LONG)).output == "hello"
        assert it.fleet.started == 2

    bench(test)


def test_more_runners_for_more_requests_and_never_more_than_the_most(bench):
    gate = asyncio.Event()

    async def test(it):
        await it.deploy(scaling={"max_runners": 3})
        it.fleet.behaviour = blocking(gate)
        views = [await it.platform.predict(ROOT, request(str(number))) for number in range(8)]
        await until(lambda: it.parts.dispatcher.under_way == 3)
        assert len(it.fleet.runners) == 3
        gate.set()
        for view in views:
            assert (await it.platform.wait(ROOT, view.id, LONG)).status is Status.SUCCEEDED
        assert it.fleet.started == 3

    bench(test)


def test_gpus_are_held_exclusively_and_what_has_no_room_says_why(bench):
    from drivetrain.platform.app import Resources

    gate = asyncio.Event()

    async def test(it):
        await it.deploy(scaling={"max_runners": 3}, resources=Resources(gpus=1))
        it.fleet.behaviour = blocking(gate)
        views = [await it.platform.predict(ROOT, request(str(number))) for number in range(5)]
        await until(lambda: it.parts.dispatcher.under_way == 2)
        await until(lambda: ECHO in it.platform.unplaced(ROOT))
        grants = [runner.order.grant.gpus for runner in it.fleet.runners]
        assert sorted(grants) == [("0",), ("1",)]
        gate.set()
        for view in views:
            await it.platform.wait(ROOT, view.id, LONG)

    bench(test)


def test_a_new_revision_takes_over_and_the_old_one_leaves(bench):
    async def test(it):
        first = await it.deploy()
        second = await it.deploy(files={"predict.py": "# 2\n"})
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert view.submission.revision == second.id
        await until(lambda: {runner.order.revision for runner in it.fleet.runners} == {second.id})
        assert (first.number, second.number) == (1, 2)
        app = await it.platform.roll_back(ROOT, ECHO)
        assert app.alias[0].revision == first.id
        assert (await it.platform.predict(ROOT, request(), wait=LONG)).submission.revision == first.id

    bench(test)


def test_the_same_upload_twice_is_one_revision(bench):
    async def test(it):
        assert (await it.deploy()).id == (await it.deploy()).id
        assert it.fleet.started == 1

    bench(test)


def test_a_deploy_that_fails_leaves_the_old_one_serving(bench):
    async def test(it):
        first = await it.deploy()
        it.fleet.setup_failure = "out of memory"
        with pytest.raises(SetupFailed):
            await it.deploy(files={"predict.py": "# 2\n"})
        it.fleet.setup_failure = ""
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert view.submission.revision == first.id
        failed = it.platform.revisions(ROOT, ECHO)[0]
        assert (failed.state.value, failed.failure) == ("failed", "out of memory")

    bench(test)


def test_an_upload_that_failed_is_tried_again_as_the_same_revision(bench):
    async def test(it):
        it.fleet.setup_failure = "no weights"
        with pytest.raises(SetupFailed):
            await it.deploy()
        it.fleet.setup_failure = ""
        order = DeployOrder(app=ECHO)
        *_, deployed = [event async for event in it.platform.deploy(ROOT, order, chunks(packed_project()))]
        assert (deployed.is_new, deployed.revision.number) == (True, 1)
        *_, again = [event async for event in it.platform.deploy(ROOT, order, chunks(packed_project()))]
        assert (again.is_new, again.revision) == (False, deployed.revision)

    bench(test)


def test_recreate_ends_the_old_runners_first(bench):
    async def test(it):
        await it.deploy(strategy=Strategy.RECREATE)
        old = it.fleet.runners[0]
        await it.deploy(files={"predict.py": "# 2\n"}, strategy=Strategy.RECREATE)
        assert old.ended.done()
        assert len(it.fleet.runners) == 1

    bench(test)


def test_a_revision_whose_predictions_wait_and_run_is_not_removed(bench):
    gate = asyncio.Event()

    async def test(it):
        first = await it.deploy()
        it.fleet.behaviour = blocking(gate)
        views = [await it.platform.predict(ROOT, request()) for _ in range(2)]
        await until(lambda: it.parts.dispatcher.under_way == 1)
        await it.deploy(files=SECOND)
        with pytest.raises(BadRequest, match="1 wait, 1 run"):
            await it.platform.remove_revision(ROOT, first.id)
        gate.set()
        for view in views:
            assert (await it.platform.wait(ROOT, view.id, LONG)).status is Status.SUCCEEDED
        await it.platform.remove_revision(ROOT, first.id)
        with pytest.raises(NotFound):
            it.platform.revision(ROOT, first.id)

    bench(test)


def test_a_revision_that_a_prediction_is_being_accepted_for_is_not_removed(bench):
    async def test(it):
        first = await it.deploy()
        await it.deploy(files=SECOND)
        accepting = asyncio.ensure_future(it.platform.predict(ROOT, request(revision=first.id), wait=LONG))
        await asyncio.sleep(0)
        with pytest.raises(BadRequest, match="have not ended"):
            await it.platform.remove_revision(ROOT, first.id)
        assert (await accepting).status is Status.SUCCEEDED

    bench(test)


def test_a_prediction_whose_revision_is_removed_while_its_files_are_stored_is_refused(bench):
    async def test(it):
        first = await it.deploy()
        await it.deploy(files=SECOND)
        put = it.platform.files.put

        async def put_slowly(*args, **settings):
            stored = await put(*args, **settings)
            await it.platform.remove_revision(ROOT, first.id)
            return stored

        it.platform.files.put = put_slowly
        with pytest.raises(NotFound):
            await it.platform.predict(ROOT, request(input={"text": "x", "image": LARGE}, revision=first.id))
        assert await files(it) == []
        assert await it.platform.predictions(ROOT, PredictionQuery()) == []

    bench(test)


def test_what_came_in_items_is_a_list_when_its_revision_is_gone(bench):
    async def test(it):
        first = await it.deploy()
        it.fleet.behaviour = spelling
        view = await it.platform.predict(ROOT, request("abc"), wait=LONG)
        await it.deploy(files=SECOND)
        await it.platform.remove_revision(ROOT, first.id)
        assert (await it.platform.prediction(ROOT, view.id)).output == view.output == ["a", "b", "c"]

    bench(test, signature=STREAMING)


def test_what_was_accepted_before_it_was_kept_whether_items_come_is_told_by_its_revision(bench):
    async def test(it):
        revision = await it.deploy()
        it.fleet.behaviour = spelling
        submission = Submission(
            id=PredictionId("old"), app=ECHO, revision=revision.id, created_at=it.clock.now(), input={"text": "abc"}
        )
        await it.parts.dispatcher.submit(submission, queue_limit=1)
        assert (await it.platform.wait(ROOT, submission.id, LONG)).output == ["a", "b", "c"]

    bench(test, signature=STREAMING)


def test_a_strict_deploy_refuses_what_breaks_clients(bench):
    async def test(it):
        first = await it.deploy()
        it.fleet.signature = structs.replace(MODEL, inputs=MODEL.inputs[1:])
        with pytest.raises(BreaksClients, match="text"):
            await it.deploy(files={"predict.py": "# 2\n"}, strict=True)
        assert it.platform.app(ROOT, ECHO).alias[0].revision == first.id

    bench(test)


def test_two_revisions_share_the_requests(bench):
    from drivetrain.platform.app import Share

    async def test(it):
        first = await it.deploy(scaling={"max_runners": 2})
        second = await it.deploy(files={"predict.py": "# 2\n"})
        await it.platform.split(ROOT, ECHO, [Share(revision=first.id, percent=50), Share(revision=second.id, percent=50)])
        views = [await it.platform.predict(ROOT, request(), wait=LONG) for _ in range(30)]
        assert {view.submission.revision for view in views} == {first.id, second.id}
        with pytest.raises(BadRequest, match="add up"):
            await it.platform.split(ROOT, ECHO, [Share(revision=first.id, percent=60)])

    bench(test)


def test_secrets_reach_the_runner_and_nobody_else(bench):
    async def test(it):
        await it.platform.set_secret(ROOT, "acme", None, "TOKEN", "for all")
        await it.platform.set_secret(ROOT, "acme", ECHO, "TOKEN", "for echo")
        await it.deploy()
        assert it.fleet.orders[0].variables["TOKEN"] == "for echo"
        assert "for echo" not in repr(await it.platform.secrets(ROOT, "acme"))
        await it.platform.remove_secret(ROOT, "acme", ECHO, "TOKEN")
        with pytest.raises(NotFound):
            await it.platform.remove_secret(ROOT, "acme", ECHO, "TOKEN")

    bench(test)


def test_removing_an_app_leaves_nothing(bench, tmp_path):
    async def test(it):
        revision = await it.deploy()
        it.fleet.behaviour = blocking(asyncio.Event())
        await it.platform.predict(ROOT, request())
        await it.platform.predict(ROOT, request())
        await it.platform.remove_app(ROOT, ECHO)
        assert it.fleet.runners == []
        assert it.platform.apps(ROOT) == []
        assert not (tmp_path / "sources" / revision.source).exists()
        with pytest.raises(NotFound):
            await it.platform.predict(ROOT, request())

    bench(test)


def test_keys_allow_what_their_scope_says(bench):
    async def test(it):
        await it.deploy()
        _, text = await it.platform.add_key(ROOT, owner="acme", scope=Scope.CALL, name="ci")
        caller = await it.platform.authenticate(text)
        view = await it.platform.predict(caller, request(), wait=LONG)
        assert view.output == "hello"
        with pytest.raises(Forbidden):
            await it.platform.change_app(caller, ECHO, AppChange(scaling={"max_runners": 5}))
        with pytest.raises(Forbidden):
            it.platform.log(caller, ECHO, follows=False)
        with pytest.raises(Forbidden):
            await it.platform.add_key(caller, owner="acme", scope=Scope.CALL, name="without limits")
        _, text = await it.platform.add_key(ROOT, owner="other", scope=Scope.DEPLOY, name="x")
        stranger = await it.platform.authenticate(text)
        with pytest.raises((Forbidden, NotFound)):
            await it.platform.predict(stranger, request())
        with pytest.raises(NotFound):
            await it.platform.prediction(stranger, view.id)
        with pytest.raises(NotFound):
            it.platform.log(stranger, ECHO, follows=False)
        with pytest.raises(Unauthenticated):
            await it.platform.authenticate("dt_" + "x" * 40)

    bench(test)


def test_no_key_revokes_one_that_allows_more(bench):
    async def test(it):
        root, _ = await it.platform.add_key(ROOT, owner="acme", scope=Scope.ADMIN, name="root")
        colleague, _ = await it.platform.add_key(ROOT, owner="acme", scope=Scope.DEPLOY, name="a")
        _, text = await it.platform.add_key(ROOT, owner="acme", scope=Scope.DEPLOY, name="b")
        caller = await it.platform.authenticate(text)
        with pytest.raises(Forbidden):
            await it.platform.revoke_key(caller, root.id)
        await it.platform.revoke_key(caller, colleague.id)

    bench(test)


@pytest.mark.parametrize("owner", ["", "../../etc", "me\0", "A", "a" * 65])
def test_what_cannot_be_an_owner_gets_no_key_and_no_secret(bench, owner):
    async def test(it):
        with pytest.raises(BadRequest, match="owner"):
            await it.platform.add_key(ROOT, owner=owner, scope=Scope.CALL, name="ci")
        with pytest.raises(BadRequest, match="owner"):
            await it.platform.set_secret(ROOT, owner, None, "TOKEN", "x")

    bench(test)


def test_a_secret_that_no_process_can_be_given_is_refused(bench):
    async def test(it):
        for name, value in (("TOKEN", "a\0b"), ("TO-KEN", "x"), ("A=B", "x")):
            with pytest.raises(BadRequest, match="environment variable"):
                await it.platform.set_secret(ROOT, "acme", None, name, value)

    bench(test)


def test_who_may_call_an_app(bench):
    async def test(it):
        await it.deploy(access=Access.PUBLIC)
        assert (await it.platform.predict(Caller(), request(), wait=LONG)).status is Status.SUCCEEDED
        await it.platform.change_app(ROOT, ECHO, AppChange(access=Access.PRIVATE))
        with pytest.raises(NotFound):
            await it.platform.predict(Caller(), request())

    bench(test)


def test_settings_that_make_no_sense_are_refused(bench):
    async def test(it):
        await it.deploy()
        for scaling in ({"min_runners": 2, "max_runners": 1}, {"max_runners": -1}, {"concurrency": 0}, {"colour": 1}):
            with pytest.raises(BadRequest):
                await it.platform.change_app(ROOT, ECHO, AppChange(scaling=scaling))

    bench(test)


def test_changes_at_once_are_all_kept(bench):
    async def test(it):
        first = await it.deploy()
        await it.deploy(files=SECOND)
        await asyncio.gather(
            it.platform.change_app(ROOT, ECHO, AppChange(scaling={"max_runners": 3})),
            it.platform.roll_back(ROOT, ECHO),
            it.platform.change_app(ROOT, ECHO, AppChange(access=Access.SHARED)),
            it.platform.change_app(ROOT, ECHO, AppChange(scaling={"keep_alive": LONG})),
        )
        app = it.platform.app(ROOT, ECHO)
        assert (app.scaling.max_runners, app.scaling.keep_alive, app.access) == (3, LONG, Access.SHARED)
        assert [share.revision for share in app.alias] == [first.id]
        return app

    async def afterwards(it):
        assert it.platform.app(ROOT, ECHO) == app

    app = bench(test)
    bench(afterwards)


def test_a_change_while_a_deploy_switches_does_not_take_it_back(bench):
    async def test(it):
        await it.deploy()
        async for event in it.platform.deploy(ROOT, DeployOrder(app=ECHO), chunks(packed_project(**SECOND))):
            if event == StepBegun(step=Step.SWITCHING):
                await it.platform.change_app(ROOT, ECHO, AppChange(description="new"))
        app = it.platform.app(ROOT, ECHO)
        assert (app.description, app.alias[0].revision) == ("new", event.revision.id)

    bench(test)


def test_of_two_that_create_an_app_at_once_one_is_told_that_it_is_there(bench):
    async def test(it):
        apps = [App(name=ECHO, created_at=it.clock.now(), description=text) for text in ("one", "two")]
        results = await asyncio.gather(*(it.platform.create_app(ROOT, app) for app in apps), return_exceptions=True)
        assert results[0] == it.platform.app(ROOT, ECHO) == apps[0]
        assert isinstance(results[1], BadRequest)

    bench(test)


def test_an_interrupted_deploy_is_failed_and_leaves_no_runner(bench):
    async def test(it):
        it.fleet.may_be_ready.clear()
        deploying = asyncio.ensure_future(it.deploy())
        await until(lambda: it.fleet.runners)
        deploying.cancel()
        await asyncio.wait({deploying})
        await until(lambda: not it.fleet.runners)
        assert it.platform.revisions(ROOT, ECHO)[0].state.value == "failed"

    bench(test)


def test_a_deploy_whose_success_cannot_be_written_leaves_no_runner(bench):
    async def test(it):
        put = it.parts.catalog.put_revision

        async def put_on_a_full_disk(revision):
            if revision.state is RevisionState.READY:
                raise DiskFull("the disk is full")
            await put(revision)

        it.parts.catalog.put_revision = put_on_a_full_disk
        with pytest.raises(DiskFull):
            await it.deploy()
        await until(lambda: not it.fleet.runners)
        assert it.platform.revisions(ROOT, ECHO)[0].state is RevisionState.FAILED

    bench(test)


def test_what_runners_write_is_kept_by_app(bench):
    async def test(it):
        await it.deploy()
        lines = [line async for line in it.platform.log(ROOT, ECHO, follows=False)]
        assert any(line.endswith("starting\n") for line in lines)

    bench(test)


def test_uploads_belong_to_their_owner(bench):
    async def test(it):
        stored = await it.platform.upload(ROOT, name="a.txt", content_type=None, content=chunks(b"hello"), metadata={"a": 1})
        assert (await it.platform.file(ROOT, stored.id)).size == 5
        _, text = await it.platform.add_key(ROOT, owner="other", scope=Scope.DEPLOY, name="x")
        with pytest.raises(NotFound):
            await it.platform.file(await it.platform.authenticate(text), stored.id)
        await it.platform.remove_file(ROOT, stored.id)
        with pytest.raises(NotFound):
            await it.platform.file(ROOT, stored.id)

    bench(test)


def test_a_prediction_that_puts_out_too_much_is_stopped(bench):
    async def behaviour(runner, job):
        yield Started(at=runner.now())
        while True:
            yield Log(source=Source.STDOUT, data="x" * 1000)
            await asyncio.sleep(0)

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = behaviour
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert (view.status, len(view.logs)) == (Status.FAILED, 49_000)
        assert "more than 50000 bytes" in view.failure.message

    bench(test, options={"prediction_bytes": 50_000})


def test_a_fault_of_the_platform_ends_the_prediction_too(bench, caplog):
    async def behaviour(runner, job):
        yield Started(at=runner.now())
        raise ZeroDivisionError

    async def test(it):
        await it.deploy()
        it.fleet.behaviour = behaviour
        view = await it.platform.predict(ROOT, request(), wait=LONG)
        assert (view.status, view.failure.message) == (Status.FAILED, "The platform has a fault, and its log says more.")
        it.fleet.behaviour = blocking(asyncio.Event())

    bench(test)
    assert "ZeroDivisionError" in caplog.text
