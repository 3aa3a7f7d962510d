"""Who gets a part of the machine, who makes room, and what the others are told."""

import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivetrain.platform.app import AppName, Resources, RevisionId
from drivetrain.platform.autoscaling import RunnerState
from drivetrain.platform.fleet import Capacity, Grant, RunnerId
from drivetrain.platform.placement import Held, Refusal, Situation, Wanted, place

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
GIB = 1024**3
A, B, C = AppName("o", "a"), AppName("o", "b"), AppName("o", "c")


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def machine(gpus=2, memory=16, cpus=8, held=(), **more):
    names = tuple(str(number) for number in range(gpus))
    return Situation(capacity=Capacity(gpus=names, memory=memory * GIB, cpus=cpus), held=held, **more)


def want(app, gpus=1, memory=None, cpus=0, since=0, urgent=True):
    needs = Resources(gpus=gpus, memory=memory and memory * GIB, cpus=cpus)
    return Wanted(app=app, revision=RevisionId("r"), resources=needs, waiting_since=ago(since), urgent=urgent)


def holds(app, *gpus, memory=None, busy=0, idle=100, ready=1000, state=RunnerState.READY, name=None):
    return Held(
        runner=RunnerId(name or f"{app.name}{''.join(gpus)}"),
        app=app,
        revision=RevisionId("r"),
        grant=Grant(gpus=gpus, memory=memory and memory * GIB),
        state=state,
        busy=busy,
        ready_at=ago(ready),
        idle_since=None if busy else ago(idle),
    )


def reasons(situation, *wants):
    return [refusal.sentence for refusal in place(situation, wants, NOW).refusals.values()]


def granted(situation, *wants):
    return [wants[number].app for number in place(situation, wants, NOW).grants]


def test_what_is_free_is_granted():
    placement = place(machine(held=[holds(A, "0", busy=1)]), [want(B, memory=4, cpus=0.5)], NOW)
    assert list(placement.grants.values()) == [Grant(gpus=("1",), memory=4 * GIB, cpus=0.5)]
    assert placement.refusals == {}


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({"gpus": 3}, "it needs 3 GPUs; this machine has 2"),
        ({"memory": 64}, "it needs 64 GiB of memory; this machine has 16 GiB"),
        ({"cpus": 8.5}, "it needs 8.5 cores; this machine has 8"),
    ],
)
def test_what_is_too_large_for_the_machine_is_told_so(needs, reason):
    assert place(machine(), [want(A, **needs)], NOW).refusals == {0: Refusal(sentence=reason, is_impossible=True)}


def test_what_does_not_fit_now_is_told_who_holds_it():
    busy = [holds(B, "0", busy=1, ready=1), holds(C, "1", busy=1, ready=1)]
    assert reasons(machine(held=busy), want(A)) == ["it needs 1 GPU; 0 of 2 are free, the rest is held by o/b and o/c"]
    full = [holds(B, memory=12, busy=1, ready=1)]
    expected = ["it needs 8 GiB of memory; 4 GiB of 16 GiB is free, the rest is held by o/b"]
    assert reasons(machine(held=full), want(A, gpus=0, memory=8)) == expected


def test_a_runner_without_needs_always_fits():
    assert place(machine(gpus=0, cpus=1, held=[holds(A, busy=1)]), [want(B, gpus=0)] * 9, NOW).refusals == {}


def test_who_has_fewest_comes_first():
    situation = machine(gpus=4, held=[holds(A, "0", busy=1)])
    wants = [want(A, since=50), want(A, since=50), want(B), want(C)]
    assert granted(situation, *wants) == [B, C, A]


def test_of_those_with_as_few_who_was_last_given_one_longest_ago_comes_first():
    situation = machine(gpus=1, placed_at={A: ago(1), B: ago(2)})
    assert granted(situation, want(A, since=99), want(B)) == [B]


def test_idle_runners_make_room_the_longest_idle_first():
    situation = machine(held=[holds(B, "0", idle=1), holds(C, "1", idle=5)])
    placement = place(situation, [want(A)], NOW)
    assert placement.to_stop == ("c1",)
    assert placement.refusals[0].sentence.endswith("; room is being made")


def test_no_more_make_room_than_are_needed():
    held = [holds(B, memory=1, idle=9, name="small"), holds(C, memory=10, idle=1, name="large")]
    assert place(machine(held=held), [want(A, gpus=0, memory=16)], NOW).to_stop == ("small", "large")
    assert place(machine(held=held), [want(A, gpus=0, memory=8)], NOW).to_stop == ("large",)
    assert place(machine(held=held), [want(A, gpus=0, memory=5)], NOW).to_stop == ()


def test_runners_of_a_minimum_do_not_make_room():
    situation = machine(held=[holds(B, "0"), holds(B, "1")], minimums={B: 1})
    assert place(situation, [want(A), want(A)], NOW).to_stop == ("b0",)
    assert place(situation, [want(A, gpus=2, since=999)], NOW).to_stop == ()


def test_who_waits_for_a_minimum_is_told_so():
    (reason,) = reasons(machine(gpus=1, held=[holds(B, "0")], minimums={B: 1}), want(A, since=999))
    assert (
        reason == "it needs 1 GPU; 0 of 1 are free, the rest is held by o/b; 'min_runners' of o/b keeps idle ones from making room"
    )


def test_nobody_makes_room_for_a_buffer():
    assert place(machine(held=[holds(B, "0"), holds(C, "1")]), [want(A, urgent=False, since=999)], NOW).to_stop == ()


def test_an_app_goes_on_answering_while_a_new_revision_of_it_is_proved():
    proof = replace(want(A), revision=RevisionId("new"), is_proof=True)
    assert place(machine(gpus=1, held=[holds(A, "0")]), [proof], NOW).to_stop == ()
    assert place(machine(held=[holds(A, "0", idle=9), holds(B, "1", idle=1)]), [proof], NOW).to_stop == ("b1",)
    assert place(machine(gpus=1, held=[holds(A, "0")]), [replace(proof, is_proof=False)], NOW).to_stop == ("a0",)


def test_who_waits_for_room_is_told_whether_it_is_coming():
    leaving = machine(gpus=1, held=[holds(B, "0", busy=1, state=RunnerState.DRAINING)])
    assert place(leaving, [want(A)], NOW).refusals[0].is_coming
    assert not place(machine(gpus=1, held=[holds(B, "0", busy=1, ready=1)]), [want(A)], NOW).refusals[0].is_coming


def test_nobody_else_is_told_to_leave_while_enough_are_leaving():
    held = [holds(B, "0", busy=1, state=RunnerState.DRAINING), holds(C, "1")]
    assert place(machine(held=held), [want(A)], NOW).to_stop == ()
    assert place(machine(held=held), [want(A), want(A)], NOW).to_stop == ("c1",)


def test_who_has_had_a_turn_makes_room_for_who_has_nothing():
    held = [holds(B, "0", busy=1, ready=70)]
    early = place(machine(gpus=1, held=held), [want(A, since=50)], NOW)
    assert (early.to_drain, early.look_again_at) == ((), NOW + timedelta(seconds=10))
    assert place(machine(gpus=1, held=held), [want(A, since=60)], NOW).to_drain == ("b0",)
    assert place(machine(gpus=1, held=held, minimums={B: 1}), [want(A, since=60)], NOW).to_drain == ()


def test_who_has_one_does_not_take_turns_with_who_has_two():
    held = [holds(A, "0", busy=1), holds(B, "1", busy=1), holds(B, "2", busy=1)]
    assert place(machine(gpus=3, held=held), [want(A, since=900)], NOW).to_drain == ()
    more = [*held, holds(B, "3", busy=1)]
    assert len(place(machine(gpus=4, held=more), [want(A, since=900)], NOW).to_drain) == 1


def test_what_gets_free_is_kept_for_who_has_been_overtaken_for_long():
    held = [holds(C, "0", busy=1, ready=1)]
    wants = [want(A, gpus=2, since=5), want(B)]
    assert granted(machine(held=held), *wants) == [B]
    assert place(machine(held=held), wants, NOW).look_again_at == NOW + timedelta(seconds=15)
    patient = place(machine(held=held), [want(A, gpus=2, since=20), want(B)], NOW)
    assert patient.grants == {}
    assert patient.refusals[1].sentence == "it needs 1 GPU; what is free is kept for an app that has waited for longer"


apps = st.sampled_from([A, B, C])
sizes = st.tuples(st.integers(0, 3), st.sampled_from([None, 1, 6, 20]), st.sampled_from([0, 0.5, 4]))


@st.composite
def situations(draw):
    gpus = draw(st.integers(0, 4))
    free = [str(number) for number in range(gpus)]
    held = []
    for number in range(draw(st.integers(0, 5))):
        taken, free = free[: (size := draw(st.integers(0, 2)))], free[size:]
        busy = draw(st.integers(0, 1))
        state = draw(st.sampled_from(RunnerState))
        held.append(
            holds(draw(apps), *taken, memory=draw(st.sampled_from([None, 1, 3])), busy=busy, state=state, name=f"h{number}")
        )
    return machine(gpus=gpus, held=held, minimums={each: draw(st.integers(0, 2)) for each in (A, B, C)})


wants_lists = st.lists(
    st.builds(
        lambda app, size, since, urgent: want(app, *size, since=since, urgent=urgent),
        apps,
        sizes,
        st.sampled_from([0, 30, 100]),
        st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=300)
@given(situations(), wants_lists)
def test_nothing_is_given_twice_and_nobody_is_wronged(situation, wants):
    placement = place(situation, wants, NOW)
    assert sorted([*placement.grants, *placement.refusals]) == list(range(len(wants)))
    grants = [each.grant for each in situation.held] + list(placement.grants.values())
    gpus = [gpu for grant in grants for gpu in grant.gpus]
    assert len(gpus) == len(set(gpus))
    assert set(gpus) <= set(situation.capacity.gpus)
    assert sum(grant.memory or 0 for grant in grants) <= situation.capacity.memory
    by_id = {each.runner: each for each in situation.held}
    leaving = Counter(by_id[runner].app for runner in (*placement.to_stop, *placement.to_drain))
    ready = Counter(each.app for each in situation.held if each.state is RunnerState.READY)
    assert all(ready[app] - count >= situation.minimums[app] for app, count in leaving.items())
    assert all(by_id[runner].busy == 0 for runner in placement.to_stop)
    assert all(by_id[runner].state is RunnerState.READY for runner in (*placement.to_stop, *placement.to_drain))


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 4), st.lists(st.sampled_from([1, 1, 2, 4]), min_size=2, max_size=6))
def test_on_a_machine_that_is_too_small_everybody_gets_a_turn(seed, gpus, needs):
    """Apps that always have work for more runners than there can be: in every long enough span each has had one."""
    rng = random.Random(seed)
    needs = [min(need, gpus) for need in needs]
    names = [AppName("o", f"app{number}") for number in range(len(needs))]
    held, placed_at, since, had_at = [], {}, dict.fromkeys(names, NOW), dict.fromkeys(names, NOW)
    turn, now, starts = timedelta(seconds=60), NOW, 0
    longest = 3 * len(names) * (turn + timedelta(seconds=60))
    while now < NOW + timedelta(hours=1):
        held = [each for each in held if each.state is RunnerState.READY or rng.random() < 0.5]  # a prediction takes some 20 s
        wants = [want(name, gpus=need, since=(NOW - since[name]).total_seconds()) for name, need in zip(names, needs, strict=True)]
        placement = place(machine(gpus=gpus, held=held, placed_at=placed_at), wants, now)
        for number, grant in placement.grants.items():
            starts += 1
            app = names[number]
            held.append(
                Held(
                    runner=RunnerId(str(starts)),
                    app=app,
                    revision=RevisionId("r"),
                    grant=grant,
                    state=RunnerState.READY,
                    busy=1,
                    ready_at=now,
                )
            )
            placed_at[app] = had_at[app] = now
        drained = set(placement.to_drain)
        held = [Held(**{**vars(each), "state": RunnerState.DRAINING}) if each.runner in drained else each for each in held]
        for name in names:
            if any(each.app == name for each in held):
                had_at[name] = now
            assert now - had_at[name] < longest, f"{name} starves"
        since = {name: now if number in placement.grants else since[name] for number, name in enumerate(names)}
        now += timedelta(seconds=10)
    assert starts <= 60 * gpus + len(names)  # a turn is a turn
