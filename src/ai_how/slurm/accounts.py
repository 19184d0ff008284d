"""The accounts and QOS of the file as sacctmgr's words. Pure; saying them again changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.spec.hpc import NORMAL_QOS, SITE_ACCOUNT
from ai_how.spec.model import Account, Qos, SlurmConfig
from ai_how.spec.serving import seconds

#: The account of whoever brought the site up, which may use every QOS, and the QOS that every association has.
SITE, NORMAL = SITE_ACCOUNT, NORMAL_QOS
#: What takes a limit away again (sacctmgr(1): -1 clears a value).
NO_LIMIT = "-1"
#: What sacctmgr says of what is there already: up to Slurm 23, and of a cluster, an account and a user since.
ALREADY = (
    "Nothing new added",
    "already exists",
    "Already existing",
    "Request didn't affect anything",
    "Nothing modified",
)


def statements(config: SlurmConfig, cluster: str, user: str) -> Iterator[tuple[str, ...]]:
    """What sacctmgr is to be told, in order: QOS before who may use them, accounts before what is below them."""
    yield ("add", "cluster", cluster)
    for qos in config.qos:
        yield ("add", "qos", qos.name)
    yield ("add", "account", SITE, f"cluster={cluster}")
    yield ("add", "user", user, f"account={SITE}", f"cluster={cluster}")
    # Slurm's database begins with a user root whose account knows no QOS of the file's.
    yield ("modify", "user", user, "set", f"defaultaccount={SITE}")
    if config.qos:
        names = ",".join([NORMAL, *(qos.name for qos in config.qos)])
        yield ("modify", "account", SITE, "set", f"qos={names}")
    for account in by_parent(config.accounts):
        yield from _account(account, cluster, user)


def limits(config: SlurmConfig) -> Iterator[tuple[str, ...]]:
    """What sacctmgr is to be told of each QOS; slurmdbd learns of GPUs from the first slurmctld, so after that."""
    for qos in config.qos:
        yield ("modify", "qos", qos.name, "set", *_limits(qos))


def _limits(qos: Qos) -> Iterator[str]:
    yield f"Priority={qos.priority}"
    yield f"MaxWall={qos.max_time or NO_LIMIT}"
    yield f"MaxJobsPerUser={qos.max_jobs_per_user or NO_LIMIT}"
    gpus = NO_LIMIT if qos.max_gpus_per_user is None else qos.max_gpus_per_user
    yield f"MaxTRESPerUser=gres/gpu={gpus}"
    yield f"GraceTime={int(seconds(qos.grace_time)) if qos.grace_time else 0}"
    # Emptied by name, slurmdbd 22.05 takes every later preemption for a circle: what is not asked is not said.
    if qos.preempt:
        yield f"Preempt={','.join(qos.preempt)}"


def _account(account: Account, cluster: str, user: str) -> Iterator[tuple[str, ...]]:
    place = f"parent={account.parent or 'root'}"
    share = [f"fairshare={account.fairshare}"] if account.fairshare else []
    yield ("add", "account", account.name, f"cluster={cluster}", place, *share)
    yield ("modify", "account", account.name, "set", place, *share)
    # Who brought the site up may charge every account: on an emulated cluster that is often the only user.
    for name in dict.fromkeys((*account.users, user)):
        yield ("add", "user", name, f"account={account.name}", f"cluster={cluster}")
    if account.qos:
        yield ("modify", "account", account.name, "set", f"qos={','.join((NORMAL, *account.qos))}")


def by_parent(accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    """Parents before their children, otherwise in the file's order. The file has no circles: it was checked."""
    placed: list[Account] = []
    waiting = list(accounts)
    names = {account.name for account in accounts}
    while waiting:
        done = {account.name for account in placed}
        ready = [one for one in waiting if one.parent not in names or one.parent in done]
        placed += ready
        waiting = [one for one in waiting if one not in ready]
        if not ready:
            raise ValueError(f"accounts in a circle: {', '.join(one.name for one in waiting)}")
    return tuple(placed)
