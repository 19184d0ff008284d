"""SeaweedFS as the S3 object store: one process with master, volume server, filer and S3 gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ai_how.run import Command
from ai_how.services.model import File, HttpProbe, Initialisation, Service, Setting, Settle

BUCKET = "mlflow"
#: Every listener of the process, by the flag that sets its port.
LISTENERS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
    "s3.port", "s3.port.grpc",
)  # fmt: skip


#: Where SeaweedFS puts Unix sockets, named by their ports; it knows no other place and removes none at its end.
SOCKET_FOLDER = Path("/tmp")
_SOCKETS = {
    "master.port.grpc": "master-grpc",
    "volume.port.grpc": "volume-grpc",
    "filer.port": "filer",
    "filer.port.grpc": "filer-grpc",
    "s3.port": "s3",
    "s3.port.grpc": "s3-grpc",
}
_SOCKET = re.compile(r"seaweedfs-.*?(\d+)\.sock$")


def port_name(flag: str) -> str:
    """The name under which the port of a listener is recorded."""
    return "object-store" if flag == "s3.port" else f"object-store-{flag.replace('.', '-')}"


def socket_port(path: Path) -> int | None:
    """The port that a socket file of SeaweedFS in :data:`SOCKET_FOLDER` belongs to; None for another file."""
    match = _SOCKET.match(path.name)
    return int(match.group(1)) if match else None


def endpoint(setting: Setting) -> str:
    """Address of the S3 API."""
    return f"http://127.0.0.1:{setting.ports['object-store']}"


def client_env(setting: Setting) -> Mapping[str, str]:
    """What an S3 client needs in its environment."""
    return {
        "AWS_ACCESS_KEY_ID": setting.secrets["s3-access-key"],
        "AWS_SECRET_ACCESS_KEY": setting.secrets["s3-secret-key"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def define(setting: Setting) -> Service:
    layout, ports = setting.layout, setting.ports
    data = layout.data / "object-store"
    identities = layout.etc / "object-store" / "identities.json"
    master = f"127.0.0.1:{ports[port_name('master.port')]}.{ports[port_name('master.port.grpc')]}"
    filer = f"127.0.0.1:{ports[port_name('filer.port')]}.{ports[port_name('filer.port.grpc')]}"
    weed, env = setting.program("weed"), setting.program_env("weed")
    return Service(
        name="object-store",
        purpose="SeaweedFS, the object store that speaks S3",
        argv=(
            # Left alone, it also writes its log to files in /tmp.
            weed, "-logtostderr=true", "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-filer", "-s3", f"-s3.config={identities}", "-s3.iam=false",
            # These three are on unless told otherwise: reports home, and two more listeners on fixed ports.
            f"-master.telemetry={str(setting.spec.global_.telemetry).lower()}",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            # Small volumes, and as many as ever fill a disk: by default it counts those that would fit when they are
            # full, and on a disk with a few GB of room the first buckets leave none to the next.
            "-master.volumeSizeLimitMB=1024", "-volume.max=10000", "-master.volumePreallocate=false",
            "-volume.preStopSeconds=0",
            # One master has nobody to wait for; by default it waits up to twenty seconds at each later start.
            "-master.electionTimeout=500ms",
            *(f"-{flag}={ports[port_name(flag)]}" for flag in LISTENERS),
        ),
        env=env,
        folders=(identities.parent,),
        files=(File(identities, _identities(setting)),),
        initialisation=Initialisation(data),
        probe=HttpProbe(f"{endpoint(setting)}/healthz"),
        settle=(
            Settle(
                Command(
                    (weed, "-logtostderr=true", "shell", f"-master={master}", f"-filer={filer}"),
                    env=env,
                    stdin=f"s3.bucket.create -name {BUCKET}\nexit\n",
                    timeout=30,
                ),
                already=("already exist",),
            ),
        ),
        ports={port_name(flag): ports[port_name(flag)] for flag in LISTENERS},
        leaves=tuple(
            SOCKET_FOLDER / f"seaweedfs-{part}-{ports[port_name(flag)]}.sock" for flag, part in _SOCKETS.items()
        ),
        # Its volumes are closed within milliseconds; then it waits fifteen seconds for streams that its own parts
        # hold open. It survives being killed, and nobody should wait for that at each `down`.
        stop_seconds=2,
        stop_signal="INT",
    )  # fmt: skip


def _identities(setting: Setting) -> str:
    """SeaweedFS's own file of S3 identities: one, with every right."""
    identity = {
        "name": "ai-how",
        "credentials": [
            {"accessKey": setting.secrets["s3-access-key"], "secretKey": setting.secrets["s3-secret-key"]}
        ],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    return json.dumps({"identities": [identity]}, indent=2) + "\n"
