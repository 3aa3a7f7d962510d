"""How many runners an app should have: examples. Hours of traffic are simulated in test_autoscaling_hours."""

from datetime import datetime, timedelta, timezone

import pytest

from drivetrain.platform.app import AppName, RevisionId, Scaler, Scaling, Share
from drivetrain.platform.autoscaling import (
    AppFacts,
    Drain,
    Impossible,
    RunnerFacts,
    RunnerState,
    Start,
    StartFailures,
    Stop,
    decide,
)
from drivetrain.platform.fleet import RunnerId
from drivetrain.platform.queue import Load

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
A, B = RevisionId("a"), RevisionId("b")


def seconds(count):
    return timedelta(seconds=count)


def ago(count):
    return NOW - seconds(count)


def load(waiting=0, running=0, since=0):
    return Load(waiting=waiting, running=running, oldest_waiting_at=ago(since) if waiting else None)


def starting(name, revision=A, started=1):
    return RunnerFacts(id=RunnerId(name), revision=revision, state=RunnerState.STARTING, started_at=ago(started))


def ready(name, revision=A, busy=0, idle=0, ready=100, ever_served=True, state=RunnerState.READY):
    return RunnerFacts(
        id=RunnerId(name),
        revision=revision,
        state=state,
        busy=busy,
        started_at=ago(ready + 1),
        ready_at=ago(ready),
        idle_since=None if busy else ago(idle),
        ever_served=ever_served,
    )


def facts(scaling=None, loads=None, runners=(), alias=((A, 100),), **more):
    shares = [Share(revision=revision, percent=percent) for revision, percent in alias]
    settings = Scaling(**{"max_runners": 10, **(scaling or {})})
    return AppFacts(name=AppName("o", "n"), scaling=settings, alias=shares, loads=loads or {}, runners=runners, **more)


def actions(*args, **kwargs):
    return list(decide(facts(*args, **kwargs), NOW).actions)


def starts(*args, **kwargs):
    return [action.revision for action in actions(*args, **kwargs) if isinstance(action, Start)]


def stops(*args, **kwargs):
    return [action.runner for action in actions(*args, **kwargs) if isinstance(action, Stop)]


def test_nothing_asked_for_is_nothing_to_do():
    assert decide(facts(), NOW).actions == ()
    assert decide(facts(), NOW).look_again_at is None


@pytest.mark.parametrize(
    ("scaling", "slots", "waiting", "expected"),
    [
        ({}, 1, 3, 3),
        ({}, 4, 3, 1),
        ({}, 4, 5, 2),
        ({"max_runners": 2}, 1, 30, 2),
        ({"min_runners": 2}, 1, 0, 2),
        ({"min_runners": 2}, 1, 1, 2),  # the minimum is not on top of the load
        ({"buffer": 2}, 1, 0, 2),
        ({"buffer": 2}, 1, 1, 3),  # the buffer is
        ({"buffer": 3, "min_runners": 2}, 1, 0, 3),
        ({"buffer_percent": 50}, 1, 4, 6),
        ({"buffer_percent": 50, "buffer": 3}, 1, 4, 7),
        ({"buffer_percent": 50}, 4, 8, 3),
        ({"scaler": Scaler.REQUEST_COUNT, "scaler_value": 4}, 1, 9, 3),
        ({"scaler": Scaler.QUEUE_DELAY, "scaler_value": 4}, 1, 9, 1),
    ],
)
def test_so_many_are_started(scaling, slots, waiting, expected):
    assert starts(scaling, {A: load(waiting)}, slots={A: slots}) == [A] * expected


def test_what_is_under_way_and_what_starts_counts():
    runners = [ready("1", busy=1), starting("2")]
    assert starts({}, {A: load(waiting=2, running=1)}, runners) == [A]


def test_what_was_taken_from_the_queue_since_it_was_looked_at_counts_once():
    assert starts({}, {A: load(waiting=1, running=0)}, [ready("1", busy=1)]) == []


def test_only_what_a_request_or_the_minimum_asks_for_is_urgent():
    found = actions({"buffer": 2}, {A: load(1)})
    assert [action.urgent for action in found] == [True, False, False]


def test_a_runner_that_no_request_waits_for_is_not_urgent():
    scaling = {"scaler": Scaler.REQUEST_COUNT, "scaler_value": 1}
    found = actions(scaling, {A: load(running=2)}, [ready("1", busy=2)], slots={A: 2})
    assert found == [Start(revision=A, urgent=False)]


def test_a_request_counts_once_it_has_waited_for_the_scaling_delay():
    scaling = {"scaling_delay": seconds(5)}
    early = decide(facts(scaling, {A: load(1, since=3)}), NOW)
    assert (early.actions, early.look_again_at) == ((), NOW + seconds(2))
    assert starts(scaling, {A: load(1, since=5)}) == [A]


def test_a_request_from_the_future_has_waited_long_enough():
    assert starts({"scaling_delay": seconds(5)}, {A: load(1, since=-3600)}) == [A]


def test_queue_delay_adds_one_runner_at_a_time():
    scaling = {"scaler": Scaler.QUEUE_DELAY, "scaler_value": 4}
    assert starts(scaling, {A: load(5, since=3)}, [ready("1", busy=1)]) == []
    assert starts(scaling, {A: load(5, since=4)}, [ready("1", busy=1)]) == [A]
    waiting_for_the_last = decide(facts(scaling, {A: load(5, since=9)}, [ready("1", busy=1), starting("2")]), NOW)
    assert (waiting_for_the_last.actions, waiting_for_the_last.look_again_at) == ((), NOW + seconds(3))
    assert starts(scaling, {A: load(1, since=9)}, [starting("2", started=60)]) == []  # it is on its way


def test_an_idle_runner_leaves_when_its_time_is_over():
    early = decide(facts(runners=[ready("1", idle=59)]), NOW)
    assert (early.actions, early.look_again_at) == ((), NOW + seconds(1))
    assert stops(runners=[ready("1", idle=60)]) == ["1"]


def test_a_runner_that_never_served_leaves_sooner():
    assert stops(runners=[ready("1", idle=10, ever_served=False)]) == ["1"]
    assert stops({"keep_alive": seconds(5)}, runners=[ready("1", idle=5, ever_served=False)]) == ["1"]


def test_minimum_buffer_and_load_keep_idle_runners():
    idle = [ready("1", idle=900), ready("2", idle=800)]
    assert stops({"min_runners": 1}, runners=idle) == ["1"]
    assert stops({"buffer": 2}, runners=idle) == []
    assert stops({}, {A: load(2)}, idle) == []


def test_a_runner_does_not_leave_for_one_that_is_not_ready_yet():
    assert stops({"min_runners": 1}, runners=[ready("1", idle=900), starting("2")]) == []


def test_failed_starts_delay_the_next_and_then_one_tries():
    held = decide(facts({}, {A: load(3)}, failures={A: StartFailures(count=2, last_at=ago(50))}), NOW)
    assert (held.actions, held.look_again_at) == ((), NOW + seconds(10))
    assert held.held_back[A] == "its runners failed to start the last 2 times in a row; the next try is at 00:00:10 UTC"
    assert starts({}, {A: load(3)}, failures={A: StartFailures(count=2, last_at=ago(60))}) == [A]
    assert starts({}, {A: load(3)}, [starting("1")], failures={A: StartFailures(count=2, last_at=ago(60))}) == []
    forever = decide(facts({}, {A: load(3)}, failures={A: StartFailures(count=500, last_at=NOW)}), NOW)
    assert forever.look_again_at == NOW + seconds(600)


def test_what_fits_no_machine_is_asked_for_again_later():
    too_large = "it needs 2 GPUs; this machine has 1"
    waiting = decide(facts({}, {A: load(1)}, impossible={A: Impossible(at=ago(5), sentence=too_large)}), NOW)
    assert (waiting.actions, waiting.look_again_at, waiting.held_back) == ((), NOW + seconds(15), {A: too_large})
    assert starts({}, {A: load(1)}, impossible={A: Impossible(at=ago(20), sentence=too_large)}) == [A]


def test_the_maximum_is_said_to_hold_back():
    decision = decide(facts({"max_runners": 1}, {A: load(5)}, [ready("1", busy=1)]), NOW)
    assert decision.held_back == {A: "it may have 1 runner at most"}


def test_a_draining_runner_is_stopped_when_it_is_idle_and_counts_until_then():
    draining = ready("1", busy=1, state=RunnerState.DRAINING)
    assert actions({"max_runners": 1}, {A: load(1)}, [draining]) == []
    assert stops({}, {}, [ready("1", state=RunnerState.DRAINING)]) == ["1"]


def test_a_lowered_maximum_ends_what_costs_least_and_drains_what_is_busy():
    runners = [ready("1", busy=1), ready("2", busy=2), ready("3"), starting("4")]
    found = actions({"max_runners": 1}, {A: load(9)}, runners, slots={A: 2})
    assert {type(action): action.runner for action in found if not isinstance(action, Stop)} == {Drain: "1"}
    assert {action.runner for action in found if isinstance(action, Stop)} == {"3", "4"}


def test_minimum_and_buffer_are_divided_between_revisions_that_share_the_requests():
    assert sorted(starts({"min_runners": 4}, alias=((A, 75), (B, 25)))) == [A, A, A, B]
    assert starts({"min_runners": 1}, alias=((A, 10), (B, 90))) == [B]


def test_runners_of_a_revision_that_no_longer_answers_leave_at_once():
    runners = [ready("1", B, idle=1), starting("2", B), ready("3", A, idle=1)]
    assert set(stops(runners=runners, released_at=ago(0))) == {"1", "2"}


def test_a_revision_that_no_longer_answers_is_served_while_somebody_waits_for_it():
    assert starts({}, {B: load(1)}, released_at=ago(9)) == [B]
    asked_for = ready("1", B, idle=20, ready=30)
    assert stops(runners=[asked_for], released_at=ago(40)) == []  # by its id, after the switch: it may be again
    assert stops(runners=[asked_for], released_at=ago(20)) == ["1"]


def test_a_revision_without_a_runner_gets_the_idle_one_of_another():
    scaling = {"max_runners": 1}
    both = {"alias": ((A, 50), (B, 50))}
    assert actions(scaling, {B: load(1)}, [ready("1", A, idle=1)], **both) == [
        Stop(runner=RunnerId("1"), reason="another revision of the app needs its place")
    ]
    assert actions({**scaling, "buffer": 1}, {}, [ready("1", B, idle=1)], alias=((A, 100),), released_at=ago(200)) == []


def test_two_busy_revisions_take_turns():
    both = {"alias": ((A, 50), (B, 50)), "loads": {A: load(9, 1, since=500), B: load(9, since=400)}}
    early = decide(facts({"max_runners": 1}, runners=[ready("1", A, busy=1, ready=59)], **both), NOW)
    assert (early.actions, early.look_again_at) == ((), NOW + seconds(1))
    assert actions({"max_runners": 1}, runners=[ready("1", A, busy=1, ready=60)], **both) == [
        Drain(runner=RunnerId("1"), reason="another revision of the app needs its place")
    ]
    assert starts({"max_runners": 1}, left_at={A: ago(1)}, **both) == [B]  # although A's have waited longer
