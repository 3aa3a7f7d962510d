"""What ``AppStore``, ``KeyStore``, ``SecretStore`` and ``DeliveryStore`` promise."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from drivetrain.model.errors import InternalError
from drivetrain.model.prediction import Status
from drivetrain.model.signature import Field, IteratorOf, Kind, ListOf, OptionalOf, Plain, Signature, UnionOf
from drivetrain.platform.app import Access, App, AppName, Resources, Revision, RevisionState, Scaler, Scaling, Share
from drivetrain.platform.delivery import Delivery, DeliveryState
from drivetrain.platform.key import ApiKey, AuditLine, Scope
from drivetrain.platform.queue import CancelResult, PredictionQuery
from drivetrain.platform.secret import SealedSecret

pytestmark = pytest.mark.anyio

HOTDOG = AppName("alice", "hotdog")
OTHER = AppName("alice", "other")
REVISION = "a" * 64


SIGNATURE = Signature(
    inputs=(
        Field(name="text", type=Plain(Kind.STRING), required=True, max_length=10, description="\ud800"),
        Field(name="number", type=UnionOf((Plain(Kind.INTEGER), ListOf(Plain(Kind.NUMBER)))), required=False, default=10**30),
    ),
    output=IteratorOf(Plain(Kind.STRING), True),
    streaming=True,
)

# Apps


def an_app(scene, name=HOTDOG):
    return App(
        name=name,
        created_at=scene.now,
        scaling=Scaling(max_runners=3, start_timeout=timedelta(microseconds=1), scaler=Scaler.QUEUE_DELAY, scaler_value=0.25),
        resources=Resources(gpus=1, memory=2**40, cpus=0.5),
        access=Access.SHARED,
        alias=(Share(revision=REVISION, percent=30), Share(revision="b" * 64, percent=70)),
        releases=2,
        description="Finds hot dogs \U0001f32d",
        labels={"visibility": "private", "big": 2**70, "odd": "\ud800"},
    )


def a_revision(scene, number=1, app=HOTDOG, revision_id=None):
    return Revision(
        id=revision_id or f"{number:064}",
        app=app,
        number=number,
        created_at=scene.now,
        source="sha256:0",
        state=RevisionState.READY,
        schema={"openapi": "3.0.2", "maximum": 10**30, "components": {"schemas": {}}},
        signature=SIGNATURE,
        train_signature=Signature(inputs=(), output=OptionalOf(Plain(Kind.FILE))),
        concurrency=4,
        logs="line\r\n",
        labels={"version": "v1"},
    )


async def test_an_app_comes_back_as_it_was(scene):
    app = an_app(scene)
    assert await scene.store.apps.get_app(HOTDOG) is None
    await scene.store.apps.put_app(app)
    assert await scene.store.apps.get_app(HOTDOG) == app
    assert await scene.store.apps.get_app(OTHER) is None


async def test_an_app_is_replaced(scene):
    await scene.store.apps.put_app(an_app(scene))
    newer = replace(an_app(scene), releases=3)
    await scene.store.apps.put_app(newer)
    assert await scene.store.apps.apps() == [newer]


async def test_apps_are_listed_by_name(scene):
    names = [AppName("bob", "a"), AppName("alice", "z"), AppName("alice", "b")]
    for name in names:
        await scene.store.apps.put_app(an_app(scene, name))
    assert [app.name for app in await scene.store.apps.apps()] == sorted(names)


async def test_a_revision_comes_back_as_it_was(scene):
    revision = a_revision(scene)
    assert await scene.store.apps.get_revision(revision.id) is None
    await scene.store.apps.put_revision(revision)
    assert await scene.store.apps.get_revision(revision.id) == revision


async def test_revisions_are_listed_newest_first(scene):
    assert await scene.store.apps.next_revision_number(HOTDOG) == 1
    kept = [a_revision(scene, number) for number in (2, 10, 1)]
    for revision in (*kept, a_revision(scene, 11, OTHER)):
        await scene.store.apps.put_revision(revision)
    assert [revision.number for revision in await scene.store.apps.revisions(HOTDOG)] == [10, 2, 1]
    assert await scene.store.apps.next_revision_number(HOTDOG) == 11


async def test_a_revision_is_replaced_and_removed(scene):
    revision = a_revision(scene)
    await scene.store.apps.put_revision(revision)
    failed = replace(revision, state=RevisionState.FAILED, failure="No.")
    await scene.store.apps.put_revision(failed)
    assert await scene.store.apps.revisions(HOTDOG) == [failed]
    assert await scene.store.apps.remove_revision(revision.id)
    assert not await scene.store.apps.remove_revision(revision.id)
    assert await scene.store.apps.revisions(HOTDOG) == []


async def test_a_revision_of_which_something_waits_or_runs_is_not_removed(scene):
    async def is_removed():
        return await scene.store.apps.remove_revision(REVISION)

    await scene.store.apps.put_revision(a_revision(scene, revision_id=REVISION))
    await scene.submit(revision="b" * 64)
    await scene.submit()
    assert not await is_removed()
    claim = await scene.claim_one()
    assert not await is_removed()
    await scene.release(claim, after=10)
    assert not await is_removed()
    assert await scene.store.apps.get_revision(REVISION) is not None
    scene.now = scene.after(10)
    await scene.complete(await scene.claim_one())
    assert await is_removed()


async def test_what_waited_for_an_app_that_was_removed_keeps_no_revision(scene):
    await scene.store.apps.put_app(an_app(scene))
    await scene.submit()
    await scene.store.apps.remove_app(HOTDOG)
    await scene.store.apps.put_revision(a_revision(scene, revision_id=REVISION))
    assert await scene.store.apps.remove_revision(REVISION)


async def test_with_an_app_goes_what_is_its_own(scene):
    for app in (HOTDOG, OTHER):
        await scene.store.apps.put_app(an_app(scene, app))
        await scene.store.apps.put_revision(a_revision(scene, 1, app, revision_id=app.name * 2))
        await scene.store.secrets.put_secret(a_secret(scene, app=app))
    await scene.store.secrets.put_secret(a_secret(scene, app=None))
    assert await scene.store.apps.remove_app(HOTDOG)
    assert not await scene.store.apps.remove_app(HOTDOG)
    assert [app.name for app in await scene.store.apps.apps()] == [OTHER]
    assert await scene.store.apps.get_revision("hotdoghotdog") is None
    assert await scene.store.apps.get_revision("otherother") is not None
    assert [secret.app for secret in await scene.store.secrets.secrets("alice")] == [None, OTHER]


async def test_predictions_of_a_removed_app_are_gone_for_everybody(scene):
    await scene.store.apps.put_app(an_app(scene))
    waiting = await scene.submit(start_by=scene.after(5), idempotency_key="k")
    ended, running, held = [await scene.submit() for _ in range(3)]
    claims = await scene.claim(4)
    await scene.queue.release(claims[0].token, not_before=scene.now, note=None)
    await scene.complete(claims[1])
    await scene.release(claims[3], after=10)
    await scene.store.apps.remove_app(HOTDOG)
    for prediction_id in (waiting, ended, running, held):
        assert await scene.queue.get(prediction_id) is None
        assert await scene.queue.position(prediction_id) is None
        assert await scene.queue.cancel(prediction_id, now=scene.now) is CancelResult.UNKNOWN
    assert not await scene.complete(claims[2])
    assert await scene.queue.extend([claims[2].token], scene.after(60)) == {claims[2].token}
    assert await scene.queue.find(PredictionQuery()) == []
    assert await scene.queue.load(now=scene.after(60)) == {}
    assert await scene.queue.next_due(now=scene.now) is None
    assert await scene.queue.expire(now=scene.after(60)) == []
    assert await scene.reap(lapsed_only=False) == []
    assert await scene.claim(10) == []


async def test_an_app_of_the_same_name_begins_anew(scene):
    await scene.store.apps.put_app(an_app(scene))
    old = await scene.submit(idempotency_key="k", queue_limit=1)
    await scene.store.apps.remove_app(HOTDOG)
    await scene.store.apps.put_app(an_app(scene))
    new = await scene.submit(idempotency_key="k", queue_limit=1)
    assert new != old
    assert await scene.queue.position(new) == 0
    assert await scene.load() == (1, 0)
    assert sorted(await scene.queue.forget(completed_before=scene.now)) == [old]
    assert await scene.queue.forget(completed_before=scene.now) == []
    assert await scene.claimed_ids() == [new]
    assert await scene.status(new) is Status.PROCESSING


async def test_what_a_removed_app_leaves_is_forgotten_bit_by_bit(scene):
    ids = [await scene.submit() for _ in range(5)]
    await scene.store.apps.remove_app(HOTDOG)
    forgotten = [await scene.queue.forget(completed_before=scene.now, limit=2) for _ in range(4)]
    assert [len(some) for some in forgotten] == [2, 2, 1, 0]
    assert sorted(prediction_id for some in forgotten for prediction_id in some) == ids


# Keys


def a_key(scene, number=1):
    return ApiKey(
        id=f"key-{number}",
        digest=f"{number:064}",
        owner="alice",
        scope=Scope.DEPLOY,
        name="laptop",
        hint="abcd",
        created_at=scene.now,
        expires_at=scene.after(5),
        requests_per_minute=60,
    )


async def test_a_key_is_found_by_its_digest(scene):
    key = a_key(scene)
    await scene.store.keys.add_key(key)
    assert await scene.store.keys.key_by_digest(key.digest) == key
    assert await scene.store.keys.key_by_digest("f" * 64) is None


async def test_a_key_is_added_once(scene):
    await scene.store.keys.add_key(a_key(scene))
    for changes in ({"id": "key-2"}, {"digest": "0"}):
        with pytest.raises(InternalError):
            await scene.store.keys.add_key(replace(a_key(scene), **changes))


async def test_keys_are_listed_oldest_first(scene):
    for number in (3, 1, 2):
        await scene.store.keys.add_key(a_key(scene, number))
    assert [key.id for key in await scene.store.keys.keys()] == ["key-3", "key-1", "key-2"]
    assert await scene.store.keys.remove_key("key-1")
    assert not await scene.store.keys.remove_key("key-1")
    assert await scene.store.keys.key_by_digest(a_key(scene, 1).digest) is None


async def test_audit_lines_are_listed_newest_first(scene):
    lines = [
        AuditLine(at=scene.after(-number), actor="key-1", action="app.deploy", subject=f"{number}", detail="d")
        for number in range(3)
    ]
    for line in lines:
        await scene.store.keys.add_audit_line(line)
    assert await scene.store.keys.audit_lines() == lines[::-1]
    assert await scene.store.keys.audit_lines(limit=1) == lines[-1:]


# Secrets


def a_secret(scene, *, app=None, name="TOKEN", sealed=b"\0\xff"):
    return SealedSecret(owner="alice", app=app, name=name, sealed=sealed, updated_at=scene.now)


async def test_secrets_are_listed_by_app_and_name(scene):
    kept = [
        a_secret(scene, app=None, name="B"),
        a_secret(scene, app=HOTDOG, name="A"),
        a_secret(scene, app=HOTDOG, name="B"),
        a_secret(scene, app=OTHER, name="A"),
    ]
    for secret in reversed(kept):
        await scene.store.secrets.put_secret(secret)
    await scene.store.secrets.put_secret(replace(kept[0], owner="bob"))
    assert await scene.store.secrets.secrets("alice") == kept


async def test_a_secret_is_replaced_and_removed_in_its_reach_alone(scene):
    for app in (None, HOTDOG):
        await scene.store.secrets.put_secret(a_secret(scene, app=app))
    newer = a_secret(scene, app=HOTDOG, sealed=b"new")
    await scene.store.secrets.put_secret(newer)
    assert await scene.store.secrets.secrets("alice") == [a_secret(scene), newer]
    assert await scene.store.secrets.remove_secret("alice", HOTDOG, "TOKEN")
    assert not await scene.store.secrets.remove_secret("alice", HOTDOG, "TOKEN")
    assert await scene.store.secrets.secrets("alice") == [a_secret(scene)]


async def test_of_the_platforms_own_values_the_first_is_kept(scene):
    assert await scene.store.secrets.value("signing") is None
    values = await asyncio.gather(*(scene.store.secrets.put_value("signing", b"%d" % number) for number in range(10)))
    assert len(set(values)) == 1
    assert await scene.store.secrets.value("signing") == values[0]
    assert await scene.store.secrets.put_value("signing", b"new", replace=True) == b"new"
    assert await scene.store.secrets.value("signing") == b"new"


# Deliveries


def a_delivery(scene, number=1, **changes):
    delivery = Delivery(
        id=f"d{number}",
        prediction=f"p{number}",
        url="https://example.com/",
        event="start",
        gateway="replicate",
        created_at=scene.after(number),
        next_at=scene.after(number),
    )
    return replace(delivery, **changes)


async def test_a_delivery_comes_back_as_it_was(scene):
    delivery = a_delivery(scene, attempts=3, answer="503")
    await scene.store.deliveries.add(delivery)
    assert await scene.store.deliveries.get(delivery.id) == delivery
    assert await scene.store.deliveries.get("d2") is None


async def test_a_delivery_is_added_once(scene):
    await scene.store.deliveries.add(a_delivery(scene))
    with pytest.raises(InternalError):
        await scene.store.deliveries.add(a_delivery(scene))


async def test_deliveries_are_due_in_their_order(scene):
    assert await scene.store.deliveries.next_due() is None
    for number in (3, 1, 2):
        await scene.store.deliveries.add(a_delivery(scene, number))
    assert await scene.store.deliveries.next_due() == scene.after(1)
    due = scene.store.deliveries.due
    assert [delivery.id for delivery in await due(now=scene.after(2), limit=10)] == ["d1", "d2"]
    assert [delivery.id for delivery in await due(now=scene.after(9), limit=2)] == ["d1", "d2"]
    assert await due(now=scene.now, limit=10) == []


async def test_a_delivery_that_is_settled_is_not_due(scene):
    delivery = a_delivery(scene)
    await scene.store.deliveries.add(delivery)
    settled = replace(delivery, state=DeliveryState.DELIVERED, attempts=1, next_at=None, answer="200")
    await scene.store.deliveries.put(settled)
    assert await scene.store.deliveries.get(delivery.id) == settled
    assert await scene.store.deliveries.next_due() is None
    assert await scene.store.deliveries.due(now=scene.after(99), limit=10) == []


async def test_a_delivery_is_sent_again_later(scene):
    delivery = a_delivery(scene)
    await scene.store.deliveries.add(delivery)
    await scene.store.deliveries.put(replace(delivery, attempts=1, next_at=scene.after(60)))
    assert await scene.store.deliveries.due(now=scene.after(59), limit=10) == []
    assert await scene.store.deliveries.next_due() == scene.after(60)


async def test_deliveries_are_found_newest_first(scene):
    for number, state in enumerate(DeliveryState):
        await scene.store.deliveries.add(a_delivery(scene, number, state=state))
        await scene.store.deliveries.add(a_delivery(scene, number + 10, state=state, prediction=f"p{number}"))
    ids = [delivery.id for delivery in await scene.store.deliveries.find()]
    assert ids == ["d12", "d2", "d11", "d1", "d10", "d0"]
    for number, state in enumerate(DeliveryState):
        assert [one.id for one in await scene.store.deliveries.find(state=state)] == [f"d{number + 10}", f"d{number}"]
        assert [one.id for one in await scene.store.deliveries.find(prediction=f"p{number}")] == [f"d{number + 10}", f"d{number}"]
    assert await scene.store.deliveries.find(prediction="p0", state=DeliveryState.FAILED) == []
    assert len(await scene.store.deliveries.find(limit=2)) == 2


async def test_settled_deliveries_are_forgotten(scene):
    for number, state in enumerate(DeliveryState):
        await scene.store.deliveries.add(a_delivery(scene, number, state=state))
    assert await scene.store.deliveries.forget(created_before=scene.after(2)) == 1
    assert await scene.store.deliveries.forget(created_before=scene.after(3), limit=10) == 1
    assert [delivery.state for delivery in await scene.store.deliveries.find()] == [DeliveryState.PENDING]


async def test_closing_twice_does_no_harm(scene):
    await scene.submit()
    await scene.store.close()
    await scene.store.close()
    with pytest.raises(InternalError, match="closed"):
        await scene.submit()
    with pytest.raises(InternalError, match="closed"):
        await scene.load()
