"""Revisions that answer under another app's name: copies, and what trainings give."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from platform_bench import ROOT, chunks

from drivetrain.model.errors import BadRequest
from drivetrain.model.prediction import Completed, Output, OutputValue, Started, Status
from drivetrain.model.project import Mode
from drivetrain.model.signature import PATH, STRING, Field, Signature
from drivetrain.platform.access import Caller, Forbidden, NotFound
from drivetrain.platform.app import Access, App, AppName, Resources, RevisionState, Scaling
from drivetrain.platform.files import NewFile, Origin
from drivetrain.platform.key import Scope
from drivetrain.platform.platform import AppChange
from drivetrain.platform.submission import PredictionRequest

ECHO = AppName("acme", "echo")
COPY = AppName("acme", "copy")
LONG = timedelta(seconds=20)
TRAINING = Signature(inputs=(Field(name="text", type=STRING, required=True),), output=PATH)


def caller_of(owner, scope):
    return Caller(key=replace(ROOT.key, id=owner, owner=owner, scope=scope))


def app(it, name=COPY, **settings):
    return App(name=name, created_at=it.clock.now(), **settings)


def to(name):
    return PredictionRequest(app=name, input={"text": "hello"})


def giving(output):
    """A model whose trainings give this."""

    async def behaviour(runner, job):
        yield Started(at=runner.now())
        yield Output(output=OutputValue(value=output if job.mode is Mode.TRAIN else job.input["text"]))
        yield Completed(status=Status.SUCCEEDED, at=runner.now())

    return behaviour


async def weights(it):
    """A file as a training leaves it."""
    now = it.clock.now()
    expires_at = now + timedelta(hours=1)
    new = NewFile(owner="acme", name="weights", content_type=None, origin=Origin.OUTPUT, expires_at=expires_at)
    return await it.platform.files.put(new, chunks(b"learnt"), now=now, limit=100, quota=None)


def test_a_copy_has_settings_and_runners_of_its_own(bench):
    async def test(it):
        original = await it.deploy()
        settings = {"scaling": Scaling(max_runners=3), "resources": Resources(gpus=1), "labels": {"a": 1}}
        copy = await it.platform.copy_revision(ROOT, original.id, COPY, new=app(it, **settings))
        assert (copy.copy_of, copy.app, copy.number, copy.state) == (original.id, COPY, 1, RevisionState.READY)
        view = await it.platform.predict(ROOT, to(COPY), wait=LONG)
        assert (view.output, view.submission.revision) == ("hello", copy.id)
        assert [order.app for order in it.fleet.orders] == [ECHO, COPY]
        assert it.fleet.orders[-1].grant.gpus
        kept = it.platform.app(ROOT, COPY)
        assert (kept.scaling.max_runners, kept.labels, it.platform.app(ROOT, ECHO).scaling.max_runners) == (3, {"a": 1}, 1)

    bench(test)


def test_the_same_copy_twice_is_one(bench):
    async def test(it):
        original = await it.deploy()
        one = await it.platform.copy_revision(ROOT, original.id, COPY, new=app(it))
        two = await it.platform.copy_revision(ROOT, original.id, COPY)
        assert one == two
        assert len(it.platform.revisions(ROOT, COPY)) == 1
        assert it.platform.app(ROOT, COPY).releases == 2

    bench(test)


def test_what_is_changed_while_a_copy_is_built_stays_changed(bench):
    async def test(it):
        original = await it.deploy()
        await it.platform.create_app(ROOT, app(it))

        async def build_slowly(order, log):
            await it.platform.change_app(ROOT, COPY, AppChange(scaling={"max_runners": 3}))

        it.fleet.build = build_slowly
        copy = await it.platform.copy_revision(
            ROOT, original.id, COPY, lambda app: replace(app, description=f"{app.scaling.max_runners}")
        )
        changed = it.platform.app(ROOT, COPY)
        assert (changed.scaling.max_runners, changed.description, changed.alias[0].revision) == (3, "3", copy.id)

    bench(test)


def test_an_app_that_is_removed_before_a_copy_is_made_stays_removed(bench):
    is_building, may_build = asyncio.Event(), asyncio.Event()

    async def build_slowly(order, log):
        is_building.set()
        await may_build.wait()

    async def test(it):
        original = await it.deploy()
        await it.platform.create_app(ROOT, app(it))
        it.fleet.build = build_slowly
        one = asyncio.ensure_future(it.platform.copy_revision(ROOT, original.id, COPY))
        await is_building.wait()
        removing = asyncio.ensure_future(it.platform.remove_app(ROOT, COPY))
        other = asyncio.ensure_future(it.platform.copy_revision(ROOT, original.id, COPY, variables={"A": "1"}))
        may_build.set()
        await asyncio.gather(one, removing)
        with pytest.raises(NotFound):
            await other
        assert [each.name for each in it.platform.apps(ROOT)] == [ECHO]

    bench(test)


def test_a_copy_outlives_its_original(bench):
    async def test(it):
        original = await it.deploy()
        copy = await it.platform.copy_revision(ROOT, original.id, COPY, new=app(it))
        await it.platform.remove_app(ROOT, ECHO)
        assert (await it.platform.predict(ROOT, to(COPY), wait=LONG)).output == "hello"
        return copy.id

    copy_id = bench(test)

    async def afterwards(it):
        view = await it.platform.predict(ROOT, to(COPY), wait=LONG)
        assert (view.output, view.submission.revision) == ("hello", copy_id)

    bench(afterwards)


def test_what_anybody_may_call_can_be_copied_and_nothing_else(bench):
    async def test(it):
        original = await it.deploy()
        other, theirs = caller_of("other", Scope.DEPLOY), AppName("other", "copy")
        with pytest.raises(NotFound):
            await it.platform.copy_revision(other, original.id, theirs, new=app(it, theirs))
        await it.platform.change_app(ROOT, ECHO, AppChange(access=Access.SHARED))
        with pytest.raises(Forbidden):
            await it.platform.copy_revision(other, original.id, COPY, new=app(it))
        with pytest.raises(Forbidden):
            await it.platform.copy_revision(caller_of("other", Scope.CALL), original.id, theirs, new=app(it, theirs))
        assert (await it.platform.copy_revision(other, original.id, theirs, new=app(it, theirs))).app == theirs

    bench(test)


def test_a_training_becomes_a_revision_before_it_has_succeeded(bench):
    async def test(it):
        original = await it.deploy()
        await it.platform.create_app(ROOT, app(it))
        file = await weights(it)
        it.fleet.behaviour = giving({"weights": file.reference, "steps": 3})
        request = PredictionRequest(app=ECHO, mode=Mode.TRAIN, input={"text": "x"}, destination=COPY)
        view = await it.platform.predict(ROOT, request, wait=LONG)
        assert view.status is Status.SUCCEEDED, view
        [revision] = it.platform.revisions(ROOT, COPY)
        assert (revision.copy_of, revision.variables) == (original.id, {"COG_WEIGHTS": file.reference})
        await it.platform.predict(ROOT, to(COPY), wait=LONG)
        assert it.fleet.orders[-1].variables["COG_WEIGHTS"].endswith(f"/files/{file.id}/weights")
        assert (await it.platform.files.get(file.id)).expires_at is None
        await it.platform.remove_app(ROOT, COPY)
        assert await it.platform.files.get(file.id) is None

    bench(test, train_signature=TRAINING)


@pytest.mark.parametrize("output", [{"steps": 3}, 3, None, ["a"]])
def test_a_training_without_weights_has_failed(bench, output):
    async def test(it):
        await it.deploy()
        await it.platform.create_app(ROOT, app(it))
        it.fleet.behaviour = giving(output)
        request = PredictionRequest(app=ECHO, mode=Mode.TRAIN, input={"text": "x"}, destination=COPY)
        view = await it.platform.predict(ROOT, request, wait=LONG)
        assert view.status is Status.FAILED
        assert "could not become a version of 'acme/copy': it gave no weights" in view.failure.message
        assert it.platform.revisions(ROOT, COPY) == []

    bench(test, train_signature=TRAINING)


def test_a_training_whose_destination_is_gone_has_failed(bench):
    async def test(it):
        await it.deploy()
        it.fleet.behaviour = giving((await weights(it)).reference)
        request = PredictionRequest(app=ECHO, mode=Mode.TRAIN, input={"text": "x"}, destination=COPY)
        view = await it.platform.predict(ROOT, request, wait=LONG)
        assert (view.status, "there is no app 'acme/copy'" in view.failure.message) == (Status.FAILED, True)

    bench(test, train_signature=TRAINING)


def test_nobody_trains_into_the_app_of_another(bench):
    async def test(it):
        await it.deploy()
        await it.platform.change_app(ROOT, ECHO, AppChange(access=Access.SHARED))
        request = PredictionRequest(app=ECHO, mode=Mode.TRAIN, input={"text": "x"}, destination=COPY)
        with pytest.raises(Forbidden):
            await it.platform.predict(caller_of("other", Scope.DEPLOY), request)

    bench(test, train_signature=TRAINING)


def test_a_training_without_a_destination_is_a_prediction_like_any(bench):
    async def test(it):
        await it.deploy()
        it.fleet.behaviour = giving({"anything": 1})
        view = await it.platform.predict(ROOT, PredictionRequest(app=ECHO, mode=Mode.TRAIN, input={"text": "x"}), wait=LONG)
        assert (view.status, view.output) == (Status.SUCCEEDED, {"anything": 1})

    bench(test, train_signature=TRAINING)


def test_only_what_is_ready_can_be_copied(bench):
    async def test(it):
        it.fleet.setup_failure = "no weights"
        with pytest.raises(Exception, match="no weights"):
            await it.deploy()
        [failed] = it.platform.revisions(ROOT, ECHO)
        with pytest.raises(BadRequest, match="is failed"):
            await it.platform.copy_revision(ROOT, failed.id, COPY, new=app(it))

    bench(test)
