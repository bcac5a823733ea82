"""``run`` serves a project; the hidden ``healthcheck`` asks a running server whether it is well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.errors import InvalidInput
from ragvision_app.cli.console import complain, out, say, warn
from ragvision_app.projects import DEMO_PROJECT, is_demo, is_there, place

PortOption = Annotated[
    int,
    typer.Option("--port", min=0, max=65535, envvar="RAGVISION_PORT", help="Port to listen on; 0 takes a free one."),
]


def run(
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            metavar="DIR",
            envvar="RAGVISION_PROJECT",
            help="Project folder, made when it is missing. Without it: the demo's, or the one of --images.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Label the images of this folder, in a project named after it.", show_default=False
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Fill a project that is not there yet with the demo.")] = False,
    port: PortOption = 8501,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than loopback asks for a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(envvar="RAGVISION_TOKEN", help="Token to ask for, instead of one made up.", show_default=False),
    ] = None,
    log_requests: Annotated[
        bool | None,
        typer.Option(
            "--log-requests/--no-log-requests",
            help="A line of JSON a request of the API on stderr. Without it: RAGVISION_LOG_REQUESTS, else on any "
            "address but loopback.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start the workbench and its HTTP API, and print the address.

    [bold]Examples[/]

    python -m ragvision_app run --demo

    python -m ragvision_app run --images ~/photos --port 8600

    python -m ragvision_app run --project data/projects/cells --host 0.0.0.0
    """
    from ragvision_app.server import WILDCARDS, check_address, serve

    if images is not None and demo:
        raise InvalidInput("--images and --demo exclude each other: choose your own images or the demo's.")
    check_address(host, port, token, log_requests)
    if images is not None:
        project = _bring_in(images, project)
    elif project is None:
        project = DEMO_PROJECT
        demo = True  # the only project that has no name given is the demo's
    if demo and not is_there(project):
        from ragvision_app.cli.demo import make_demo

        make_demo(project)
    elif demo and not is_demo(project):
        warn(
            f"{place(project)} is not the demo but a project of its own, and is served as it is. "
            "For the demo name a new folder: --project data/projects/new-demo."
        )

    def announce(link: str) -> None:
        out.print("\n  RAG Vision Workbench is ready:", end=" ")
        # as it is, on its own: a terminal makes it clickable, a script can read it
        out.print(link, markup=False, style="bold", soft_wrap=True)
        if host in WILDCARDS:
            say(f"  From another machine: the same link, with this machine's name or address for {WILDCARDS[host]}.")
        say(f"  Project {place(project)}. Ctrl-C stops the server; nothing that was decided is lost.\n")

    serve(project, host=host, port=port, token=token, log_requests=log_requests, announce=announce)


def healthcheck(port: PortOption = 8501) -> None:
    """Exit code 0 when the server on this machine's port answers that it is well."""
    import urllib.error
    import urllib.request

    address = f"http://127.0.0.1:{port}/api/ragvision/healthcheck"
    try:
        with urllib.request.urlopen(address, timeout=4) as answer:
            answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        complain(f"No healthy server on port {port}: {getattr(error, 'reason', error)}.")
        raise typer.Exit(1) from error


def _bring_in(images: Path, project: Path | None) -> Path:
    """The project of a folder of images, with the folder imported unless that was done and nothing has changed."""
    from ragvision_app.cli.images import bring_in
    from ragvision_app.projects import is_imported, project_of, remember_folder, removed_if_empty

    project = project or project_of(images)
    if not (is_there(project) and is_imported(project, images)):
        with removed_if_empty(project):
            # the project knows its folder first: an import that is interrupted goes on in the same project
            remember_folder(project, images, imported=False)
            bring_in([images], project)
            remember_folder(project, images, imported=True)
    return project
