"""A run in MLflow, written from a thread of its own so that training never waits for the server.

It speaks MLflow's REST interface directly: importing the client library takes longer than many small
jobs. Without MLFLOW_TRACKING_URI and MLFLOW_RUN_ID nothing is sent, and scripts need not care.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

Entry = tuple[str, dict[str, object]]
"""One line of a batch: the list it belongs to (`params` or `metrics`) and the line itself."""

_ATTEMPTS = 3
_BATCH = 100  # MLflow takes at most 100 parameters in one request
_PAUSE = 5.0
"""Seconds between two requests: where server and training share CPUs, each takes time from the training."""
_MOMENT = 0.05  # seconds in which what is recorded together arrives together
_SCHEME = "mlflow-artifacts:"


class Run:
    """The run that this job continues.

    Args:
        uri: address of the tracking server; None tracks nothing.
        run_id: the run to continue; None tracks nothing.
    """

    def __init__(self, uri: str | None, run_id: str | None) -> None:
        self.id = run_id if uri else None
        self._uri = (uri or "").rstrip("/")
        self._lost = 0
        self._files = _Store(Path(urllib.parse.urlsplit(self._uri).path), run_id) if self._local else None
        self._queue: queue.Queue[Entry | Path | _Hurry | None] = queue.Queue()
        self._thread = threading.Thread(target=self._send_all, name="tracking", daemon=True)
        if self.id:
            self._thread.start()

    @property
    def _local(self) -> bool:
        """Whether the run is in files, for somebody to bring over: the server cannot be reached from here."""
        return bool(self.id) and self._uri.startswith("file:")

    @classmethod
    def of_this_job(cls) -> Run:
        """The run named by MLFLOW_TRACKING_URI and MLFLOW_RUN_ID."""
        return cls(os.environ.get("MLFLOW_TRACKING_URI"), os.environ.get("MLFLOW_RUN_ID"))

    def params(self, values: Mapping[str, object]) -> None:
        """Record what the job was asked to do. A value that was recorded once cannot change."""
        for key, value in values.items():
            self._put(("params", {"key": key, "value": str(value)}))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record measured values at a step."""
        now = time.time_ns() // 1_000_000
        for key, value in values.items():
            self._put(("metrics", {"key": key, "value": value, "timestamp": now, "step": step}))

    def hurry(self) -> None:
        """Send what there is now; what was recorded is otherwise kept for a few seconds, to be sent together."""
        self._put(_Hurry())

    def artifact(self, path: Path) -> None:
        """Store a file with the run, under its own name."""
        self._put(path)

    def close(self) -> None:
        """Wait until everything has been sent, and say so when something was lost."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._lost:
            print(f"tracking: {self._lost} entries could not be sent to {self._uri}", file=sys.stderr)

    def _put(self, entry: Entry | Path | _Hurry) -> None:
        if self.id:
            self._queue.put(entry)

    def _gather(self, due: float) -> list[Entry | Path | _Hurry | None]:
        """What is sent together: all that was recorded until it is `due`, or until somebody cannot wait."""
        entries: list[Entry | Path | _Hurry | None] = [self._queue.get()]
        while len(entries) < _BATCH and isinstance(entries[-1], tuple):
            try:
                entries.append(self._queue.get(timeout=max(_MOMENT, due - time.monotonic())))
            except queue.Empty:
                break
        return entries

    def _send_all(self) -> None:
        last, due = False, 0.0
        while not last:
            entries = self._gather(due)
            last = None in entries
            # Apart, because a parameter that was recorded otherwise before makes the server refuse a whole request.
            for kind in ("params", "metrics"):
                lines = [entry[1] for entry in entries if isinstance(entry, tuple) and entry[0] == kind]
                if lines:
                    self._attempt(partial(self._send_lines, kind, lines), len(lines))
            for path in [entry for entry in entries if isinstance(entry, Path)]:
                self._attempt(partial(self._send_file, path), 1)
            if not self._files:
                due = time.monotonic() + _PAUSE

    def _attempt(self, send: Callable[[], None], entries: int) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                send()
                return
            except (OSError, ValueError) as error:
                print(f"tracking: {_cause(error)}", file=sys.stderr)
                if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                    break  # the server understood and refused: asking again changes nothing
            time.sleep(0.5 * attempt)
        self._lost += entries

    def _send_lines(self, kind: str, lines: list[dict[str, object]]) -> None:
        if self._files:
            self._files.write(kind, lines)
            return
        self._call("POST", "mlflow/runs/log-batch", json.dumps({"run_id": self.id, kind: lines}).encode())

    def _send_file(self, path: Path) -> None:
        if self._files:
            self._files.keep(path)
            return
        query = urllib.parse.urlencode({"run_id": self.id})
        root = json.loads(self._call("GET", f"mlflow/runs/get?{query}"))["run"]["info"]["artifact_uri"]
        if not root.startswith(_SCHEME):
            raise ValueError(f"the run keeps its artifacts at {root}, which the server does not pass on")
        folder = urllib.parse.urlsplit(root).path.strip("/")
        self._call(
            "PUT", f"mlflow-artifacts/artifacts/{folder}/{urllib.parse.quote(path.name)}", path.read_bytes()
        )

    def _call(self, method: str, route: str, body: bytes | None = None) -> bytes:
        kind = "application/octet-stream" if method == "PUT" else "application/json"
        request = urllib.request.Request(
            f"{self._uri}/api/2.0/{route}", body, {"Content-Type": kind}, method=method
        )
        if secret := _authorization():
            request.add_header("Authorization", secret)
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: bytes = answer.read()
        return content


class _Hurry:
    """Stands in the queue behind what must not wait."""


class _Store:
    """A run in the form of MLflow's file store, so that MLflow's own client finds in it what was recorded here."""

    def __init__(self, root: Path, run_id: str | None) -> None:
        self._run = root / "0" / str(run_id)

    def write(self, kind: str, lines: list[dict[str, object]]) -> None:
        for line in lines:
            path = self._run / kind / str(line["key"])
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "params":
                path.write_text(str(line["value"]), encoding="utf-8")
            else:
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"{line['timestamp']} {line['value']} {line['step']}\n")

    def keep(self, path: Path) -> None:
        folder = self._run / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)


def _authorization() -> str | None:
    """The header that MLflow's own client would send, from the same variables."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return f"Bearer {token}"
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    return None


def _cause(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error} {error.read(300).decode(errors='replace')}"
    return str(error)
