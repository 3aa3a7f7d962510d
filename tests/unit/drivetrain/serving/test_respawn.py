"""When a worker that died gets a successor."""

from datetime import datetime, timedelta, timezone

from drivetrain.serving.respawn import Death, GiveUp, Respawn, decide

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def deaths(*ready, every=timedelta(seconds=1)):
    return [Death(at=NOON + every * number, was_ready=was_ready) for number, was_ready in enumerate(ready)]


def decide_at_last(history, *, ever_ready=True):
    return decide(history, history[-1].at, ever_ready=ever_ready)


def test_the_first_crash_is_answered_at_once():
    assert decide_at_last(deaths(True)) == Respawn(timedelta(0))


def test_crashes_in_a_row_wait_longer_and_longer_up_to_a_bound():
    delays = [decide_at_last(deaths(*[True] * count)).delay for count in range(1, 12)]
    assert delays == sorted(delays)
    assert delays[-1] == delays[-2] == timedelta(seconds=30)


def test_a_worker_that_was_of_use_is_replaced_at_once_and_starts_the_count_anew():
    useful = Death(at=NOON + timedelta(seconds=8), was_ready=True, was_useful=True)
    assert decide_at_last([*deaths(*[True] * 8), useful]) == Respawn(timedelta(0))
    later = Death(at=NOON + timedelta(seconds=9), was_ready=True)
    assert decide_at_last([*deaths(*[True] * 8), useful, later]) == Respawn(timedelta(0))


def test_crashes_far_apart_do_not_add_up():
    assert decide_at_last(deaths(*[True] * 8, every=timedelta(hours=1))) == Respawn(timedelta(0))


def test_the_very_first_set_up_is_not_tried_again():
    assert decide_at_last(deaths(False), ever_ready=False) == GiveUp()


def test_a_set_up_that_keeps_failing_after_a_crash_is_given_up():
    assert isinstance(decide_at_last(deaths(True, False, False, False, False)), Respawn)
    assert decide_at_last(deaths(True, False, False, False, False, False)) == GiveUp()


def test_a_worker_that_got_ready_again_starts_the_count_anew():
    assert isinstance(decide_at_last(deaths(False, False, False, False, True, False)), Respawn)
