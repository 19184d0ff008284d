"""PostgreSQL, the database behind MLflow."""

from __future__ import annotations

from pathlib import Path

from ai_how.run import Command
from ai_how.services.layout import Layout
from ai_how.services.model import CommandProbe, File, Initialisation, Service, Setting, Settle, aside

ROLE = "ai_how"
#: PostgreSQL refuses to run as root; this is the account that its packages make.
ACCOUNT = "postgres"
_CREATE_DATABASE = (
    "SELECT 'CREATE DATABASE mlflow' "
    "WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'mlflow')\\gexec\n"
)


def socket_folder(layout: Layout) -> Path:
    """Where PostgreSQL's Unix socket lies."""
    return layout.run / "postgresql"


def password_file(layout: Layout) -> Path:
    """For libpq's PGPASSFILE: the password is in no argument list and in no environment."""
    return layout.secrets / "pgpass"


def uri(setting: Setting, database: str) -> str:
    """SQLAlchemy's address of a database; the password comes from :func:`password_file`."""
    return f"postgresql+psycopg2://{ROLE}@127.0.0.1:{setting.ports['postgresql']}/{database}"


def define(setting: Setting) -> Service:
    layout, port = setting.layout, setting.ports["postgresql"]
    # In folders of their own, which as root belong to PostgreSQL's account.
    data = layout.data / "postgresql" / "cluster"
    account = ACCOUNT if setting.host.is_root else None
    password = data.parent / "password"
    env = {**setting.program_env("postgres"), "LC_ALL": "C.UTF-8"}
    client_env = {**setting.program_env("psql"), "PGPASSFILE": str(password_file(layout))}
    psql = (
        setting.program("psql"), "--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--host=127.0.0.1",
        f"--port={port}", f"--username={ROLE}", "--dbname=postgres",
    )  # fmt: skip
    create = Command(psql, env=client_env, stdin=_CREATE_DATABASE)
    return Service(
        name="postgresql",
        purpose="the database behind MLflow",
        argv=(
            setting.program("postgres"),
            f"-D{data}",
            f"-p{port}",
            "-clisten_addresses=127.0.0.1",
            f"-cunix_socket_directories={socket_folder(layout)}",
        ),
        env=env,
        folders=(data.parent, socket_folder(layout)),
        files=(
            File(password_file(layout), f"127.0.0.1:{port}:*:{ROLE}:{setting.secrets['postgresql']}\n"),
            File(password, setting.secrets["postgresql"] + "\n", account=account),
        ),
        initialisation=_initialisation(setting, data, password, account),
        account=account,
        probe=CommandProbe(Command((*psql, "--command=SELECT 1"), env=client_env, timeout=5)),
        settle=(Settle(create),),
        ports={"postgresql": port},
        stop_signal="INT",
    )


def _initialisation(setting: Setting, data: Path, password: Path, account: str | None) -> Initialisation:
    words = (
        setting.program("initdb"), f"--pgdata={aside(data)}", f"--username={ROLE}", "--auth=scram-sha-256",
        f"--pwfile={password}", "--encoding=UTF8", "--locale=C.UTF-8",
    )  # fmt: skip
    env = {**setting.program_env("initdb"), "LC_ALL": "C.UTF-8"}
    return Initialisation(data, (Command(words, env=env, user=account),))
