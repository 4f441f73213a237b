"""`edge-coordinator dashboard`: pages over what the coordinator knows, and who may see them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import click

from coordinator.commands.options import existing, existing_home_option, home_option, json_option, show

ROLES = ["viewer", "engineer", "operator", "officer"]


@click.group(invoke_without_command=True)
@home_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--name", "names", multiple=True, help="DNS name or address by which people reach it; repeat.")
@click.option("--port", default=8500, show_default=True, type=click.IntRange(0, 65_535), help="0: any.")
@click.option("--tls", is_flag=True, help="Serve by TLS, with a certificate of the coordinator's own authority.")
@click.option(
    "--certificate",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="PEM of your own, with its chain.",
)
@click.option("--key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its private key.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written with the port when it answers.")
@click.pass_context
def dashboard(
    ctx: click.Context,
    home: Path,
    host: str,
    names: Sequence[str],
    port: int,
    tls: bool,
    certificate: Path | None,
    key: Path | None,
    ready_file: Path | None,
) -> None:
    """Serve the dashboard: fleet, rounds, rollouts, experiments, drift, budgets, audit log, privacy.

    It reads the home's database, so it also works while `up` does not run. People sign in; see `users`.

    \b
    edge-coordinator dashboard users add ann --role operator
    edge-coordinator dashboard
    edge-coordinator dashboard --host 0.0.0.0 --name fleet.example.org --tls
    """
    if ctx.invoked_subcommand is not None:
        return
    existing(home)
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key go together")
    from coordinator.shell.dashboard.serve import Options, serve

    options = Options(
        home=home,
        host=host,
        names=tuple(names),
        port=port,
        tls=tls,
        certificate=certificate,
        key=key,
        ready_file=ready_file,
    )
    serve(options, click.echo)


@dashboard.group()
def users() -> None:
    """Who may sign in to the dashboard, and as what.

    \b
    edge-coordinator dashboard users add ann --role operator
    edge-coordinator dashboard users ls
    edge-coordinator dashboard users rm ann
    """


@users.command("add")
@click.argument("name")
@click.option(
    "--role",
    required=True,
    type=click.Choice(ROLES),
    help="viewer looks; engineer also stops rollouts and releases sums; operator also resumes and promotes, and reads "
    "the audit log; officer reads the audit log and the privacy page, and changes nothing.",
)
@click.option(
    "--password-file", type=click.File("r"), help="Its first line; - reads it from standard input. Default: asked for."
)
@home_option
@json_option
def add(name: str, role: str, password_file: TextIO | None, home: Path, as_json: bool) -> None:
    """Let NAME sign in; the password is asked for, twelve characters or more."""
    import msgspec

    from coordinator.shell.dashboard.users import Users
    from firmware_configs.errors import UsageError

    if password_file is not None:
        try:
            password = password_file.readline().rstrip("\r\n")
        except UnicodeDecodeError:
            raise UsageError(f"{password_file.name} is not UTF-8", hint="write the password into it as text") from None
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    user = Users(home).add(name, role, password)  # type: ignore[arg-type]
    show(msgspec.to_builtins(user), f"{name} may sign in as {role}", as_json)


@users.command("ls")
@existing_home_option
@json_option
def list_users(home: Path, as_json: bool) -> None:
    """List who may sign in."""
    import msgspec

    from coordinator.shell.dashboard.users import Users

    found = Users(home).all()
    lines = [f"{one.name:<24} {one.role}" for one in found]
    none = "nobody can sign in yet: edge-coordinator dashboard users add NAME --role operator"
    show([msgspec.to_builtins(one) for one in found], "\n".join(lines) or none, as_json)


@users.command("rm")
@click.argument("name")
@existing_home_option
@json_option
def remove(name: str, home: Path, as_json: bool) -> None:
    """Let NAME in no more, and sign NAME out."""
    import msgspec

    from coordinator.shell.dashboard.users import Users

    gone = Users(home).remove(name)
    show(msgspec.to_builtins(gone), f"{name} is no user any more", as_json)
