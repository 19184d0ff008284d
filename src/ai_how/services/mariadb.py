"""MariaDB, the database behind Slurm's accounting. It listens on a socket alone."""

from __future__ import annotations

from pathlib import Path

from ai_how.run import Command
from ai_how.services.layout import Layout
from ai_how.services.model import CommandProbe, Initialisation, Service, Setting, aside


def socket(layout: Layout) -> Path:
    """Where MariaDB listens; the folder around it is for the site's owner alone."""
    return layout.run / "mariadb" / "mariadb.sock"


def define(setting: Setting) -> Service:
    layout, user = setting.layout, setting.host.user
    data = layout.data / "mariadb"
    # A starting MariaDB clears the temporary tables out of its folder for them: in /tmp those of another site, too.
    env = {**setting.program_env("mariadbd"), "TMPDIR": str(socket(layout).parent)}
    base = ("--no-defaults", *_places(setting))
    client = (setting.program("mariadb"), "--no-defaults", f"--socket={socket(layout)}", f"--user={user}")
    return Service(
        name="mariadb",
        purpose="the database behind Slurm's accounting",
        argv=(
            setting.program("mariadbd"),
            *base,
            f"--datadir={data}",
            f"--user={user}",
            f"--socket={socket(layout)}",
            f"--pid-file={layout.run / 'mariadb' / 'mariadbd.pid'}",
            "--skip-networking",
            # What slurmdbd asks for, at the size of a workstation.
            "--innodb-buffer-pool-size=128M",
            "--innodb-lock-wait-timeout=900",
            "--innodb-log-file-size=64M",
            "--max-allowed-packet=16M",
        ),
        env=env,
        folders=(socket(layout).parent,),
        initialisation=Initialisation(
            data,
            (
                Command(
                    (
                        setting.program("mariadb-install-db"),
                        *base,
                        f"--datadir={aside(data)}",
                        f"--user={user}",
                        # Only the account that owns the site may log in, and only through the socket.
                        "--auth-root-authentication-method=socket",
                        f"--auth-root-socket-user={user}",
                        "--skip-test-db",
                        "--skip-name-resolve",
                    ),
                    env=env | _search_path(setting),
                ),
            ),
        ),
        probe=CommandProbe(Command((*client, "--execute=SELECT 1"), env=env, timeout=5)),
    )


def _places(setting: Setting) -> tuple[str, ...]:
    """Where an unpacked MariaDB finds its own files."""
    found = setting.programs.get("mariadbd")
    if found is None or found.prefix is None:
        return ()
    return (f"--basedir={found.prefix / 'usr'}",)


def _search_path(setting: Setting) -> dict[str, str]:
    found = setting.programs.get("mariadbd")
    if found is None:
        return {}
    return {"PATH": f"{found.path.parent}:{found.path.parent.parent / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"}
