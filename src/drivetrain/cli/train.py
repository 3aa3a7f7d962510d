"""``drivetrain train``: run a project's training."""

from __future__ import annotations

from datetime import timedelta

import click

from drivetrain.cli.image_words import ImageFlags, image_among, image_options
from drivetrain.cli.opening import open_project
from drivetrain.cli.options import container_options, input_option, project_options
from drivetrain.cli.prediction import Inputs, Order, carry_out
from drivetrain.cli.target import target_path
from drivetrain.cli.terminal import Terminal
from drivetrain.model.project import Mode


@click.command(name="train", short_help="Run a training.")
@click.argument("words", nargs=-1, metavar="[IMAGE]")
@input_option
@click.option(
    "-o", "--output", "target", default="weights", show_default=True, metavar="PATH", help="Where the trained weights go."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON object.")
@click.option(
    "--setup-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long set-up may take.",
)
@project_options
@container_options
@image_options
@click.pass_obj
def command(
    terminal: Terminal,
    words: tuple[str, ...],
    texts: tuple[str, ...],
    target: str,
    as_json: bool,
    setup_timeout: float,
    config_name: str | None,
    variables: tuple[str, ...],
    realisation: str,
    engine: str,
    gpus: str | None,
    platform: str | None,
) -> int:
    """Run the training of the project in this directory, what its config names under "train", or that of an image.

    The weights, or whatever else it returns, go to the path given with -o; logs go to stderr.

    \b
        drivetrain train -i data=@photos.zip -i steps=1000 -o weights.tar
    """
    from drivetrain.cli.inputs import split_inputs

    flags = ImageFlags(engine=engine, gpus=gpus, platform=platform)
    image = image_among(words, flags, terminal, command="train")
    path = target_path(target)
    order = Order(
        mode=Mode.TRAIN,
        inputs=[Inputs(split_inputs(texts), {})],
        target=path,
        as_json=as_json,
        is_batch=False,
        setup_timeout=timedelta(seconds=setup_timeout),
    )
    if image is not None:
        from drivetrain.cli.image_running import carry_out as carry_out_in_container

        return carry_out_in_container(image, order, flags, variables, terminal)
    opening = open_project(terminal, config_name=config_name, realisation=realisation, variables=variables)
    return carry_out(opening, order, terminal)
