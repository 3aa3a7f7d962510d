"""``drivetrain run``: one prediction, or several without a second set-up."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from drivetrain.cli.image_words import ImageFlags, image_among, image_options
from drivetrain.cli.opening import open_project
from drivetrain.cli.options import BARE_JSON, container_options, input_option, json_option, project_options
from drivetrain.cli.prediction import Inputs, Order, carry_out
from drivetrain.cli.target import target_path
from drivetrain.cli.terminal import Terminal
from drivetrain.model.project import Mode


@click.command(name="run", short_help="Run a prediction.")
@click.argument("words", nargs=-1, metavar="[IMAGE]")
@input_option
@json_option
@click.option(
    "--batch",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.jsonl",
    help="A file with one JSON object of inputs a line. All run after one set-up, and each prints a line of JSON.",
)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="PATH",
    help="Where the output goes. With --json, a PATH that ends in .json is for the object, and files go beside it. "
    "[default: files to output.<type>, the rest to stdout]",
)
@click.option(
    "--setup-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long set-up may take.",
)
@click.option(
    "--use-replicate-token", is_flag=True, help="Let the model see REPLICATE_API_TOKEN, as it sees every variable of this shell."
)
@project_options
@container_options
@image_options
@click.pass_obj
def command(
    terminal: Terminal,
    words: tuple[str, ...],
    texts: tuple[str, ...],
    json_source: str | None,
    batch: Path | None,
    target: str | None,
    setup_timeout: float,
    use_replicate_token: bool,
    config_name: str | None,
    variables: tuple[str, ...],
    realisation: str,
    engine: str,
    gpus: str | None,
    platform: str | None,
) -> int:
    """Run a prediction of the project in this directory, or of an image.

    The project's environment is made on the first run. An image, made with Cog or here, runs in docker or podman, or unpacked. The
    result goes to stdout, logs go to stderr. "predict", the older name of this command in Cog, works as well.

    \b
        drivetrain run -i prompt="a horse"
        drivetrain run -i image=@photo.jpg -o sketch.png
        drivetrain run --batch prompts.jsonl > results.jsonl
        drivetrain run registry.example.com/team/model -i prompt="a horse"
    """
    flags = ImageFlags(engine=engine, gpus=gpus, platform=platform)
    image = image_among(words, flags, terminal)
    path = target_path(target)
    order = Order(
        mode=Mode.PREDICT,
        inputs=_inputs(texts, json_source, batch),
        target=path,
        as_json=json_source is not None or batch is not None,
        is_batch=batch is not None,
        setup_timeout=timedelta(seconds=setup_timeout),
    )
    if image is not None:
        from drivetrain.cli.image_running import carry_out as carry_out_in_container

        return carry_out_in_container(image, order, flags, variables, terminal)
    opening = open_project(terminal, config_name=config_name, realisation=realisation, variables=variables)
    return carry_out(opening, order, terminal)


def _inputs(texts: tuple[str, ...], json_source: str | None, batch: Path | None) -> list[Inputs]:
    from drivetrain.cli.inputs import read_batch, read_json_inputs, split_inputs

    shared = split_inputs(texts)
    values = read_json_inputs(json_source) if json_source not in (None, BARE_JSON) else {}
    if batch is None:
        return [Inputs(shared, values)]
    return [Inputs(shared, {**values, **line}) for line in read_batch(batch)]
