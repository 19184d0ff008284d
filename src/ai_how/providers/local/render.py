"""supervisord's configuration as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ai_how.services import Layout, Service

#: How a process of the site is recognised, whoever its parent has become.
SITE_MARK = "AI_HOW_SITE"
SERVICE_MARK = "AI_HOW_SERVICE"
DIGEST_MARK = "AI_HOW_DIGEST"
#: supervisord as a program for Python. Left alone it ends when its disk is full: it cannot write a line to its log,
#: prints that to standard error, which is a file on the same disk, and does not survive that it cannot.
SUPERVISORD = (
    "from supervisor import loggers, supervisord; "
    "loggers.Handler.handleError = lambda self: None; "
    "supervisord.main()"
)


def folder(layout: Layout) -> Path:
    return layout.etc / "supervisor"


def socket(layout: Layout) -> Path:
    return layout.run / "supervisor.sock"


def program_file(layout: Layout, name: str) -> Path:
    return folder(layout) / "services" / f"{name}.conf"


def supervisord_conf(layout: Layout, user: str) -> str:
    """``supervisord.conf``: a control socket for the owner alone, and one included file a service."""
    return "\n".join(
        [
            "; Rendered by ai-how.",
            "[unix_http_server]",
            f"file={_escaped(socket(layout))}",
            "chmod=0700",
            "[supervisord]",
            f"logfile={_escaped(layout.log / 'supervisord.log')}",
            "logfile_maxbytes=10MB",
            "logfile_backups=1",
            f"pidfile={_escaped(layout.run / 'supervisord.pid')}",
            f"childlogdir={_escaped(layout.log)}",
            f"directory={_escaped(layout.root)}",
            "nodaemon=true",
            "minfds=1024",
            # It becomes nobody else; naming the user keeps it from warning about root.
            f"user={user}",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            "[include]",
            f"files={_escaped(folder(layout) / 'services')}/*.conf",
            "",
        ]
    )


def program_conf(layout: Layout, service: Service) -> str:
    """The section of one service. It is started by a plan, in order, never by supervisord's own start."""
    lines = [
        f"[program:{service.name}]",
        f"command={' '.join(_word(word) for word in service.argv)}",
        f"environment={_environment(process_env(service))}",
        f"directory={_escaped(layout.root)}",
        "autostart=false",
        "autorestart=true",
        "startsecs=1",
        "startretries=4",
        f"stopsignal={service.stop_signal}",
        f"stopwaitsecs={service.stop_seconds}",
        "stopasgroup=false",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_escaped(log_file(layout, service.name))}",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=1",
    ]
    if service.account:
        lines.append(f"user={service.account}")
    return "\n".join(lines) + "\n"


def log_file(layout: Layout, name: str) -> Path:
    """What a service prints."""
    return layout.log / f"{name}.out"


def process_env(service: Service) -> Mapping[str, str]:
    """The environment of a service: its own, and the marks by which its process is known again.

    The site's mark comes from supervisord, which hands its own environment on.
    """
    return {
        **service.env,
        SERVICE_MARK: service.name,
        DIGEST_MARK: service.digest,
    }


def _environment(env: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(env.items()))


def _word(word: str) -> str:
    # supervisord splits a command by shell quoting rules, after expanding its own %-expressions.
    if word and all(char.isalnum() or char in "@%+=:,./-_" for char in word):
        return _escaped(word)
    return "'" + _escaped(word).replace("'", "'\"'\"'") + "'"


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")
