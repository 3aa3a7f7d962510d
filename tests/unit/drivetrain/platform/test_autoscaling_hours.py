"""Hours of traffic, failing starts, new releases and changed settings, simulated; what must hold at every moment of them."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from scaling_simulation import BEGIN, Machine, Simulation, Traffic

from drivetrain.platform.app import RevisionId, Scaler, Scaling

scalings = st.builds(
    Scaling,
    min_runners=st.integers(0, 3),
    max_runners=st.integers(1, 8),
    keep_alive=st.sampled_from([timedelta(0), timedelta(seconds=5), timedelta(seconds=60), timedelta(minutes=20)]),
    buffer=st.integers(0, 2),
    buffer_percent=st.sampled_from([0, 0, 20, 100]),
    scaling_delay=st.sampled_from([timedelta(0), timedelta(seconds=3), timedelta(minutes=1)]),
    scaler=st.sampled_from(Scaler),
    scaler_value=st.sampled_from([0.5, 1, 4, 10]),
)
traffics = st.builds(
    Traffic,
    seed=st.integers(0, 10**6),
    requests=st.integers(1, 30),
    burst=st.integers(1, 8),
    gap=st.sampled_from([0, 1, 20, 120, 600]),
    work=st.sampled_from([0, 0.2, 5, 90]),
    setup=st.sampled_from([0, 0.5, 30, 300]),
    failing=st.sampled_from([0, 0, 0.2, 0.9]),
    releases=st.integers(0, 2),
    pinned=st.sampled_from([0, 0, 0.3]),
)
steady = traffics.map(lambda traffic: replace(traffic, failing=0, releases=0, pinned=0))


@settings(max_examples=300)
@given(scalings, traffics, st.integers(1, 4), st.sampled_from([("r0",), ("r0", "r1"), ("r0", "r1", "r2")]))
def test_hours(scaling, traffic, slots, revisions):
    """Every request is served in the end, and what is left then is what the settings keep."""
    ended = Simulation(scaling, traffic, slots, revisions).run()
    assert ended.counts["served"] == ended.counts["requests"]
    kept = min(max(scaling.min_runners, scaling.buffer), scaling.max_runners)
    assert len(ended.runners) == kept
    assert {runner.revision for runner in ended.runners.values()} <= {share.revision for share in ended.alias}


@settings(max_examples=40)
@given(scalings, traffics, st.integers(1, 4))
def test_every_start_has_a_reason(scaling, traffic, slots):
    """A request, a failure, a release, or the minimum: nothing starts by itself."""
    scaling = replace(scaling, buffer=0, buffer_percent=0)
    counts = Simulation(scaling, traffic, slots).run().counts
    reasons = counts["requests"] + counts["failures"] + scaling.min_runners * (1 + traffic.releases)
    assert counts["starts"] <= reasons


@settings(max_examples=40)
@given(scalings, steady, st.integers(1, 4))
def test_traffic_without_long_pauses_flaps_nothing(scaling, traffic, slots):
    """What has served stays for its time, so it does not have to come again."""
    scaling = replace(scaling, keep_alive=timedelta(days=1))

    def none_left(simulation):
        if simulation.now < BEGIN + scaling.keep_alive:
            assert simulation.counts["starts"] <= scaling.max_runners + simulation.counts["stopped unused"]
            assert simulation.counts["stops"] == simulation.counts["stopped unused"]

    Simulation(scaling, traffic, slots).run(none_left)


@settings(max_examples=40)
@given(scalings, steady, st.integers(1, 4))
def test_demand_is_met_up_to_the_maximum(scaling, traffic, slots):
    """As soon as requests have waited for the scaling delay there are runners for all of them, on their way at least."""
    scaling = replace(scaling, scaler=Scaler.CONCURRENCY)

    def enough(simulation):
        queue = simulation.waiting[RevisionId("r0")]
        under_way = sum(runner.busy for runner in simulation.runners.values())
        if queue and simulation.now - queue[0] >= scaling.scaling_delay:
            wanted = -(-(len(queue) + under_way) // slots)
            assert len(simulation.runners) >= min(scaling.max_runners, wanted)

    Simulation(scaling, traffic, slots).run(enough)


@settings(max_examples=40)
@given(scalings, steady)
def test_to_zero_and_back(scaling, traffic):
    scaling = replace(scaling, min_runners=0, buffer=0)
    simulation = Simulation(scaling, traffic).run()
    assert simulation.runners == {}
    simulation.now += timedelta(hours=1)
    simulation.arrive(1)
    simulation.scale()
    assert simulation.run().counts["served"] == simulation.counts["requests"]
    assert simulation.runners == {}


@settings(max_examples=40)
@given(
    st.lists(st.tuples(scalings, traffics, st.integers(1, 3)), min_size=2, max_size=5),
    st.lists(st.integers(1, 2), min_size=5),
    st.integers(1, 3),
)
def test_apps_share_a_machine_that_is_too_small(apps, needs, gpus):
    """Everybody's requests are served in the end, and the machine comes to rest: nobody takes from each other for ever."""
    made = [
        Simulation(replace(scaling, min_runners=0), traffic, slots, name=f"app{number}")
        for number, (scaling, traffic, slots) in enumerate(apps)
    ]
    machine = Machine(made, {app.name: min(need, gpus) for app, need in zip(made, needs, strict=False)}, gpus).run()
    for app in machine.apps.values():
        assert app.counts["served"] == app.counts["requests"]
