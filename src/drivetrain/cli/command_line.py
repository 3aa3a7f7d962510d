"""The commands of the ``drivetrain`` command line: finds the one that is called, and tells what was wrong in the words."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from drivetrain import __version__
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import Misuse

#: Commands in the order of the help page, and their modules. Imported when called: the command line must start fast.
COMMANDS = {
    "init": ("init", "Write a new project that runs as it is."),
    "run": ("run", "Run a prediction."),
    "serve": ("serve", "Serve predictions over HTTP."),
    "exec": ("execute", "Run a command inside the project's environment."),
    "train": ("train", "Run a training."),
    "build": ("build", "Build an image."),
    "push": ("push", "Build an image and send it to a registry."),
    "pull": ("pull", "Bring an image here from a registry."),
    "inspect": ("inspect", "Show what an image is."),
    "login": ("login", "Keep credentials for a registry."),
    "up": ("up", "Start a platform on this machine."),
    "down": ("down", "Stop the platform on this machine."),
    "deploy": ("deploy", "Deploy a project to a platform."),
    "call": ("call", "Run a prediction of an app on a platform."),
    "apps": ("apps", "List the apps of a platform."),
    "runners": ("platform_runners", "List, or stop, the runners of a platform."),
    "predictions": ("predictions", "List, show and cancel predictions on a platform."),
    "logs": ("logs", "Show what an app's runners write outside of predictions."),
    "queue": ("queue", "Show what waits and runs on a platform."),
    "secrets": ("secrets", "Keep secrets for apps on a platform."),
    "keys": ("keys", "Make and revoke API keys of a platform."),
    "scale": ("scale", "Change how an app on a platform scales."),
    "rollback": ("rollback", "Let an earlier revision of an app answer again."),
    "rm": ("rm", "Remove an app from a platform."),
    "doctor": ("doctor", "Look a project over, and mend what can be mended."),
    "debug": ("debug", "Show how the project is understood."),
}

#: Other names that people type for the same things.
ALIASES = {"predict": "run"}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"drivetrain.cli.{COMMANDS[name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, with the nearest name in the error."""
        name = args[0]
        if name not in COMMANDS and name not in ALIASES and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, [*COMMANDS, *ALIASES], n=1)
            hint = f"did you mean '{near[0]}'?" if near else "'drivetrain --help' lists the commands"
            raise Misuse(f"there is no command '{name}'", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(cls=LazyGroup, name="drivetrain", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", "-V", message="drivetrain %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks of drivetrain's own errors.")
@click.option("--no-color", is_flag=True, help="Write without colours; the environment variable NO_COLOR does the same.")
@click.option("--profile", is_flag=True, hidden=True)
@click.option("--registry", hidden=True, metavar="HOST")
@click.pass_context
def cli(ctx: click.Context, debug: bool, no_color: bool, profile: bool, registry: str | None) -> None:
    """Run Cog projects unchanged, on this machine, without Docker.

    In a directory with a cog.yaml:

    \b
        drivetrain run -i prompt="a horse" -i image=@photo.jpg
        drivetrain serve
    """
    ctx.obj = Terminal.of_process(os.environ, color=False if no_color else None, debug=debug)
    if profile:
        ctx.obj.note("--profile profiles Cog's own command line and has no meaning here")
    if registry:
        ctx.obj.note("--registry has no meaning without an image")


def carry_out(arguments: list[str], terminal: Terminal) -> int:
    """Run the command that the words of a command line name; the exit status.

    Raises:
        DrivetrainError: What the command raised.
        KeyboardInterrupt: It was interrupted.
    """
    try:
        result: Any = cli.main(args=arguments, prog_name="drivetrain", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        terminal.note(error.format_message())
        return 2
    except click.UsageError as error:
        terminal.error(_sentence(error), hint=_usage_hint(error))
        return 2
    except click.ClickException as error:
        terminal.error(error.format_message())
        return 1
    except click.Abort:
        raise KeyboardInterrupt from None


def _sentence(error: click.UsageError) -> str:
    return error.format_message().rstrip(".")


def _usage_hint(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else "drivetrain"
    return f"'{path} --help' lists what it takes"
