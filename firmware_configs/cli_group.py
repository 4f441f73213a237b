"""What the four commands have in common: errors with their fix, exit codes, completion, versions."""

import math
import os
import sys
from typing import Any

import click
from click.shell_completion import get_completion_class

from firmware_configs.errors import EdgeError, SystemRefused, refused
from firmware_configs.shown import block

HELP_NAMES = ["-h", "--help"]
"""A command keeps the option that it is first asked with: who makes a context of one without its group passes these."""
JSON_HELP = "Print one JSON document instead of text."


class FiniteRange(click.FloatRange):
    """A number between two, or above one; `nan` lies in every range as click sees it, and `inf` above each."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


class EdgeGroup(click.Group):
    """A command whose `EdgeError`s become `error: … fix: …` on stderr and an exit code.

    Exit codes: 0 done, 1 the work failed, 2 asked for in a wrong way (usage, settings, profile).
    """

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, context_settings={"help_option_names": HELP_NAMES}, **kwargs)
        self.examples = examples
        self.params.append(_version_option(self.name or "edgeward"))
        self.add_command(_completion(self.name or "edgeward"))

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        _take_help(cmd)
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EdgeError as error:
            click.echo(f"error: {block(str(error))}", err=True)
            ctx.exit(error.exit_status)
        except ModuleNotFoundError as error:
            from firmware_configs.extras import extra_of

            extra = extra_of(error.name or "", self.name or "")
            if not extra:
                raise
            click.echo(f"error: {error.name} is not installed\n  fix: pip install 'edgeward[{extra}]'", err=True)
            ctx.exit(2)
        except BrokenPipeError:
            # The reader of our output went away (`… | head`): not an error of ours.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:
            click.echo(f"error: {block(str(refused(error)))}", err=True)
            ctx.exit(SystemRefused.exit_status)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")


def _take_help(command: click.Command) -> None:
    """Have a command and all below it know the group's names of help, also when they are asked without it."""
    command.context_settings.setdefault("help_option_names", HELP_NAMES)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _take_help(one)


def _version_option(name: str) -> click.Option:
    def show(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            # A fifth of a command's start-up, for one option.
            from importlib.metadata import version

            click.echo(f"{name} {version('edgeward')}")
            ctx.exit()

    help_text = "Print the version and exit."
    return click.Option(["--version"], is_flag=True, expose_value=False, is_eager=True, callback=show, help=help_text)


def _completion(name: str) -> click.Command:
    @click.command("completion")
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    @click.pass_context
    def completion(ctx: click.Context, shell: str) -> None:
        """Print the completion script for a shell; add it to the shell's start-up file."""
        kind = get_completion_class(shell)
        if kind is None or ctx.parent is None:
            raise click.UsageError(f"{shell} is not supported")
        variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
        click.echo(kind(ctx.parent.command, {}, name, variable).source())

    return completion
