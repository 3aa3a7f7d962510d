"""Compare drivetrain with other servers of models on this machine.

    python benchmarks/comparison             everything, several rounds: hours are well spent on a quiet machine
    python benchmarks/comparison --quick     drivetrain and Cog, the figures of the goals: minutes
    python benchmarks/comparison --own       what only drivetrain is asked: workers, many predictions at once, batches, slow clients
    python benchmarks/comparison --long 60   an hour at full load: does anything grow?

All systems run in turn, in every round in another order, so that what else the machine does hits all of them alike. What is
reported are medians of the rounds, and ratios of these.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path

import long_run
import own
import report
from scenarios import Figures, Pace, Scenario, scenarios
from systems import COG, DRIVETRAIN, SYSTEMS, System


def main() -> None:
    """Run what the arguments ask for."""
    arguments = _arguments()
    if arguments.long:
        long_run.run(minutes=arguments.long)
        return
    pace = Pace(seconds=arguments.seconds)
    own_results = own.measure(pace, arguments.rounds) if arguments.own else {}
    results = {} if arguments.own else _compare(_chosen_scenarios(arguments, pace), _chosen_systems(arguments), arguments.rounds)
    about = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": arguments.machine or report.describe_machine(),
        "python": platform.python_version(),
        "command": shlex.join(["python", "benchmarks/comparison", *sys.argv[1:]]),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "versions": {name: SYSTEMS[name].versions() for name in {system for each in results.values() for system in each}},
    }
    report.write(about, results, own_results, arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="drivetrain and Cog, the figures of the goals")
    parser.add_argument("--own", action="store_true", help="what only drivetrain is asked")
    parser.add_argument("--long", type=float, metavar="MINUTES", help="load for so long, and tell what grows")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured [3]")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each load lasts [4]")
    parser.add_argument("--systems", metavar="NAME,…", help=f"of {', '.join(SYSTEMS)}")
    parser.add_argument("--scenarios", metavar="TEXT;…", default="", help="those whose names hold one of the texts")
    parser.add_argument("--machine", help="what the report calls this machine")
    parser.add_argument("--out", type=Path, metavar="PATH", help="write PATH.md, PATH.json and PATH.svg; else print the tables")
    return parser.parse_args()


def _chosen_systems(arguments: argparse.Namespace) -> list[System]:
    if arguments.systems:
        return [SYSTEMS[name] for name in arguments.systems.split(",")]
    return [DRIVETRAIN, COG] if arguments.quick else list(SYSTEMS.values())


def _chosen_scenarios(arguments: argparse.Namespace, pace: Pace) -> list[Scenario]:
    texts = [text for text in arguments.scenarios.split(";") if text] or [""]
    return [
        scenario
        for scenario in scenarios(pace)
        if any(text in scenario.name for text in texts) and (scenario.is_quick or not arguments.quick)
    ]


def _compare(chosen: list[Scenario], systems: list[System], rounds: int) -> report.Results:
    results: report.Results = {}
    for number in range(rounds):
        for scenario in chosen:
            for system in [*systems[number % len(systems) :], *systems[: number % len(systems)]]:
                if scenario.suits(system):
                    print(f"round {number + 1} of {rounds}: {scenario.name}: {system.name}", file=sys.stderr, flush=True)
                    results.setdefault(scenario.name, {}).setdefault(system.name, []).append(_measure(scenario, system))
    return results


def _measure(scenario: Scenario, system: System) -> Figures | str:
    try:
        return scenario.measure(system)
    except Exception as error:  # noqa: BLE001 (a system that fails is a result too)
        print(f"    {error}", file=sys.stderr)
        return str(error)


if __name__ == "__main__":
    main()
