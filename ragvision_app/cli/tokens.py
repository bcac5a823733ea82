"""``token``: who may use the HTTP API of a project, and what for."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from core.errors import InvalidInput
from core.text import printable
from ragvision_app.cli.console import say, show_table, warn
from ragvision_app.cli.options import NamedProjectOption, workbench_at
from ragvision_app.projects import named_or_demo, place

LONGEST_DAYS = 3650

tokens = typer.Typer(
    name="token",
    help="Tokens for programs, and for people who label from another machine.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@tokens.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for; shown in lists and in the log.")],
    scope: Annotated[
        str,
        typer.Option(metavar="read|label|admin", help="read: look; label: decide, too; admin: everything."),
    ] = "label",
    expires: Annotated[
        int | None, typer.Option("--expires", metavar="DAYS", help="End by itself after so many days.")
    ] = None,
    project: NamedProjectOption = None,
) -> None:
    """Make a token and print it: this once, since only its hash is kept.

    The token alone is on stdout; what is said about it is on stderr.

    [bold]Examples[/]

    python -m ragvision_app token create "night batch" --scope read --expires 30

    TOKEN=$(python -m ragvision_app token create ada --scope label --project data/projects/cells)
    """
    if expires is not None and not 1 <= expires <= LONGEST_DAYS:
        raise InvalidInput(f"--expires is {expires}; a token can end after 1 to {LONGEST_DAYS} days.")
    end = None if expires is None else (datetime.now(UTC) + timedelta(days=expires)).isoformat()
    project = named_or_demo(project)
    with workbench_at(project, create=False) as workbench:
        record, token = workbench.store.create_token(name, scope, expires_at=end)
    until = (
        "until it is revoked" if record.expires_at is None else f"until {record.expires_at[:16].replace('T', ' ')} UTC"
    )
    warn(
        f"Token {record.id} “{record.name}”, scope {record.scope}, {until}, for {place(project)}. Keep it: it is "
        "shown this once."
    )
    sys.stdout.write(f"{token}\n")
    sys.stdout.flush()


@tokens.command("list")
def list_(project: NamedProjectOption = None) -> None:
    """List the tokens, also those that have ended; never what they are.

    [bold]Example[/]

    python -m ragvision_app token list --project data/projects/cells
    """
    project = named_or_demo(project)
    with workbench_at(project, create=False) as workbench:
        records = workbench.store.tokens()
    if not records:
        say(f"{place(project)} has no token. Make one: python -m ragvision_app token create NAME")
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    table = Table("ID", "Name", "Scope", "State", "Made", "Ends", "Last used", box=None, pad_edge=False)
    for record in records:
        times = (record.created_at, record.expires_at, record.last_used_at)
        made, ends, used = ("–" if each is None else each[:16].replace("T", " ") for each in times)
        # a Text, not markup: a name is never taken for a style
        table.add_row(str(record.id), Text(printable(record.name)), record.scope, record.state(now), made, ends, used)
    show_table(table)


@tokens.command("revoke")
def revoke(
    token_id: Annotated[int, typer.Argument(metavar="ID", help="Its number in `token list`.")],
    project: NamedProjectOption = None,
) -> None:
    """End a token at once and for good, also on a server that is running.

    [bold]Example[/]

    python -m ragvision_app token revoke 3 --project data/projects/cells
    """
    project = named_or_demo(project)
    with workbench_at(project, create=False) as workbench:
        record = workbench.store.revoke_token(token_id)
    say(f"Token {record.id} “{record.name}” is revoked; it opens nothing any more.")
