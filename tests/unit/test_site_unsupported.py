"""What the file may say, but no provider does yet, is refused by its name and place."""

from __future__ import annotations

from ai_how.site import unsupported
from ai_how.spec import SiteFile, parse
from ai_how.spec.template import laptop, template


def file(more: str = "", old: str = "", new: str = "") -> SiteFile:
    text = laptop()
    assert old in text
    return parse(text.replace(old, new) + more)


def test_the_laptop_asks_for_nothing_in_vain() -> None:
    assert list(unsupported.problems(file())) == []
    assert list(unsupported.notes(file().spec)) == []


def test_everything_is_told_at_once_each_at_its_line() -> None:
    asked = file(
        "monitoring: {enabled: true}\n"
        "backup: {enabled: true, path: /srv/backup}\n"
        "security:\n  tls: {enabled: true}\n  expose: [mlflow]\n  audit: {retention_days: 365}\n",
        "provider: local               #", "provider: libvirt             #",
    )  # fmt: skip
    told = {problem.message: problem.line for problem in unsupported.problems(asked)}
    last = laptop().count("\n")
    assert told == {
        "the provider libvirt is not there yet": 11,
        "monitoring is not there yet": last + 1,
        "backups are not there yet": last + 2,
        "security.tls.enabled has no effect while the gateway is not exposed": last + 4,
        "exposing mlflow: only the gateway can listen beyond loopback yet": last + 5,
    }


def test_what_is_as_it_would_be_anyway_is_not_refused() -> None:
    asked = file("security:\n  tls: {enabled: false, certificate_days: 90}\n")
    assert list(unsupported.problems(asked)) == []


def test_the_gateway_may_be_exposed() -> None:
    asked = file("security:\n  tls: {enabled: true, names: [box.example.org]}\n  expose: [gateway]\n")
    assert list(unsupported.problems(asked)) == []


def test_a_site_may_do_without_mlflow_and_not_without_its_gateway() -> None:
    asked = file("", "mlflow: {}  ", "mlflow: {enabled: false}  ")
    assert list(unsupported.unsupported(asked.spec)) == []
    asked = file("", "gateway: {}  ", "gateway: {enabled: false}  ")
    assert [path[-2] for path, _ in unsupported.unsupported(asked.spec)] == ["gateway"]


def test_a_cluster_that_exists_is_not_refused_and_not_configured() -> None:
    text = template("existing")
    assert list(unsupported.unsupported(parse(text).spec)) == list(unsupported.notes(parse(text).spec)) == []
    asked = parse(text.replace("\n  cloud:", "\n    slurm_config: {partitions: [gpu]}\n\n  cloud:", 1))
    ((path, words),) = unsupported.notes(asked.spec)
    assert path[-1] == "slurm_config" and "its owner's" in words


def test_storage_is_refused() -> None:
    asked = file("", "    slurm_config:\n", "    storage: [{name: home, path: /home}]\n    slurm_config:\n")
    assert "mounts nothing" in next(unsupported.unsupported(asked.spec))[1]


def test_what_the_local_provider_takes_another_way_is_said() -> None:
    asked = file(
        "", "  cloud:\n    provider: local\n", "  cloud:\n    provider: local\n    control_plane: {}\n"
    )
    ((path, words),) = unsupported.notes(asked.spec)
    assert path[-1] == "control_plane" and "no Kubernetes" in words


def test_a_refusal_calls_no_valid_file_mistaken() -> None:
    asked = file("monitoring: {enabled: true}\nbackup: {enabled: true, path: /srv/backup}\n")
    error = unsupported.refusal(list(unsupported.problems(asked)))
    assert error.message == "cluster.yaml is valid, and asks for 2 things that cannot be brought about here"
    assert error.exit_code == 3 and len(error.problems) == 2


def test_storage_is_not_told_of_a_provider_that_the_file_does_not_choose() -> None:
    said = [
        words
        for path, words in unsupported.unsupported(parse(template("production")).spec)
        if "storage" in path
    ]
    assert said and not any("local" in words for words in said)
