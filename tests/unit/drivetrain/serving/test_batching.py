"""When an idle worker takes which waiting predictions together."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from drivetrain.model.project import BatchPolicy
from drivetrain.serving.batching import Hold, Take, decide

POLICY = BatchPolicy(max_size=4, max_wait=timedelta(milliseconds=5))


def test_a_full_batch_is_taken_at_once():
    assert decide(4, timedelta(0), POLICY) == decide(9, timedelta(0), POLICY) == Take(4)


def test_a_lone_prediction_is_held_for_others_but_not_longer_than_its_time():
    assert decide(1, timedelta(milliseconds=2), POLICY) == Hold(timedelta(milliseconds=3))
    assert decide(1, timedelta(milliseconds=5), POLICY) == Take(1)


@given(st.integers(1, 100), st.timedeltas(timedelta(0), timedelta(seconds=1)))
def test_nothing_is_held_beyond_the_wait_and_no_batch_is_too_large(waiting, waited):
    decision = decide(waiting, waited, POLICY)
    if isinstance(decision, Hold):
        assert timedelta(0) < decision.delay <= POLICY.max_wait - waited
    else:
        assert 1 <= decision.count <= min(waiting, POLICY.max_size)
