# SPDX-License-Identifier: MIT
"""The group of commands, for click."""

from __future__ import annotations

from importlib import import_module

import click

from .. import __version__
from . import COMMANDS, overview

__all__ = ["run"]


class Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{__package__}.{name.replace('-', '_')}").command
        return command

    def get_help(self, context: click.Context) -> str:
        return overview().rstrip()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="mmf %(version)s")
def mmf() -> None:
    """Memory-mapped files and named shared memory."""


def run(arguments: list[str]) -> int:
    """Runs a command; returns its exit code."""
    try:
        code = mmf.main(arguments, prog_name="mmf", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return int(code or 0)
