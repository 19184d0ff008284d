"""The site's folder: where everything of one site lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths under a site's ``root``. Pure: nothing is looked at or made."""

    root: Path

    @property
    def etc(self) -> Path:
        """Rendered configuration."""
        return self.root / "etc"

    @property
    def secrets(self) -> Path:
        """Keys and passwords, one file each, for their owner alone."""
        return self.root / "etc" / "secrets"

    @property
    def tls(self) -> Path:
        """The site's certificate authority, and certificates with their keys."""
        return self.root / "etc" / "tls"

    @property
    def run(self) -> Path:
        """Sockets and process ids."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def job_logs(self) -> Path:
        """What jobs print, a file a job."""
        return self.root / "log" / "jobs"

    @property
    def state(self) -> Path:
        """Ports, journal, lock."""
        return self.root / "state"

    @property
    def tokens(self) -> Path:
        """The digests of the tokens that were made with ``ai-how token``."""
        return self.root / "state" / "tokens.json"

    @property
    def ledger(self) -> Path:
        """What tokens have spent of their rates and budgets."""
        return self.root / "state" / "token-ledger"

    @property
    def usage(self) -> Path:
        """Who has used which model, how much: an SQLite database."""
        return self.root / "state" / "usage.db"

    @property
    def routes(self) -> Path:
        """Which replicas the gateway may ask, as the reconciler says."""
        return self.root / "run" / "routes.json"

    @property
    def demand(self) -> Path:
        """The reconciler's socket, to which the gateway tells its load."""
        return self.root / "run" / "demand.sock"

    @property
    def data(self) -> Path:
        """Databases and the object store."""
        return self.root / "data"

    @property
    def share(self) -> Path:
        """What every node sees."""
        return self.root / "share"

    @property
    def jobs(self) -> Path:
        """A folder a job: its record, script, checkpoints and results."""
        return self.root / "share" / "jobs"

    @property
    def endpoints(self) -> Path:
        """The records by which replicas make themselves known."""
        return self.root / "share" / "endpoints"

    @property
    def models(self) -> Path:
        """Models brought to this site in the form that engines load."""
        return self.root / "share" / "models"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder that must be there, parents first."""
        return (
            self.root, self.etc, self.secrets, self.run, self.log, self.job_logs, self.state,
            self.data, self.share, self.jobs, self.endpoints, self.models,
        )  # fmt: skip
