"""The programs of ours that measure: what they do when something goes wrong, and what they leave behind."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from ai_how.bench.targets.driven import PROBES
from ai_how.run import Command, LocalGate, wait_until


def loaded(name: str, monkeypatch: pytest.MonkeyPatch, **others: Any) -> Any:
    """A program as a module, beside stand-ins for what its own environment has."""
    for other, module in others.items():
        monkeypatch.setitem(sys.modules, other, module)
    spec = importlib.util.spec_from_file_location(f"probe_{name}", PROBES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- metadata -----------------------------------------------------------------------------------------


def test_a_process_that_fails_ends_the_measurement_of_metadata_at_once(tmp_path: Path) -> None:
    """Here a file is there already; a full disk is the same to it. The others must not wait for it for an hour."""
    (tmp_path / "own1").mkdir()
    (tmp_path / "own1" / "p1-7").touch()
    asked = tmp_path / "asked.json"
    asked.write_text(
        json.dumps({"folder": str(tmp_path), "files": 20, "bytes": 0, "shared": False, "processes": 2})
    )
    words = (sys.executable, str(PROBES / "metadata.py"), str(asked), str(tmp_path / "answer.json"))
    done = LocalGate().run(Command(words, timeout=60), check=False)
    assert done.returncode == 1 and not (tmp_path / "answer.json").exists()
    assert "FileExistsError" in done.stderr


# --- collectives --------------------------------------------------------------------------------------


def torch_with(gpus: int) -> dict[str, types.ModuleType]:
    torch, distributed, processes = (
        types.ModuleType(name) for name in ("torch", "torch.distributed", "torch.multiprocessing")
    )
    cuda = types.SimpleNamespace(
        is_available=lambda: gpus > 0, device_count=lambda: gpus, set_device=lambda device: None
    )
    vars(torch).update(
        cuda=cuda,
        distributed=distributed,
        multiprocessing=processes,
        device=lambda kind, index=0: (kind, index),
    )
    return {"torch": torch, "torch.distributed": distributed, "torch.multiprocessing": processes}


@pytest.mark.parametrize(("gpus", "backend"), [(1, "gloo"), (2, "nccl")])
def test_processes_of_one_job_have_a_gpu_each(
    gpus: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch script has variables of Slurm's that are of the script, and not of the processes that it starts."""
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "1")
    monkeypatch.setenv("SLURM_LOCALID", "0")
    ranks = loaded("ranks", monkeypatch, **torch_with(gpus))
    asked = {"backend": "auto", "processes": 2, "by_srun": False}
    assert ranks.backend_of(asked) == backend
    assert [ranks.local_rank(rank, asked) for rank in (0, 1)] == [0, 1]
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert ranks.local_rank(3, asked | {"by_srun": True}) == 1


# --- PostgreSQL ---------------------------------------------------------------------------------------


def test_a_server_of_its_own_goes_when_its_program_is_told_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm ends a job that is cancelled so."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, text in {
        "initdb": "exit 0",
        "pg_isready": "exit 0",
        "postgres": f"echo $$ >{tmp_path}/server\nexec sleep 300",
    }.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_ / name).chmod(0o755)
    asked, scratch = tmp_path / "asked.json", tmp_path / "scratch"
    scratch.mkdir()
    asked.write_text(json.dumps({"commands": [["sleep", "300"]], "settings": {}}))
    start = (
        f"import sys; sys.argv[1:] = [{str(asked)!r}]; sys.path.insert(0, {str(PROBES)!r})\n"
        f"from pathlib import Path\nimport with_postgres as it\n"
        f"it.programs = lambda: Path({str(bin_)!r}); it.account = lambda: None\n"
        "raise SystemExit(it.main())\n"
    )
    words = (sys.executable, "-c", start)
    process = LocalGate().start(Command(words, env={"TMPDIR": str(scratch)}), tmp_path / "log")
    wait_until(
        lambda: (tmp_path / "server").exists() and (tmp_path / "server").read_text().strip(),
        what="the server", timeout=60,
    )  # fmt: skip
    server = int((tmp_path / "server").read_text())
    try:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)
        assert not Path(f"/proc/{server}").exists()
        assert not list(scratch.iterdir())
    finally:
        if Path(f"/proc/{server}").exists():
            os.kill(server, signal.SIGKILL)


# --- calls --------------------------------------------------------------------------------------------


def test_what_a_thread_does_once_is_in_no_time_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is opened by the first call of each thread."""
    import threading
    import time

    pace, here = loaded("pace", monkeypatch), threading.local()

    def act(index: int) -> None:
        if not hasattr(here, "opened"):
            time.sleep(1)
            here.opened = True

    taken = pace.open_loop(act, [at / 100 for at in range(20)], 4)
    assert len(taken["done"]) == 20 and not any(taken["error"])
    assert max(done - due for done, due in zip(taken["done"], taken["due"], strict=True)) < 0.9


# --- the page cache -----------------------------------------------------------------------------------


def test_what_is_in_memory_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system in memory forgets nothing."""
    probe = loaded("checkpoint", monkeypatch, torch=types.ModuleType("torch"))
    file = tmp_path / "file"
    file.write_bytes(bytes(1_000_000))
    assert probe.share_in_memory(file) == 1.0
    with Path("/dev/shm", f"ai-how-{os.getpid()}").open("wb") as there:
        path = Path(there.name)
        try:
            there.write(bytes(1_000_000))
            there.flush()
            os.fsync(there.fileno())
            probe.drop(path)
            assert probe.share_in_memory(path) == 1.0
        finally:
            path.unlink()
    file.write_bytes(b"")
    assert probe.share_in_memory(file) == 0.0
