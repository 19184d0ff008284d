"""Jobs and engines by runtime environment on a real site: modules, modules and a path, an image by modules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from live_site import LiveSite, until

from ai_how.host import Environments, Folders, apt
from ai_how.jobs.control import SHIPPED
from ai_how.run import LocalGate

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from newer_debian import apptainer, llama_server, newer_root, podman, podman_image
from test_engine_runtimes import using
from tiny_gguf import write_tiny_gguf


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for module files, which environment-modules loads by their paths; installed if need be."""
    known = (
        subprocess.run(["bash", "-lc", "command -v module"], capture_output=True, check=False).returncode == 0
    )
    if not known and (os.geteuid() or not shutil.which("apt-get")):
        pytest.skip("this machine has no environment modules, and only root installs them, by apt")
    if not known:
        apt.install(LocalGate(), ["environment-modules"], print)
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(scope="module")
def up(shared_site: LiveSite) -> LiveSite:
    shared_site.write()
    if not shared_site.is_up():
        shared_site.run("up")
    return shared_site


def module(folder: Path, name: str, *lines: str) -> str:
    file = folder / name
    file.write_text("\n".join(["#%Module1.0", *lines, ""]))
    return str(file)


def recipe(site: LiveSite, name: str, environment: dict[str, Any], script: str) -> str:
    folder = site.folder / name
    folder.mkdir(exist_ok=True)
    facts = {
        "version": "1.0", "kind": "evaluate", "name": name, "script": "script.py", "environment": environment,
        "resources": {"memory": "200M", "time_limit": "5"},
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(json.dumps(facts))
    (folder / "script.py").write_text(textwrap.dedent(script))
    return str(folder)


TELLS = """\
    import json, os, pathlib, sys
    import ai_how_job
    try:
        import brought
    except ImportError:
        brought = None
    facts = {
        "python": sys.executable, "version": sys.version.split()[0], "module": os.environ.get("A_MODULE", ""),
        "brought": bool(brought), "container": os.environ.get("APPTAINER_CONTAINER", ""),
    }
    pathlib.Path(os.environ["AI_HOW_OUTPUT_DIR"], "result.json").write_text(json.dumps(facts))
"""


def test_a_job_by_modules_has_the_python_and_the_packages_that_they_bring(
    up: LiveSite, modules: Path
) -> None:
    (modules / "packages").mkdir()
    (modules / "packages" / "brought.py").write_text("")
    mine = module(
        modules, "python", f"prepend-path PATH {sys.prefix}/bin", f"prepend-path PYTHONPATH {modules}/packages",
        "setenv A_MODULE here",
    )  # fmt: skip
    found = up.facts("evaluate", recipe(up, "by-modules", {"modules": [mine]}, TELLS))["result"]
    assert (
        found["module"] == "here"
        and found["brought"]
        and Path(found["python"]).parent == Path(sys.prefix, "bin")
    )


def test_a_job_by_a_module_that_is_not_there_ends_and_says_so(up: LiveSite, modules: Path) -> None:
    said = up.run("evaluate", recipe(up, "no-module", {"modules": [f"{modules}/none"]}, TELLS), code=7).stderr
    assert f"the module {modules}/none is not loaded on {os.uname().nodename}" in said


def test_a_training_by_modules_and_a_path_goes_over_two_nodes(up: LiveSite, modules: Path) -> None:
    torch = Environments(LocalGate(), Folders.of_user(os.environ).make()).ensure("torch", print)
    folder = up.folder / "digits-by-path"
    shutil.copytree(SHIPPED / "digits", folder)
    text = (folder / "recipe.yaml").read_text().replace("name: digits", "name: digits-by-path")
    where = json.dumps({"modules": [module(modules, "threads", "setenv A_MODULE here")], "path": str(torch)})
    assert "environment: {venv: torch}" in text
    (folder / "recipe.yaml").write_text(text.replace("environment: {venv: torch}", f"environment: {where}"))
    found = up.facts("train", str(folder), "--set", "epochs=1")
    assert found["state"] == "COMPLETED" and found["result"]["nodes"] == 2


def newest_job(site: LiveSite) -> int:
    """As slurmctld knows it, which tells accounting only a moment later."""
    return max(map(int, site.slurm("squeue", "--states=all", "--noheader", "--format=%A").split()), default=0)


def test_a_path_without_python_is_refused_before_there_is_a_job(up: LiveSite, tmp_path: Path) -> None:
    before = newest_job(up)
    folder = recipe(up, "no-python", {"path": str(tmp_path)}, TELLS)
    said = up.run("evaluate", folder, code=8).stderr
    assert f"the environment {tmp_path} has no bin/python" in said and f"{folder}/recipe.yaml" in said
    said = up.run("evaluate", recipe(up, "no-image", {"image": f"{tmp_path}/no.sif"}, TELLS), code=8).stderr
    assert f"there is no image {tmp_path}/no.sif" in said
    assert newest_job(up) <= before


@pytest.fixture(scope="module")
def containers(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A module that brings Apptainer, as centres have one."""
    programs = apptainer(tmp_path_factory.mktemp("apptainer"))
    yield module(modules, "containers", f"prepend-path PATH {programs}")


def test_a_job_in_an_image_runs_by_the_python_of_the_image(up: LiveSite, containers: str) -> None:
    image = newer_root()
    folder = recipe(up, "by-image", {"modules": [containers], "image": str(image)}, TELLS)
    found = up.facts("evaluate", folder)["result"]
    own = os.readlink(image / "usr/bin/python3").removeprefix("python")
    assert found["container"] == str(image) and found["version"].startswith(f"{own}.")


def test_a_job_in_an_image_is_told_of_its_end(up: LiveSite, containers: str) -> None:
    script = """\
        import json, os, pathlib, signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        print("listens", flush=True)
        heard = signal.sigtimedwait([signal.SIGUSR1], 240)
        output = pathlib.Path(os.environ["AI_HOW_OUTPUT_DIR"], "result.json")
        output.write_text(json.dumps({"heard": bool(heard)}))
    """
    folder = recipe(up, "told-in-image", {"modules": [containers], "image": str(newer_root())}, script)
    facts = json.loads(up.run("evaluate", folder, "--detach", "--json").stdout)
    shown = up.facts("jobs", "show", str(facts["job_id"]))
    log = Path(shown["log"])
    until(lambda: log.exists() and "listens" in log.read_text(), "the script listening")
    up.shell("scancel", "--signal=USR1", str(facts["job_id"]))
    up.wait_for_job(facts["job_id"], "COMPLETED")
    assert json.loads((Path(shown["folder"]) / "output" / "result.json").read_text()) == {"heard": True}


@pytest.fixture
def podmans() -> Iterator[Path]:
    with podman() as programs:
        yield programs


@pytest.mark.parametrize("how", ["modules", "image", "podman"])
def test_an_engine_answers_through_the_gateway(up: LiveSite, modules: Path, tmp_path: Path, how: str,
                                               request: pytest.FixtureRequest) -> None:  # fmt: skip
    if how == "modules":
        place = llama_server(tmp_path / "place")
        vectors = ("setenv LLAMA_ARG_EMBEDDINGS 1", "setenv LLAMA_ARG_POOLING mean")
        runtime = f"modules:{module(modules, 'llama', f'prepend-path PATH {place}/bin', *vectors)}"
    elif how == "podman":
        programs = request.getfixturevalue("podmans")
        mine = module(modules, "podman", f"prepend-path PATH {programs}")
        runtime = f"modules:{mine};podman:{podman_image(programs)}"
    else:
        runtime = f"modules:{request.getfixturevalue('containers')};image:{newer_root()}"
    name = f"by-{how}"
    model = write_tiny_gguf(tmp_path / f"{name}.gguf")
    facts = up.facts("serve", str(model), "--runtime", runtime, "--time", "30")
    try:
        token = up.shell("printenv", "OPENAI_API_KEY").strip()
        client = openai.OpenAI(base_url=facts["base_url"], api_key=token, max_retries=0)
        asked: dict[str, Any] = {
            "model": name,
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 4,
        }
        whole = client.chat.completions.create(**asked)
        assert whole.usage and whole.usage.completion_tokens == 4
        pieces = list(client.chat.completions.create(**asked, stream=True))
        assert [one.choices[0].finish_reason for one in pieces if one.choices][-1] == "length"
        if how == "modules":
            assert len(client.embeddings.create(model=name, input=["a", "b"]).data) == 2
    finally:
        up.run("stop", name)
        until(lambda: not using(model), lambda: f"nothing left of {using(model)}")


def test_an_engine_by_a_module_that_is_not_there_says_so(up: LiveSite, modules: Path, tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "unloaded.gguf")
    with up.start("serve", str(model), "--runtime", f"modules:{modules}/none", "--time", "30") as process:
        said = process.communicate(timeout=150)[1]
    assert process.returncode != 0 and f"the module {modules}/none is not loaded on" in said
