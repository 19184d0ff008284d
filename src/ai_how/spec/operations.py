"""How a site is kept safe, watched and saved."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ai_how.spec.values import Frozen, Port, Shape

_CRON = (59, 23, 31, 12, 7)


def _schedule(value: str) -> str:
    fields = value.split()
    if len(fields) != 5 or not all(
        all(_cron_part(part, most) for part in field.split(","))
        for field, most in zip(fields, _CRON, strict=True)
    ):
        raise ValueError(f"'{value}' is no schedule; write cron's five fields, such as \"0 3 * * *\"")
    return value


def _cron_part(part: str, most: int) -> bool:
    found = re.fullmatch(r"(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?))?", part)
    return found is not None and all(int(number) <= most for number in found.groups()[1:3] if number)


Schedule = Annotated[str, AfterValidator(_schedule)]
Days = Annotated[int, Field(ge=1, le=36_500)]
#: A duration as Prometheus writes it.
Interval = Annotated[str, Shape(r"[1-9]\d*(ms|s|m|h)", "interval, such as 15s")]
Service = Literal["postgresql", "object_store", "mlflow", "gateway", "prometheus", "grafana"]


class Tls(Frozen):
    enabled: bool = Field(
        False, description="Speak TLS on every port that is exposed, with a CA of the site."
    )
    names: tuple[str, ...] = Field((), description="Further host names and addresses in the certificates.")
    certificate_days: Days = Field(90, description="Days that a certificate is valid; it is renewed in time.")


class Tokens(Frozen):
    lifetime_days: Days | None = Field(
        None,
        description="Days after which a token that `ai-how token create` makes ends, unless it says otherwise.",
    )
    requests_per_minute: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Requests a minute that such a token allows, unless it says otherwise."
    )


class Audit(Frozen):
    enabled: bool = Field(True, description="Keep a log of who did what.")
    retention_days: Days = Field(365, description="Days that the log is kept.")


class Ssh(Frozen):
    key_type: Literal["ed25519", "rsa"] = Field("ed25519", description="Kind of the keys made for the nodes.")
    authorized_keys: tuple[str, ...] = Field((), description="Public keys that may log in on the nodes.")


class Security(Frozen):
    tls: Tls = Field(default_factory=Tls, description="Certificates.")
    tokens: Tokens = Field(default_factory=Tokens, description="Tokens of the gateway.")
    audit: Audit = Field(default_factory=Audit, description="The audit log.")
    ssh: Ssh = Field(default_factory=Ssh, description="Keys for the nodes.")
    expose: tuple[Service, ...] = Field(
        (), description="Services that listen beyond loopback; none unless they stand here."
    )


class Prometheus(Frozen):
    port: Port | None = Field(None, description="Its port on loopback; chosen and kept when left out.")
    retention_days: Days = Field(15, description="Days that samples are kept.")
    scrape_interval: Interval = Field("15s", description="How often everything is measured.")


class Grafana(Frozen):
    enabled: bool = Field(True, description="Whether there are dashboards.")
    port: Port | None = Field(None, description="Its port on loopback; chosen and kept when left out.")


class Alerts(Frozen):
    email: Annotated[str, Shape(r"[^@\s]+@[^@\s]+", "address of a mailbox")] | None = Field(
        None, description="Who is told; nobody when left out."
    )
    gpu_temperature_c: int = Field(85, ge=40, le=110, description="Celsius at which a GPU is too hot.")
    disk_used_percent: int = Field(90, ge=1, le=99, description="Percent at which a disk is too full.")


class Monitoring(Frozen):
    enabled: bool = Field(False, description="Measure the site and keep what was measured.")
    clusters: tuple[str, ...] = Field(("hpc", "cloud"), description="Clusters that are measured.")
    prometheus: Prometheus = Field(default_factory=Prometheus, description="Keeps the samples.")
    grafana: Grafana = Field(default_factory=Grafana, description="Shows them.")
    alerts: Alerts = Field(default_factory=Alerts, description="What is worth waking somebody for.")


class Keep(Frozen):
    daily: int = Field(7, ge=0, description="How many daily backups.")
    weekly: int = Field(4, ge=0, description="How many weekly ones.")
    monthly: int = Field(6, ge=0, description="How many monthly ones.")


class Backup(Frozen):
    enabled: bool = Field(False, description="Save the site's data on a schedule.")
    schedule: Schedule = Field("0 3 * * *", description="When, in cron's five fields, in quotes.")
    target: Literal["folder", "object_store"] = Field("folder", description="Where to.")
    path: Annotated[str, Shape(r"/\S*", "absolute path without blanks, such as /srv/backup")] | None = Field(
        None, description="The folder, an absolute path; needed where the target is a folder."
    )
    include: tuple[Literal["postgresql", "object_store", "accounting", "state"], ...] = Field(
        ("postgresql", "object_store", "accounting", "state"), min_length=1, description="What is saved."
    )
    keep: Keep = Field(default_factory=Keep, description="How many backups are kept.")
