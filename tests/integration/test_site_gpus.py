"""The workstation's site: seven slices of one GPU in the real Slurm, QOS, accounts and preemption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_site import LiveSite, until

from ai_how.errors import SpecError
from ai_how.spec.template import template

SLICE = "--gres=gpu:a100_1g.10gb:1"
SMALL = ("--mem=100M", "--time=5")


@pytest.fixture(scope="module")
def workstation(home: Path) -> Iterator[LiveSite]:
    """A site of the workstation template, brought up."""
    site = LiveSite(home, "ws")
    site.file.write_text(template("workstation", "ws"))
    try:
        site.up()
        yield site
        edit(site, "", "")
        site.run("destroy", "--yes")
        assert site.processes() == {}
    finally:
        site.remove()


def edit(site: LiveSite, old: str, new: str) -> None:
    text = template("workstation", site.name)
    assert old in text
    site.file.write_text(text.replace(old, new))


def test_the_seven_slices_and_the_whole_gpu_are_gres(workstation: LiveSite) -> None:
    lines = workstation.shell("sinfo", "--Node", "--noheader", "--format=%N %G").split("\n")
    gres = dict(line.split() for line in lines if line)
    assert [name for name, value in gres.items() if "a100_1g.10gb:1" in value] == [
        "gpu-worker01", "gpu-worker02", "gpu-worker03", "node01", "node02", "node03", "node04",
    ]  # fmt: skip
    assert gres["node01"] == "gpu:a100_1g.10gb:1"
    assert gres["gpu-worker01"].count("gpu:") == 2
    assert workstation.plan() == []


def test_a_job_that_asks_for_a_slice_sees_its_one_device(workstation: LiveSite) -> None:
    said = workstation.shell("srun", SLICE, *SMALL, "sh", "-c", "echo $CUDA_VISIBLE_DEVICES $SLURM_STEP_GPUS")
    assert said.split() == ["0", "0"]


def test_an_eighth_slice_waits_with_the_right_reason(workstation: LiveSite) -> None:
    jobs = [workstation.sbatch("--partition=gpu,cloud", SLICE, *SMALL, "--wrap=sleep 200") for _ in range(8)]
    try:
        for job_id in jobs[:7]:
            workstation.wait_for_job(job_id, "RUNNING")
        until(lambda: workstation.job(jobs[7])["Reason"] == "Resources", "the eighth waits for resources")
        where = {workstation.job(job_id)["NodeList"] for job_id in jobs[:7]}
        assert len(where) == 7
        workstation.shell("scancel", str(jobs[0]))
        workstation.wait_for_job(jobs[7], "RUNNING")
    finally:
        workstation.shell("scancel", *map(str, jobs))
        until(lambda: not workstation.shell("squeue", "--noheader").strip(), "the queue is empty")


def test_more_than_a_node_has_is_refused_at_once(workstation: LiveSite) -> None:
    said = workstation.run("shell", "--", "srun", "--gres=gpu:a100_1g.10gb:2", "-N1", "true", code=1).stderr
    assert "Requested node configuration is not available" in said


def test_the_plan_shows_who_has_which_slice(workstation: LiveSite) -> None:
    facts = workstation.facts("plan")
    slices = [line for line in facts["gpus"] if line["profile"]]
    assert sorted(line["start"] for line in slices) == [0, 1, 2, 3, 4, 5, 6]
    assert len({line["owner"] for line in slices}) == 7
    picture = workstation.folder / "gpus.svg"
    text = workstation.run("plan", "--svg", str(picture)).stdout
    assert "GPU-0" in text and "node[01-04]" in text and "gpu-worker[01-03]" in text
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize("command", ["validate", "plan", "up"])
def test_one_slice_more_than_the_gpu_can_take_is_refused(workstation: LiveSite, command: str) -> None:
    edit(workstation, "{hpc: 4, cloud: 3}", "{hpc: 4, cloud: 4}")
    error = workstation.facts(command, code=SpecError.exit_code)
    assert "GPU-0" in str(error)
    line = template("workstation").split("mig_slices")[0].count("\n") + 1
    assert f"cluster.yaml:{line}:" in str(error)


@pytest.mark.parametrize("command", ["plan", "up"])
def test_a_provider_that_is_not_there_yet_is_refused_by_name(workstation: LiveSite, command: str) -> None:
    edit(workstation, "provider: local", "provider: libvirt")
    error = workstation.facts(command, code=SpecError.exit_code)
    assert "the provider libvirt is not there yet" in str(error)
    assert workstation.run("validate").returncode == 0


def test_a_slice_less_takes_it_from_its_node_alone(workstation: LiveSite) -> None:
    edit(workstation, "{hpc: 4, cloud: 3}", "{hpc: 3, cloud: 3}")
    assert "change:slurmd-node04" in workstation.plan()
    assert "change:slurmd-node03" not in workstation.plan()
    workstation.up()
    gres = workstation.shell("sinfo", "--Node", "--noheader", "--format=%N %G", "--partition=gpu").split("\n")
    assert "node03 gpu:a100_1g.10gb:1" in gres and "node04 (null)" in gres
    edit(workstation, "{hpc: 4, cloud: 3}", "{hpc: 4, cloud: 3}")
    workstation.up()
    workstation.must_be_up()


def test_qos_and_accounts_of_the_file_hold_in_slurm(workstation: LiveSite) -> None:
    edit(
        workstation,
        "      default_partition: gpu\n",
        "      default_partition: gpu\n"
        "      qos:\n"
        "        - {name: low, grace_time: 2s}\n"
        "        - {name: high, priority: 100, max_gpus_per_user: 1, preempt: [low]}\n"
        "      accounts:\n"
        "        - {name: optics, parent: physics}\n"
        "        - {name: physics, qos: [low, high], fairshare: 5}\n"
        "      preemption: {type: qos, mode: requeue}\n",
    )
    workstation.up()
    assert workstation.plan() == []
    said = workstation.shell("sacctmgr", "--parsable2", "--noheader", "show", "qos", "format=name,gracetime")
    assert "low|00:00:02" in said.splitlines() and "high|00:00:00" in said.splitlines()
    low = workstation.sbatch("--qos=low", "--nodes=4", "--exclusive", "--requeue", *SMALL, "--wrap=sleep 200")
    workstation.wait_for_job(low, "RUNNING")
    high = workstation.sbatch("--qos=high", "--account=physics", SLICE, *SMALL, "--wrap=sleep 100")
    workstation.wait_for_job(high, "RUNNING")
    # It may still be leaving one of its other nodes.
    assert workstation.wait_for_job(low, "PENDING")["Restarts"] == "1"
    second = workstation.sbatch("--qos=high", "--account=optics", SLICE, *SMALL, "--wrap=true")
    until(lambda: workstation.job(second)["Reason"] == "QOSMaxGRESPerUser", "the limit holds the second back")
    workstation.shell("scancel", str(low), str(high), str(second))
    said = workstation.run("shell", "--", "srun", "--account=chemistry", *SMALL, "true", code=1).stderr
    assert "Invalid account" in said
