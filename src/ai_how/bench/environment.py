"""What a result was measured on: enough to see later why two of them differ."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ai_how.errors import AiHowError
from ai_how.run import Clock, Command, Gate

_PACKAGES = ("ai-how", "uvloop", "pydantic", "httpx")
#: What Slurm tells a job of itself.
_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_NUM_NODES",
)
#: Where container runtimes say which image this is.
_IMAGES = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")


def capture(gate: Gate) -> dict[str, Any]:
    """Machine, kernel, versions, commit and Slurm job. What cannot be told is None, never a guess."""
    processor = re.search(r"^model name\s*: (.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB$", _read("/proc/meminfo"), re.MULTILINE)
    return {
        "machine": platform.node(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "distribution": _distribution(),
        "processor": processor[1] if processor else None,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory[1]) * 1024 if memory else None,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "load_average": list(os.getloadavg()),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(gate),
        **_devices(),
        "image": _image(),
        "slurm": {name: os.environ[name] for name in _SLURM if name in os.environ} or None,
    }


def _devices() -> dict[str, Any]:
    """The GPUs and their driver, by NVML; nothing where there is none."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [_text(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
        return {"gpus": names, "driver": _text(pynvml.nvmlSystemGetDriverVersion())}
    except Exception:  # noqa: BLE001 - NVML's errors are classes of its own, and no GPU is no mistake
        return {"gpus": [], "driver": None}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _image() -> dict[str, str] | None:
    """The container image that this runs in, with its digest; None outside of any."""
    path = next((os.environ[name] for name in _IMAGES if os.environ.get(name)), None)
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return {"path": path, "digest": f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"}
    except OSError:
        return {"path": path}


def yardstick(clock: Clock) -> float:
    """Milliseconds of a fixed piece of work: whether this machine is still the one that it was a run ago.

    The best of several tries: what else runs makes some of them longer, a clock that was turned down all of them.
    """
    block = bytes(262_144)
    times = []
    for _ in range(60):
        begun = clock.monotonic()
        hashlib.sha256(block).digest()
        times.append(clock.monotonic() - begun)
    return min(times) * 1e3


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit(gate: Gate) -> str | None:
    folder = str(Path(__file__).parent)
    try:
        done = gate.run(Command(("git", "-C", folder, "rev-parse", "HEAD"), timeout=10), check=False)
    except AiHowError:
        return None
    return done.stdout.strip() or None if done.ok else None
