"""The application put together: its commands, and what becomes of a failure."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import typer

from core.errors import RagVisionError
from ragvision_app.cli import bench, demo, describe, doctor, labels, predict, run, tokens
from ragvision_app.cli import images as images_commands
from ragvision_app.cli.console import complain

app = typer.Typer(
    name="ragvision",
    help="Label images with one key each, seeing the evidence that decided every suggestion.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("run")(run.run)
app.command("import")(images_commands.import_)
app.command("predict")(predict.predict)
app.command("export")(labels.export)
app.command("import-labels")(labels.import_labels)
app.add_typer(tokens.tokens)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)
app.command("demo")(demo.demo)
app.command("demo-check", hidden=True)(demo.demo_check)
app.command("healthcheck", hidden=True)(run.healthcheck)
app.command("openapi", hidden=True)(describe.openapi)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 1 for a failure, 2 for a usage error, 130 for Ctrl-C.

    A failure that was foreseen is one sentence on stderr; only a bug of ours shows a traceback.
    """
    try:
        app(args=None if argv is None else list(argv), prog_name="python -m ragvision_app")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except RagVisionError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read our output has gone (`… | head`): nothing is left to say, not at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.")
        return 1
    return 0
