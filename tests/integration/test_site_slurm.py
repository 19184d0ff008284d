"""Scripts that nobody here wrote run unchanged: sbatch, srun, salloc, arrays, dependencies, GRES, submitit."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from live_site import LiveSite, until

from ai_how.providers.local.processes import left_by_jobs

SCRIPTS = Path(__file__).with_name("scripts")


@pytest.fixture
def work(site: LiveSite) -> Path:
    """The site's folder with the scripts in it, as their authors would have it."""
    shutil.copytree(SCRIPTS, site.folder, dirs_exist_ok=True)
    return site.folder


def submit(site: LiveSite, script: str) -> int:
    """Submit a script as it is; the job's id."""
    said = site.shell("sbatch", script)
    match = re.fullmatch(r"Submitted batch job (\d+)\n", said)
    assert match, said
    return int(match[1])


@pytest.fixture(scope="module", autouse=True)
def requeued(shared_site: LiveSite) -> int:
    """A job that is told, saves and goes back into the queue, where it stays for half a minute of the other tests."""
    shared_site.write()
    if not shared_site.is_up():
        shared_site.run("up")
    shutil.copytree(SCRIPTS, shared_site.folder, dirs_exist_ok=True)
    job_id = submit(shared_site, "requeue_on_signal.sbatch")
    log = shared_site.folder / f"checkpoint-{job_id}.out"
    until(lambda: log.exists() and "working" in log.read_text(), "the job works")
    shared_site.shell("scancel", "--signal=USR1", "--batch", str(job_id))
    shared_site.wait_for_job(job_id, "PENDING")
    return job_id


def test_a_parallel_script_runs_on_two_nodes(site: LiveSite, work: Path) -> None:
    job_id = submit(site, "mpi_style.sbatch")
    site.wait_for_job(job_id, "COMPLETED")
    text = (work / f"parallel_{job_id}.log").read_text()
    assert "Nodes Allocated = 2" in text and "Tasks Allocated = 4" in text
    names = re.search(r"Node list = (\S+) (\S+)", text)
    assert names
    tasks = sorted(re.findall(r"^(\d): task (\d) of 4 on (node\d\d)$", text, re.MULTILINE))
    assert [(label, task) for label, task, _ in tasks] == [(str(rank), str(rank)) for rank in range(4)]
    assert {node for _, _, node in tasks} == {names[1], names[2]}


def test_an_array_runs_every_task(site: LiveSite, work: Path) -> None:
    (work / "params.txt").write_text("".join(f"{number}\n" for number in (2, 3, 5, 7, 11, 13)))
    job_id = submit(site, "array.sbatch")
    squares = [work / f"result_{task}.txt" for task in range(1, 7)]
    until(lambda: all(path.exists() and path.read_text() for path in squares), "six results")
    assert [int(path.read_text()) for path in squares] == [4, 9, 25, 49, 121, 169]
    until(
        lambda: (
            [row[1] for row in site.sacct(f"--jobs={job_id}", "--allocations", "--format=JobID,State")]
            == ["COMPLETED"] * 6
        ),
        "accounting has six tasks",
    )
    assert (work / f"array_{job_id}_4.out").read_text() == "task 4/6: 7\n"


def test_dependencies_are_kept(site: LiveSite, work: Path) -> None:
    prep, left, right, final, bad, rescue, never = map(int, site.shell("bash", "workflow.sh").split())
    site.wait_for_job(final, "COMPLETED")
    site.wait_for_job(rescue, "COMPLETED")
    assert (work / "final.txt").read_text() == "21 22\n"
    assert (work / "rescue.txt").read_text() == "rescued\n"
    assert site.wait_for_job(never, "CANCELLED") and not (work / "never.txt").exists()
    wanted = {prep: "COMPLETED", left: "COMPLETED", right: "COMPLETED", bad: "FAILED"}
    until(lambda: wanted.items() <= site.states().items(), "accounting knows how each of them ended")


def test_a_script_with_scratch_space_and_mail(site: LiveSite, work: Path) -> None:
    (work / "input.txt").write_text("quiet words\n")
    job_id = submit(site, "scratch.sbatch")
    site.wait_for_job(job_id, "COMPLETED")
    assert (work / "output.txt").read_text() == "QUIET WORDS\n"
    assert (work / f"scratch.{job_id}.err").read_text() == "done\n"


def test_simulated_gpus_are_handed_out_and_seen(site: LiveSite, work: Path) -> None:
    with site.start("shell", "--", "bash", "-lc", "command -v srun") as login:
        if not login.communicate(timeout=30)[0]:
            pytest.skip("the script wants a login shell, and that finds no srun where Slurm was unpacked")
    job_id = submit(site, "gpu.sbatch")
    site.wait_for_job(job_id, "COMPLETED")
    lines = (work / f"gpu-{job_id}.out").read_text().splitlines()
    assert lines[0] == "CUDA_VISIBLE_DEVICES=0,1"
    assert re.fullmatch(r"step sees [01]", lines[2])
    tres = site.sacct(f"--jobs={job_id}", "--allocations", "--format=AllocTRES")[0][0]
    assert "gres/gpu=2" in tres


def test_more_gpus_than_there_are_wait_or_are_refused(site: LiveSite) -> None:
    with site.start("shell", "--", "sbatch", "--gres=gpu:a100:3", "--wrap=true") as refused:
        _, said = refused.communicate(timeout=30)
    assert refused.returncode == 1 and "Requested node configuration is not available" in said
    with site.start("shell", "--", "sbatch", "--gres=gpu:h100:1", "--wrap=true") as unknown:
        _, said = unknown.communicate(timeout=30)
    assert unknown.returncode == 1 and "Requested node configuration is not available" in said
    # All eight are taken: the ninth waits until one is given back.
    holders = [site.sbatch("--gres=gpu:2", "--exclusive", "--wrap=sleep 60") for _ in range(4)]
    for job in holders:
        site.wait_for_job(job, "RUNNING")
    waiting = site.sbatch("--gres=gpu:1", "--wrap=true")
    until(lambda: site.job(waiting)["Reason"] in ("Resources", "Priority"), "the job waits for resources")
    site.shell("scancel", *map(str, holders))
    site.wait_for_job(waiting, "COMPLETED")


@pytest.mark.parametrize("export", ["ALL", "NONE"])
def test_what_a_job_leaves_behind_is_known(site: LiveSite, export: str) -> None:
    """A process that turned away from its job outlives it under linuxproc; `down` must find it all the same."""
    script = "setsid sleep 600 >/dev/null 2>&1 & echo $! ; disown; sleep 1; kill -9 $$"
    job_id = site.sbatch(f"--export={export}", f"--wrap={script}")
    site.wait_for_job(job_id, "COMPLETED", "FAILED", "CANCELLED")
    left = [pid for pid, words in site.processes().items() if "sleep 600" in words]
    if left:
        assert set(left) <= left_by_jobs(site.root)
        for pid in left:
            os.kill(pid, signal.SIGKILL)


def test_salloc_gives_nodes_to_a_command(site: LiveSite) -> None:
    program = "echo $SLURM_JOB_NODELIST; srun --nodes=3 printenv SLURMD_NODENAME"
    said = site.shell("salloc", "--nodes=3", "bash", "-c", program)
    nodes, *names = said.split()
    assert nodes.startswith("node[") and len(names) == 3


def test_srun_passes_input_output_and_exit_codes(site: LiveSite) -> None:
    assert site.shell("srun", "--ntasks=2", "bash", "-c", "echo $SLURM_PROCID").split() in (
        ["0", "1"],
        ["1", "0"],
    )
    assert site.shell("srun", "bash", "-c", "exit 7", code=7) == ""


def test_accounting_answers(site: LiveSite) -> None:
    job_id = site.sbatch("--job-name=accounted", "--ntasks=1", "--wrap=srun sleep 3")
    site.wait_for_job(job_id, "COMPLETED")
    fields = "--format=State,MaxRSS,ElapsedRaw"
    rows = until(
        lambda: [row for row in site.sacct(f"--jobs={job_id}", fields) if row[1]],
        "accounting has the memory of a step",
    )
    assert all(row[0] == "COMPLETED" for row in rows)
    accounts = site.shell(
        "sacctmgr", "--parsable2", "--noheader", "show", "associations", "format=Cluster,Account"
    )
    assert "hpc|site" in accounts
    report = site.shell(
        "sreport", "--parsable2", "cluster", "utilization", "start=now-1days", "end=now+1days"
    )
    assert "Cluster Utilization" in report
    assert "Jobs submitted" in site.shell("sdiag")


def test_the_walltime_of_a_partition_is_kept(site: LiveSite) -> None:
    with site.start(
        "shell", "--", "sbatch", "--partition=debug", "--time=01:00:00", "--wrap=true"
    ) as refused:
        _, said = refused.communicate(timeout=30)
    assert refused.returncode == 1 and "time limit" in said
    short = site.sbatch("--partition=debug", "--wrap=true")
    assert site.wait_for_job(short, "COMPLETED")["TimeLimit"] == "00:30:00"


def test_submitit_runs_functions_as_jobs(site: LiveSite, work: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is among the developers' requirements (`ai-how test`)")
    said = site.shell(sys.executable, "with_submitit.py", str(tmp_path))
    facts = json.loads(said.splitlines()[-1])
    assert facts["single"] == 42
    assert facts["array"] == [11, 22, 33]
    assert [one["rank"] for one in facts["wide"]] == [0, 1]
    assert len({one["node"] for one in facts["wide"]}) == 2


def test_the_environment_can_be_loaded_into_a_shell(site: LiveSite) -> None:
    exported = site.run("shell", "--export").stdout
    loaded = site.folder / "environment.sh"
    loaded.write_text(exported)
    program = f". {loaded}; env -u AI_HOW_HOME sinfo --noheader --format=%D"
    with site.start("shell", "--", "env", "-i", "sh", "-c", program) as shell:
        out, err = shell.communicate(timeout=30)
    assert out.split(), err
    assert set(site.facts("shell")) >= {
        "SLURM_CONF",
        "MLFLOW_TRACKING_URI",
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
    }


def test_a_job_that_is_told_saves_and_is_requeued(site: LiveSite, work: Path, requeued: int) -> None:
    assert (work / "checkpoint.txt").exists()
    # Slurm lets it wait until its former credentials have expired, and that is not to be hurried: a start in the same
    # second would be taken for the end of the former life.
    assert site.wait_for_job(requeued, "COMPLETED", timeout=120)["Restarts"] == "1"
    log = (work / f"checkpoint-{requeued}.out").read_text()
    assert "saving in life 0" in log or "saving in life \n" in log
    assert "resumed after 1 restart(s)" in log
