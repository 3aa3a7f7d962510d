"""What ``QueueStore`` promises."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from drivetrain.model.errors import InternalError
from drivetrain.model.prediction import (
    Completed,
    Failure,
    Log,
    Metric,
    MetricMode,
    Output,
    OutputFile,
    OutputValue,
    Source,
    Started,
    Status,
)
from drivetrain.model.project import Mode
from drivetrain.platform.app import AppName
from drivetrain.platform.queue import CancelResult, KeyReused, Load, PredictionQuery, Priority, QueueFull, WebhookOrder

pytestmark = pytest.mark.anyio

OTHER_REVISION = "b" * 64
WEBHOOK = WebhookOrder(url="https://example.com/hook", events=frozenset({"start", "completed"}), gateway="replicate", owner="bob")


# Accepting


async def test_an_accepted_prediction_comes_back_as_it_was(scene):
    submission = scene.submission(
        input={"text": "häh\ud800", "big": 2**200, "list": [1, 2.5, None, True], "nested": {"": {}}},
        sealed=b"\0sealed",
        mode=Mode.TRAIN,
        context={"tenant": "x"},
        priority=Priority.LOW,
        start_by=scene.after(5),
        run_limit=timedelta(seconds=1, microseconds=1),
        deadline=scene.after(50),
        webhook=WEBHOOK,
        caller="key-1",
        idempotency_key="k",
        fingerprint="f",
        labels={"deployment": {"n": 1}},
        streams=True,
        destination=AppName("alice", "tuned"),
        trace="00-1-2-01",
    )
    submitted = await scene.queue.submit(submission, queue_limit=1)
    assert submitted.is_new
    assert submitted.record.submission == submission
    assert submitted.record.status is Status.STARTING
    assert await scene.queue.get(submission.id) == submitted.record


async def test_an_unknown_prediction_is_none(scene):
    assert await scene.queue.get("nobody") is None
    assert await scene.queue.position("nobody") is None
    assert await scene.queue.cancel("nobody", now=scene.now) is CancelResult.UNKNOWN


async def test_predictions_are_found_with_or_without_their_events(scene):
    waiting, ended = await scene.submit(), await scene.submit()
    await scene.queue.complete((await scene.claim_one()).token, scene.outcome())
    for found in await scene.queue.find(PredictionQuery()):
        assert found.events == ()
    by_id = {found.submission.id: found for found in await scene.queue.find(PredictionQuery(with_events=True))}
    assert by_id == {each: await scene.queue.get(each) for each in (waiting, ended)}
    assert sum(len(found.events) > 0 for found in by_id.values()) == 1


async def test_predictions_of_an_app_are_counted(scene):
    """Ended ones too, and those of other apps not."""
    await scene.submit()
    await scene.queue.complete((await scene.claim_one()).token, scene.outcome())
    await scene.submit()
    await scene.submit(app=AppName("alice", "other"))
    assert await scene.queue.count(AppName("alice", "hotdog")) == 2
    assert await scene.queue.count(AppName("nobody", "hotdog")) == 0


async def test_an_id_is_accepted_once(scene):
    accepted = await scene.submit(input={"text": "first"})
    with pytest.raises(InternalError, match=accepted):
        await scene.submit(id=accepted, input={"text": "second"})
    assert (await scene.queue.get(accepted)).submission.input == {"text": "first"}
    assert await scene.load() == (1, 0)


async def test_a_full_queue_refuses(scene):
    for _ in range(2):
        await scene.submit(queue_limit=2)
    with pytest.raises(QueueFull):
        await scene.submit(queue_limit=2, revision=OTHER_REVISION)
    await scene.submit(queue_limit=2, app=AppName("alice", "other"), revision="c" * 64)
    await scene.claim()
    await scene.submit(queue_limit=2)


async def test_those_that_wait_to_be_tried_again_count_as_waiting(scene):
    await scene.submit()
    await scene.release(await scene.claim_one(), after=60)
    with pytest.raises(QueueFull):
        await scene.submit(queue_limit=1)


async def test_of_many_at_once_no_more_are_accepted_than_may_wait(scene):
    results = await asyncio.gather(*(scene.submit(queue_limit=5) for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 5
    assert sum(isinstance(result, QueueFull) for result in results) == 35
    assert await scene.load() == (5, 0)


async def test_the_same_key_gives_the_same_prediction(scene):
    first = await scene.queue.submit(scene.submission(idempotency_key="k", fingerprint="f", caller="c"), queue_limit=1)
    again = await scene.queue.submit(scene.submission(idempotency_key="k", fingerprint="f", caller="c"), queue_limit=1)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.record == first.record
    assert again.claim is None


async def test_the_same_key_gives_the_prediction_that_has_ended(scene):
    first = await scene.submit(idempotency_key="k")
    await scene.complete(await scene.claim_one())
    again = await scene.queue.submit(scene.submission(idempotency_key="k"), queue_limit=1000, claimant=scene.claimant())
    assert again.record.submission.id == first
    assert again.record.status is Status.SUCCEEDED
    assert again.claim is None


async def test_of_many_at_once_with_the_same_key_one_is_new(scene):
    submissions = [scene.submission(idempotency_key="k") for _ in range(20)]
    results = await asyncio.gather(*(scene.queue.submit(submission, queue_limit=100) for submission in submissions))
    assert sum(result.is_new for result in results) == 1
    assert len({result.record.submission.id for result in results}) == 1
    assert await scene.load() == (1, 0)


async def test_a_key_is_not_good_for_another_request(scene):
    await scene.submit(idempotency_key="k", fingerprint="f")
    with pytest.raises(KeyReused):
        await scene.submit(idempotency_key="k", fingerprint="g")


async def test_what_was_accepted_under_a_key_is_found(scene):
    submitted = await scene.queue.submit(scene.submission(idempotency_key="k", fingerprint="f", caller="c"), queue_limit=1)

    async def find(*, name="hotdog", caller="c", key="k", fingerprint="f"):
        app = AppName("alice", name)
        return await scene.queue.accepted_earlier(app, caller=caller, idempotency_key=key, fingerprint=fingerprint)

    assert await find() == submitted.record
    assert [await find(key="other"), await find(caller="d"), await find(name="other")] == [None] * 3
    with pytest.raises(KeyReused):
        await find(fingerprint="g")


async def test_a_key_belongs_to_its_caller_and_app(scene):
    await scene.submit(idempotency_key="k", caller="c", fingerprint="f")
    await scene.submit(idempotency_key="k", caller="d", fingerprint="g")
    await scene.submit(idempotency_key="k", caller="c", fingerprint="h", app=AppName("alice", "other"), revision=OTHER_REVISION)
    assert len(await scene.claimed_ids()) == 2


# Accepting for somebody who has room


async def test_what_nothing_waits_before_is_claimed_at_once(scene):
    submitted = await scene.queue.submit(scene.submission(), queue_limit=10, claimant=scene.claimant(runner="r"))
    record = submitted.claim.record
    assert (record.status, record.attempts, record.runner) == (Status.PROCESSING, 1, "r")
    assert await scene.queue.get(record.submission.id) == record
    assert await scene.load() == (0, 1)
    assert await scene.complete(submitted.claim)


async def test_what_something_waits_before_is_not_claimed_at_once(scene):
    await scene.submit()
    submitted = await scene.queue.submit(scene.submission(), queue_limit=10, claimant=scene.claimant())
    assert submitted.claim is None
    assert submitted.record.status is Status.STARTING


@pytest.mark.parametrize(
    "waiting",
    [{"priority": Priority.LOW}, {"mode": Mode.TRAIN}, {"revision": OTHER_REVISION}],
    ids=["of lower priority", "of another mode", "of another revision"],
)
async def test_what_does_not_stand_before_it_does_not_keep_it_from_being_claimed_at_once(scene, waiting):
    await scene.submit(**waiting)
    assert (await scene.queue.submit(scene.submission(), queue_limit=10, claimant=scene.claimant())).claim


async def test_one_that_has_waited_out_its_time_stands_before_a_new_one(scene):
    await scene.submit()
    await scene.release(await scene.claim_one(), after=10)
    assert (await scene.queue.submit(scene.submission(), queue_limit=10, claimant=scene.claimant())).claim
    scene.now = scene.after(10)
    assert not (await scene.queue.submit(scene.submission(), queue_limit=10, claimant=scene.claimant())).claim


# Claiming


async def test_claims_come_in_the_order_of_acceptance_whatever_the_clock_says(scene):
    ids = [await scene.submit(created_at=scene.after(-number)) for number in range(5)]
    assert await scene.claimed_ids(3) == ids[:3]
    assert await scene.claimed_ids(3) == ids[3:]
    assert await scene.claimed_ids(3) == []


async def test_higher_priority_goes_first(scene):
    low = [await scene.submit(priority=Priority.LOW) for _ in range(2)]
    normal = [await scene.submit(priority=Priority.NORMAL) for _ in range(2)]
    assert await scene.claimed_ids() == normal + low


async def test_predictions_and_trainings_can_be_claimed_apart_and_together(scene):
    modes = [Mode.PREDICT, Mode.TRAIN, Mode.TRAIN, Mode.PREDICT, Mode.PREDICT]
    ids = [await scene.submit(mode=mode) for mode in modes]
    assert await scene.claimed_ids(1, mode=Mode.TRAIN) == ids[1:2]
    assert await scene.claimed_ids(2, mode=Mode.PREDICT) == [ids[0], ids[3]]
    assert await scene.claimed_ids() == [ids[2], ids[4]]


async def test_a_claim_says_what_to_run(scene):
    submission = scene.submission(sealed=b"s")
    await scene.queue.submit(submission, queue_limit=10)
    claim = await scene.claim_one(runner="runner-7")
    assert claim.record.submission == submission
    assert (claim.record.status, claim.record.attempts, claim.record.runner) == (Status.PROCESSING, 1, "runner-7")
    assert claim.record == await scene.queue.get(submission.id)


async def test_only_the_revision_is_claimed(scene):
    await scene.submit(revision=OTHER_REVISION)
    assert await scene.claim(10) == []


async def test_many_claimers_get_disjoint_work(scene):
    ids = {await scene.submit() for _ in range(60)}
    claims = await asyncio.gather(*(scene.claim(3, runner=f"runner-{number}") for number in range(30)))
    got = [claim.record.submission.id for some in claims for claim in some]
    assert len(got) == len(set(got))
    assert set(got) == ids
    assert len({claim.token for some in claims for claim in some}) == 60


# Running


async def test_an_end_is_kept_with_its_events(scene):
    prediction_id = await scene.submit()
    claim = await scene.claim_one()
    events = (
        Log(source=Source.STDERR, data="half a line\r"),
        Started(at=scene.now),
        Metric(name="a.b", value={"deep": [1]}, mode=MetricMode.APPEND),
        Output(output=OutputValue(value=[None], files=(OutputFile(pointer=(0, "x"), path=scene.place / "f", name="f.png"),))),
        Output(output=OutputValue(value="\ud800")),
        Completed(status=Status.FAILED, at=scene.after(2), failure=Failure(message="m", traceback="t", worker_lost=True)),
    )
    outcome = replace(scene.outcome(), status=Status.FAILED, events=events)
    assert await scene.queue.complete(claim.token, outcome)
    record = await scene.queue.get(prediction_id)
    assert record.events == events
    assert (record.status, record.started_at, record.completed_at) == (Status.FAILED, outcome.started_at, outcome.completed_at)
    assert await scene.load() == (0, 0)


async def test_a_long_list_of_events_is_kept_whole(scene):
    prediction_id = await scene.submit()
    claim = await scene.claim_one()
    events = tuple(Log(source=Source.STDOUT, data=f"step {number}\n") for number in range(20_000))
    await scene.queue.complete(claim.token, replace(scene.outcome(), events=(*events, scene.outcome().events[-1])))
    assert (await scene.queue.get(prediction_id)).events[:-1] == events


async def test_a_prediction_ends_once(scene):
    prediction_id = await scene.submit()
    claim = await scene.claim_one()
    results = await asyncio.gather(scene.complete(claim), scene.complete(claim, Status.FAILED), scene.complete(claim))
    assert sorted(results) == [False, False, True]
    assert not await scene.complete(claim)
    assert await scene.release(claim) is None
    assert await scene.status(prediction_id) is (Status.SUCCEEDED if results[0] else Status.FAILED)


@pytest.mark.parametrize("token", ["", "nonsense", "1", "1.", ".1", "1.1.1", "-1.1", "1.-1", "1e3.1", "²", "9" * 30 + ".1"])
async def test_a_token_that_was_never_given_holds_nothing(scene, token):
    await scene.submit()
    await scene.claim()
    assert await scene.queue.extend([token], scene.after(60)) == {token}
    assert not await scene.queue.complete(token, scene.outcome())
    assert await scene.queue.release(token, not_before=scene.now, note=None) is None


async def test_a_lease_is_extended_while_its_token_holds(scene):
    for _ in range(3):
        await scene.submit()
    kept, lapsed, ended = await scene.claim(3, lease=10)
    await scene.complete(ended)
    assert await scene.queue.extend([kept.token, ended.token], scene.after(100)) == {ended.token}
    assert await scene.queue.extend([], scene.after(100)) == set()
    scene.now = scene.after(10)
    assert [record.submission.id for record in await scene.reap()] == [lapsed.record.submission.id]
    assert await scene.queue.extend([kept.token, lapsed.token], scene.after(100)) == {lapsed.token}


async def test_a_late_end_has_no_effect(scene):
    prediction_id = await scene.submit()
    late = await scene.claim_one()
    scene.now = scene.after(60)
    await scene.reap()
    assert not await scene.complete(late, Status.FAILED)
    newer = await scene.claim_one()
    assert newer.token != late.token
    assert not await scene.complete(late, Status.FAILED)
    assert await scene.release(late) is None
    assert await scene.complete(newer)
    assert await scene.status(prediction_id) is Status.SUCCEEDED


# Giving back


async def test_a_released_prediction_stands_where_it_was(scene):
    ids = [await scene.submit() for _ in range(3)]
    first = await scene.claim_one()
    record = await scene.release(first, note="It was busy.")
    assert (record.status, record.attempts, record.history) == (Status.STARTING, 1, ("It was busy.",))
    assert await scene.claimed_ids() == ids


async def test_a_released_prediction_waits_out_its_time(scene):
    ids = [await scene.submit() for _ in range(2)]
    record = await scene.release(await scene.claim_one(), after=10)
    assert record.not_before == scene.after(10)
    assert record == await scene.queue.get(ids[0])
    assert await scene.load() == (1, 0)
    assert await scene.claimed_ids() == ids[1:]
    scene.now = scene.after(10)
    assert await scene.load() == (1, 1)
    claim = await scene.claim_one()
    assert (claim.record.submission.id, claim.record.attempts, claim.record.not_before) == (ids[0], 2, None)


async def test_a_release_without_a_note_does_not_count(scene):
    await scene.submit()
    record = await scene.release(await scene.claim_one(), note=None)
    assert (record.attempts, record.history) == (0, ())
    assert (await scene.claim_one()).record.attempts == 1


async def test_history_grows(scene):
    prediction_id = await scene.submit()
    for number in range(3):
        await scene.release(await scene.claim_one(), note=f"Note {number}.")
    await scene.complete(await scene.claim_one())
    record = await scene.queue.get(prediction_id)
    assert record.history == ("Note 0.", "Note 1.", "Note 2.")
    assert record.attempts == 4


# Canceling


async def test_a_waiting_prediction_is_canceled(scene):
    prediction_id = await scene.submit()
    assert await scene.queue.cancel(prediction_id, now=scene.after(3)) is CancelResult.CANCELED
    record = await scene.queue.get(prediction_id)
    assert (record.status, record.completed_at, record.started_at) == (Status.CANCELED, scene.after(3), None)
    assert record.events == (Completed(status=Status.CANCELED, at=scene.after(3)),)
    assert await scene.claim() == []
    assert await scene.load() == (0, 0)


async def test_a_prediction_that_waits_to_be_tried_again_is_canceled(scene):
    prediction_id = await scene.submit()
    await scene.release(await scene.claim_one(), after=10)
    assert await scene.queue.cancel(prediction_id, now=scene.now) is CancelResult.CANCELED
    scene.now = scene.after(10)
    assert await scene.claim() == []
    assert await scene.queue.next_due(now=scene.after(-20)) is None


async def test_the_wish_to_cancel_a_claimed_prediction_is_noted(scene):
    prediction_id = await scene.submit()
    claim = await scene.claim_one()
    assert await scene.queue.cancel(prediction_id, now=scene.now) is CancelResult.REQUESTED
    assert await scene.queue.cancel(prediction_id, now=scene.now) is CancelResult.REQUESTED
    record = await scene.queue.get(prediction_id)
    assert (record.status, record.cancel_requested) == (Status.PROCESSING, True)
    assert await scene.complete(claim, Status.CANCELED)
    assert await scene.queue.cancel(prediction_id, now=scene.now) is CancelResult.ENDED


async def test_a_prediction_that_was_to_be_canceled_is_when_it_is_released(scene):
    prediction_id = await scene.submit()
    claim = await scene.claim_one()
    await scene.queue.cancel(prediction_id, now=scene.after(1))
    record = await scene.release(claim, after=60)
    assert (record.status, record.completed_at) == (Status.CANCELED, scene.after(1))
    assert record == await scene.queue.get(prediction_id)
    assert record.events == (Completed(status=Status.CANCELED, at=scene.after(1)),)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED])
async def test_a_prediction_that_has_ended_is_not_canceled(scene, status):
    prediction_id = await scene.submit()
    await scene.complete(await scene.claim_one(), status)
    assert await scene.queue.cancel(prediction_id, now=scene.now) is CancelResult.ENDED
    assert await scene.status(prediction_id) is status


# Time


async def test_what_was_not_started_in_time_ends(scene):
    early, late, never = [await scene.submit(start_by=at) for at in (scene.after(5), scene.after(6), None)]
    assert await scene.queue.next_due(now=scene.now) == scene.after(5)
    assert await scene.queue.expire(now=scene.after(4)) == []
    assert await scene.queue.expire(now=scene.after(5)) == [early]
    record = await scene.queue.get(early)
    assert (record.status, record.completed_at, record.started_at) == (Status.CANCELED, scene.after(5), None)
    assert record.history
    assert await scene.queue.next_due(now=scene.after(5)) == scene.after(6)
    assert await scene.claimed_ids() == [late, never]


async def test_what_has_been_claimed_in_time_goes_on(scene):
    await scene.submit(start_by=scene.after(5))
    claim = await scene.claim_one()
    assert await scene.queue.expire(now=scene.after(60)) == []
    assert await scene.complete(claim)


async def test_the_time_to_start_runs_over_all_attempts(scene):
    prediction_id = await scene.submit(start_by=scene.after(5))
    await scene.release(await scene.claim_one(), after=10)
    assert await scene.queue.expire(now=scene.after(5)) == [prediction_id]
    assert await scene.queue.next_due(now=scene.now) is None


async def test_at_most_a_thousand_end_at_once(scene):
    await asyncio.gather(*(scene.submit(start_by=scene.after(5), queue_limit=2000) for _ in range(1001)))
    assert len(await scene.queue.expire(now=scene.after(5))) == 1000
    assert len(await scene.queue.expire(now=scene.after(5))) == 1
    assert await scene.queue.expire(now=scene.after(5)) == []


async def test_next_due_is_the_first_of_all_that_comes(scene):
    assert await scene.queue.next_due(now=scene.now) is None
    await scene.submit()
    await scene.release(await scene.claim_one(), after=20)
    await scene.submit(start_by=scene.after(30))
    assert await scene.queue.next_due(now=scene.now) == scene.after(20)
    assert await scene.queue.next_due(now=scene.after(20)) == scene.after(30)
    assert await scene.queue.next_due(now=scene.after(30)) is None


# Taking back


async def test_what_a_runner_does_not_extend_is_run_again(scene):
    ids = [await scene.submit() for _ in range(2)]
    await scene.claim(1, lease=10)
    assert await scene.reap() == []
    scene.now = scene.after(10)
    (record,) = await scene.reap()
    assert (record.submission.id, record.status, record.attempts, len(record.history)) == (ids[0], Status.STARTING, 1, 1)
    assert record == await scene.queue.get(ids[0])
    assert await scene.claimed_ids() == ids


async def test_everything_is_taken_back_at_a_start(scene):
    ids = [await scene.submit() for _ in range(3)]
    claims = await scene.claim(2, lease=1000)
    assert [record.submission.id for record in await scene.reap(lapsed_only=False)] == ids[:2]
    assert not await scene.complete(claims[0])
    assert await scene.claimed_ids() == ids


async def test_what_has_used_up_its_attempts_fails(scene):
    prediction_id = await scene.submit()
    for _ in range(2):
        await scene.claim()
        (record,) = await scene.reap(attempts=2, lapsed_only=False)
    assert (record.status, record.attempts, record.completed_at) == (Status.FAILED, 2, scene.now)
    (end,) = record.events
    assert end.status is Status.FAILED
    assert "2 times" in end.failure.message
    assert record == await scene.queue.get(prediction_id)
    assert await scene.load() == (0, 0)


async def test_apps_have_their_own_number_of_attempts(scene):
    other = AppName("alice", "other")
    await scene.submit()
    await scene.submit(app=other, revision=OTHER_REVISION)
    await scene.claim()
    await scene.claim(revision=OTHER_REVISION)
    records = await scene.queue.reap(now=scene.now, max_attempts={other: 1}, default_max_attempts=2, lapsed_only=False)
    assert {record.submission.app.name: record.status for record in records} == {"hotdog": Status.STARTING, "other": Status.FAILED}


async def test_what_was_to_be_canceled_is_when_it_is_taken_back(scene):
    prediction_id = await scene.submit()
    await scene.claim()
    await scene.queue.cancel(prediction_id, now=scene.now)
    (record,) = await scene.reap(lapsed_only=False)
    assert record.status is Status.CANCELED
    assert await scene.status(prediction_id) is Status.CANCELED


# Telling of ends


async def _complete(scene, prediction_id):
    await scene.complete(await scene.claim_one())


async def _cancel(scene, prediction_id):
    await scene.queue.cancel(prediction_id, now=scene.now)


async def _expire(scene, prediction_id):
    await scene.queue.expire(now=scene.after(100))


async def _cancel_and_release(scene, prediction_id):
    claim = await scene.claim_one()
    await scene.queue.cancel(prediction_id, now=scene.now)
    await scene.release(claim)


async def _cancel_and_reap(scene, prediction_id):
    await scene.claim()
    await scene.queue.cancel(prediction_id, now=scene.now)
    await scene.reap(lapsed_only=False)


async def _use_up(scene, prediction_id):
    await scene.claim()
    await scene.reap(lapsed_only=False, attempts=1)


ENDS = [_complete, _cancel, _expire, _cancel_and_release, _cancel_and_reap, _use_up]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__.strip("_"))
async def test_every_end_is_delivered(scene, end):
    prediction_id = await scene.submit(webhook=WEBHOOK, start_by=scene.after(100))
    assert await scene.store.deliveries.find() == []
    await end(scene, prediction_id)
    record = await scene.queue.get(prediction_id)
    assert record.status.is_terminal
    (delivery,) = await scene.store.deliveries.due(now=record.completed_at, limit=10)
    assert (delivery.prediction, delivery.event, delivery.url) == (prediction_id, "completed", WEBHOOK.url)
    assert (delivery.gateway, delivery.created_at) == (WEBHOOK.gateway, record.completed_at)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__.strip("_"))
async def test_no_end_is_delivered_to_those_who_did_not_ask(scene, end):
    webhook = replace(WEBHOOK, events=frozenset({"start", "output"}))
    await end(scene, await scene.submit(webhook=webhook, start_by=scene.after(100)))
    assert await scene.store.deliveries.find() == []


async def test_what_is_not_an_end_is_not_delivered(scene):
    await scene.submit(webhook=WEBHOOK)
    late = await scene.claim_one()
    await scene.release(late)
    await scene.claim()
    assert not await scene.complete(late)
    await scene.reap(lapsed_only=False)
    assert await scene.store.deliveries.find() == []


# Looking


async def test_predictions_are_listed_newest_first_without_events(scene):
    ids = []
    for _ in range(3):
        ids.append(await scene.submit())
        scene.now = scene.after(1)
    await scene.complete(await scene.claim_one())
    records = await find(scene)
    assert [record.submission.id for record in records] == ids[::-1]
    assert records[-1].events == ()
    assert records[-1].submission.input == {"number": 1}


async def test_a_list_can_be_narrowed(scene):
    other = AppName("alice", "other")
    bob = AppName("bob", "hotdog")
    running = await scene.submit()
    await scene.claim()
    training = await scene.submit(mode=Mode.TRAIN, created_at=scene.after(1))
    elsewhere = await scene.submit(app=other, revision=OTHER_REVISION, created_at=scene.after(2))
    bobs = await scene.submit(app=bob, revision="c" * 64, created_at=scene.after(3))
    assert await ids_of(scene) == [bobs, elsewhere, training, running]
    assert await ids_of(scene, owner="alice") == [elsewhere, training, running]
    assert await ids_of(scene, app=bob) == [bobs]
    assert await ids_of(scene, app=other, owner="bob") == []
    assert await ids_of(scene, revision=OTHER_REVISION) == [elsewhere]
    assert await ids_of(scene, mode=Mode.TRAIN) == [training]
    assert await ids_of(scene, statuses=frozenset({Status.PROCESSING})) == [running]
    assert await ids_of(scene, statuses=frozenset({Status.STARTING, Status.FAILED}), owner="alice") == [elsewhere, training]
    assert await ids_of(scene, created_after=scene.after(2)) == [bobs, elsewhere]
    assert await ids_of(scene, created_before=scene.after(2)) == [training, running]
    assert await ids_of(scene, created_after=scene.after(1), created_before=scene.after(3), limit=1) == [elsewhere]


async def test_pages_go_both_ways_with_equal_times(scene):
    apps = [(AppName("alice", f"app-{number}"), f"{number}" * 64) for number in range(3)]
    ids = []
    for number in range(25):
        app, revision = apps[number % 3]
        # Ids do not grow with time: each has its own, and most share a moment with others.
        scene.now = scene.after(number % 7 == 0)
        ids.append(await scene.submit(id=f"{number * 7 % 25:026}", app=app, revision=revision))
    everything = await find(scene)
    assert [place_of(record) for record in everything] == sorted(map(place_of, everything), reverse=True)
    assert len(everything) == 25
    for size in (1, 4, 24, 25, 26):
        older, cursor = [], None
        while page := await find(scene, before=cursor, limit=size):
            older += page
            cursor = place_of(page[-1])
        assert older == everything
        newer, cursor = [], place_of(everything[-1])
        while page := await find(scene, after=cursor, limit=size):
            newer = page + newer
            cursor = place_of(page[0])
        assert newer == everything[:-1]
    assert await find(scene, after=place_of(everything[9]), before=place_of(everything[4])) == everything[5:9]


async def test_position_counts_what_stands_before(scene):
    low = await scene.submit(priority=Priority.LOW)
    ids = [await scene.submit() for _ in range(3)]
    await scene.submit(mode=Mode.TRAIN)
    await scene.submit(revision=OTHER_REVISION)
    assert [await scene.queue.position(each) for each in (*ids, low)] == [0, 1, 2, 3]
    claim = await scene.claim_one()
    assert [await scene.queue.position(each) for each in (*ids, low)] == [None, 0, 1, 2]
    await scene.release(claim, after=10)
    assert [await scene.queue.position(each) for each in (*ids, low)] == [0, 1, 2, 3]
    await scene.queue.cancel(ids[1], now=scene.now)
    assert [await scene.queue.position(each) for each in (*ids, low)] == [0, None, 1, 2]


async def test_load_is_told_by_revision(scene):
    assert await scene.queue.load(now=scene.now) == {}
    oldest = scene.now
    await scene.submit(priority=Priority.LOW, mode=Mode.TRAIN)
    scene.now = scene.after(5)
    await scene.submit()
    await scene.submit(revision=OTHER_REVISION)
    await scene.claim(revision=OTHER_REVISION)
    assert await scene.queue.load(now=scene.now) == {
        "a" * 64: Load(waiting=2, running=0, oldest_waiting_at=oldest),
        OTHER_REVISION: Load(waiting=0, running=1, oldest_waiting_at=None),
    }


# Keeping no longer than wanted


async def test_input_and_events_are_dropped(scene):
    ended, later, waiting = [await scene.submit(sealed=b"s", webhook=WEBHOOK) for _ in range(3)]
    await scene.complete(await scene.claim_one())
    claim = await scene.claim_one()
    scene.now = scene.after(10)
    await scene.complete(claim)
    assert await scene.queue.remove_data(completed_before=scene.now) == 1
    assert await scene.queue.remove_data(completed_before=scene.now) == 0
    record = await scene.queue.get(ended)
    assert (record.data_removed, record.submission.input, record.submission.sealed, record.events) == (True, {}, None, ())
    assert (record.status, record.submission.webhook) == (Status.SUCCEEDED, WEBHOOK)
    for kept in (later, waiting):
        assert not (await scene.queue.get(kept)).data_removed


async def test_predictions_are_forgotten(scene):
    ended, waiting, running = [await scene.submit(idempotency_key=str(number), webhook=WEBHOOK) for number in range(3)]
    await scene.complete(await scene.claim_one())
    await scene.queue.release((await scene.claim(2))[0].token, not_before=scene.now, note=None)
    assert await scene.queue.forget(completed_before=scene.after(1)) == []
    assert await scene.queue.forget(completed_before=scene.after(2)) == [ended]
    assert await scene.queue.get(ended) is None
    assert await scene.store.deliveries.find(prediction=ended) == []
    assert [await scene.status(each) for each in (waiting, running)] == [Status.STARTING, Status.PROCESSING]
    assert await scene.submit(idempotency_key="0") != ended


async def test_what_retention_does_in_one_call_is_bounded(scene):
    for _ in range(5):
        await scene.queue.cancel(await scene.submit(), now=scene.now)
    assert await scene.queue.remove_data(completed_before=scene.after(1), limit=3) == 3
    assert await scene.queue.remove_data(completed_before=scene.after(1), limit=3) == 2
    assert len(await scene.queue.forget(completed_before=scene.after(1), limit=3)) == 3
    assert len(await scene.queue.forget(completed_before=scene.after(1), limit=3)) == 2


async def test_numbers_of_what_was_forgotten_are_not_given_again(scene):
    await scene.submit()
    old = await scene.claim_one()
    await scene.complete(old)
    await scene.queue.forget(completed_before=scene.after(2))
    await scene.submit()
    new = await scene.claim_one()
    assert not await scene.complete(old)
    assert await scene.complete(new)


def place_of(record):
    return record.submission.created_at, record.submission.id


async def find(scene, **query):
    from drivetrain.platform.queue import PredictionQuery

    return await scene.queue.find(PredictionQuery(**query))


async def ids_of(scene, **query):
    return [record.submission.id for record in await find(scene, **query)]
