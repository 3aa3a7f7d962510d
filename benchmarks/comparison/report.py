"""From measurements to tables, JSON and a picture."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import chart

#: By scenario, by system: what each round gave, or why it gave nothing.
Results: TypeAlias = dict[str, dict[str, list[Any]]]

#: By what is measured: its figures, each with its unit in its name.
OwnResults: TypeAlias = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What drivetrain is to reach, as a ratio to another system's median of the same run."""

    text: str
    scenario: str
    figure: str
    bound: float
    against: str = "cog"
    is_least: bool = True


_GOALS = (
    Goal(text="throughput, trivial, 1 client", scenario="trivial, 1 client", figure="per second", bound=3),
    Goal(text="throughput, trivial, 32 clients", scenario="trivial, 32 clients", figure="per second", bound=5),
    Goal(text="p99 at 32 clients", scenario="trivial, 32 clients", figure="p99 ms", bound=0.25, is_least=False),
    Goal(text="CPU per prediction, 1 client", scenario="trivial, 1 client", figure="CPU µs", bound=0.3, is_least=False),
    Goal(text="CPU per prediction, 32 clients", scenario="trivial, 32 clients", figure="CPU µs", bound=0.3, is_least=False),
    Goal(text="tokens, 1 stream", scenario="stream of 100 tokens, 1 client", figure="tokens per second", bound=3),
    Goal(
        text="tokens, 1 stream, a connection for each",
        scenario="stream of 100 tokens, 1 client, a connection for each",
        figure="tokens per second",
        bound=3,
    ),
    Goal(text="tokens, 32 streams", scenario="stream of 100 tokens, 32 clients", figure="tokens per second", bound=5),
    Goal(
        text="first token, 1 stream",
        scenario="stream of 100 tokens, 1 client",
        figure="first token p50 ms",
        bound=0.5,
        is_least=False,
    ),
    Goal(
        text="first token, 1 stream, a connection for each",
        scenario="stream of 100 tokens, 1 client, a connection for each",
        figure="first token p50 ms",
        bound=0.5,
        is_least=False,
    ),
    Goal(
        text="start to first prediction", scenario="start and memory", figure="start to first answer s", bound=0.4, is_least=False
    ),
    Goal(text="resident memory at idle", scenario="start and memory", figure="resident MB", bound=0.7, is_least=False),
    Goal(text="proportional memory at idle", scenario="start and memory", figure="proportional MB", bound=0.7, is_least=False),
    Goal(text="10 MB file output, 1 client", scenario="10 MB file, 1 client", figure="per second", bound=2),
    Goal(text="10 MB file output, 4 clients", scenario="10 MB file, 4 clients", figure="per second", bound=2),
    Goal(
        text="share of a bare ASGI echo, 32 clients",
        scenario="trivial, 32 clients",
        figure="per second",
        bound=0.5,
        against="bare ASGI",
    ),
)


def describe_machine() -> str:
    """What can be said without asking anybody."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"


def write(about: Mapping[str, Any], results: Results, own: OwnResults, path: Path | None) -> None:
    """Write ``path.md``, ``path.json`` and ``path.svg``; or print the tables.

    Args:
        about: Date, machine, versions, command.
        results: Of the comparison.
        own: Of what only drivetrain was asked.
        path: Without a suffix.
    """
    text = markdown(about, results, own, picture=path.name + ".svg" if path is not None and results else None)
    if path is None:
        print(text)
        return
    Path(f"{path}.md").write_text(text)
    Path(f"{path}.json").write_text(json.dumps({"about": about, "results": results, "own": own}, indent=1) + "\n")
    if results:
        Path(f"{path}.svg").write_text(chart.draw(_throughputs(results)))
    print(f"wrote {path}.md", file=sys.stderr)


def markdown(about: Mapping[str, Any], results: Results, own: OwnResults, *, picture: str | None) -> str:
    """The whole report."""
    versions = ", ".join(sorted({f"{name} {version}" for each in about["versions"].values() for name, version in each.items()}))
    lines = [
        f"# Measured on {about['date']}",
        "",
        f"On: {about['machine']}, Python {about['python']}. {about['rounds']} round(s), loads of {about['seconds']:g} s, all in",
        "turn; medians of the rounds, but all that failed. In brackets: the ratio to Cog in the same run.",
        "",
        *([f"Versions: {versions}.", ""] if versions else []),
        f"Command: `{about['command']}`",
        "",
    ]
    if picture is not None:
        lines += [f"![Throughput beside the others]({picture})", ""]
    if goals := _goal_rows(results):
        lines += ["## Goals", "", "| goal | is to be | is | reached |", "|---|---|---|---|", *goals, ""]
    for scenario, systems in results.items():
        lines += [f"## {scenario[0].upper()}{scenario[1:]}", "", *_table(systems), ""]
    if own:
        lines += ["## What only drivetrain was asked", "", "| measured | result |", "|---|---|"]
        lines += [f"| {name} | {_figures(figures)} |" for name, figures in own.items()]
        lines.append("")
    return "\n".join(lines)


def _goal_rows(results: Results) -> list[str]:
    rows = []
    for goal in _GOALS:
        ours = median(results, goal.scenario, "drivetrain", goal.figure)
        theirs = median(results, goal.scenario, goal.against, goal.figure)
        if ours is None or not theirs:
            continue
        ratio = ours / theirs
        is_reached = ratio >= goal.bound if goal.is_least else ratio <= goal.bound
        sign = "≥" if goal.is_least else "≤"
        rows.append(f"| {goal.text} | {sign} {goal.bound:g} times {goal.against} | {ratio:.2f} | {'yes' if is_reached else 'no'} |")
    return rows


def median(results: Results, scenario: str, system: str, figure: str) -> float | None:
    """Of the rounds that gave something; ``None`` if none did."""
    values = [each[figure] for each in results.get(scenario, {}).get(system, []) if isinstance(each, dict)]
    return statistics.median(values) if values else None


def _table(systems: Mapping[str, list[Any]]) -> list[str]:
    figures = next((list(each) for rounds in systems.values() for each in rounds if isinstance(each, dict)), [])
    lines = [f"| system | {' | '.join(figures)} |", "|---" * (len(figures) + 1) + "|"]
    for system, rounds in systems.items():
        cells = [_cell(systems, system, figure) for figure in figures]
        problems = [each for each in rounds if isinstance(each, str)]
        note = f" (failed in {len(problems)} of {len(rounds)} rounds)" if problems else ""
        lines.append(f"| {system}{note} | {' | '.join(cells)} |")
    return lines


def _cell(systems: Mapping[str, list[Any]], system: str, figure: str) -> str:
    if figure == "failed":  # of all rounds: a median would hide them
        told = [each[figure] for each in systems[system] if isinstance(each, dict)]
        return number(sum(told)) if told else "-"
    value = median({"": dict(systems)}, "", system, figure)
    cog = median({"": dict(systems)}, "", "cog", figure)
    if value is None:
        return "-"
    ratio = f" ({value / cog:.2f})" if cog and system != "cog" else ""
    return number(value) + ratio


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _figures(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in figures.items())


def _throughputs(results: Results) -> dict[str, dict[str, float]]:
    """What the picture shows: for a few scenarios, each system's median."""
    wanted = {
        "trivial, 1 client": "per second",
        "trivial, 32 clients": "per second",
        "sleep of 10 ms, 32 clients": "per second",
        "stream of 100 tokens, 32 clients": "tokens per second",
    }
    return {
        f"{scenario}: {figure}": {
            system: value for system in results[scenario] if (value := median(results, scenario, system, figure)) is not None
        }
        for scenario, figure in wanted.items()
        if scenario in results
    }
