"""The provider existing without a cluster: its folder, its environments, and what is said of what a cluster tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.errors import AiHowError, NotFound, StepFailed, UsageError
from ai_how.jobs.collect import news
from ai_how.jobs.run_files import Recorded, folders, meta_files, recorded
from ai_how.providers.existing import ExistingProvider, FarEnvironments, Reach
from ai_how.providers.model import State
from ai_how.run import LocalGate, LocalShare, SystemClock
from ai_how.run.fake import ScriptedGate
from ai_how.services import Layout, Service
from ai_how.services.model import SocketProbe
from ai_how.site import open_site
from ai_how.site.there import doubts, own_words
from ai_how.slurm.facts import Association, ClusterFacts, PartitionFacts
from ai_how.spec import parse
from ai_how.spec.provider import Existing, ExistingEnvironment

FOUND = ClusterFacts(
    name="luna",
    version="23.11.4",
    user="ann",
    partitions=(
        PartitionFacts("gpu", True, True, "2-00:00:00", "NONE", 8),
        PartitionFacts("old", False, False, "2-00:00:00", "NONE", 2),
    ),
    kinds=(),
    associations=(Association("p1", "", ("default", "short")), Association("p2", "", ("default",))),
)


def reach(tmp_path: Path, site: str = "mine", **more: object) -> Reach:
    """This machine as the login node; its folder may have a blank nowhere, so it is one of its own."""
    told = Existing(host="localhost", folder=str(tmp_path / "there"), **more)  # type: ignore[arg-type]
    return Reach(site, told, Layout(tmp_path / "root"), SystemClock(), LocalGate())


def cluster(digest: str = "a") -> Service:
    return Service("cluster", "a test asks", ("existing", digest), SocketProbe(Path("/none")))


class TestTheFolder:
    def test_is_made_for_its_owner_alone_and_taken_away_again(self, tmp_path: Path) -> None:
        provider, folder = ExistingProvider(reach(tmp_path)), tmp_path / "there"
        undo = provider.create(cluster())
        assert folder.stat().st_mode & 0o777 == 0o700 and (folder / "log" / "jobs").is_dir()
        undo()
        assert not folder.exists()

    def test_is_kept_by_a_second_time(self, tmp_path: Path) -> None:
        provider = ExistingProvider(reach(tmp_path))
        provider.create(cluster())
        kept = tmp_path / "there" / "jobs" / "kept"
        kept.write_text("")
        provider.change(cluster("b"))()
        assert kept.exists()

    def test_of_another_site_is_left_alone(self, tmp_path: Path) -> None:
        ExistingProvider(reach(tmp_path)).create(cluster())
        other = ExistingProvider(reach(tmp_path, "other"))
        with pytest.raises(StepFailed, match="belongs to another site, 'mine'"):
            other.create(cluster())
        with pytest.raises(UsageError, match="was left alone"):
            other.remove()
        assert (tmp_path / "there" / "site.json").exists()

    def test_with_something_of_somebodys_in_it_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "thesis.tex").write_text("")
        provider = ExistingProvider(reach(tmp_path))
        with pytest.raises(StepFailed, match=r"not ours: thesis\.tex"):
            provider.create(cluster())
        provider.remove()
        assert [path.name for path in (tmp_path / "there").iterdir()] == ["thesis.tex"]

    def test_keeps_what_somebody_put_beside_ours(self, tmp_path: Path) -> None:
        provider = ExistingProvider(reach(tmp_path))
        provider.create(cluster())
        (tmp_path / "there" / "notes").write_text("")
        provider.remove()
        assert [path.name for path in (tmp_path / "there").iterdir()] == ["notes"]

    def test_a_cluster_that_does_not_answer_is_not_taken_for_one_without_a_folder(
        self, tmp_path: Path
    ) -> None:
        config = tmp_path / "config"
        config.write_text("Host x\n  HostName 127.0.0.1\n  Port 9\n  UserKnownHostsFile /dev/null\n")
        away = Reach(
            "mine", Existing(host="x", config_file=str(config)), Layout(tmp_path), SystemClock(), LocalGate()
        )
        (seen,) = ExistingProvider(away).observe([cluster()]).services.values()
        assert seen.state is State.UNKNOWN and "nothing listens there" in seen.detail


class TestEnvironments:
    def test_one_that_the_file_names_must_be_one(self, tmp_path: Path) -> None:
        place = tmp_path / "env"
        told = (ExistingEnvironment(name="torch", path=str(place)),)
        there = FarEnvironments(reach(tmp_path, environments=told))
        with pytest.raises(NotFound, match="has no bin/python"):
            there.ensure("torch", print)
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "python").touch()
        assert there.ensure("torch", print) == place

    def test_one_that_is_missing_is_not_made_unless_the_file_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="'llama-cpp' is not there") as caught:
            FarEnvironments(reach(tmp_path)).ensure("llama-cpp", print)
        assert "python3 -m venv" in (caught.value.todo or "") and "build: true" in (caught.value.todo or "")

    @pytest.fixture
    def python3(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A Python whose `venv` and `pip` take no time; `ensurepip` takes a quarter of a minute here."""
        program = tmp_path / "bin" / "python3"
        program.parent.mkdir()
        program.write_text(
            '#!/bin/sh\ncase "$2" in\n'
            '    venv) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;\n'
            '    pip) shift 5; grep -q wrong "$2" && exit 1; exit 0 ;;\nesac\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return program

    def lists(self, tmp_path: Path, text: str) -> Path:
        folder = tmp_path / "lists"
        folder.mkdir()
        (folder / "torch.txt").write_text(text)
        return folder

    def test_one_is_made_with_the_python_there_once(self, tmp_path: Path, python3: Path) -> None:
        lists = self.lists(tmp_path, "# nothing\n")
        there = FarEnvironments(reach(tmp_path, build=True), requirements=lists)
        said: list[str] = []
        folder = there.ensure("torch", said.append)
        assert (folder / "bin" / "python").exists() and len(said) == 1
        assert folder.with_suffix(".txt").read_text() == "# nothing\n"
        assert there.ensure("torch", said.append) == folder and len(said) == 1
        (lists / "torch.txt").write_text("# another\n")
        assert there.ensure("torch", said.append) != folder

    def test_one_that_cannot_be_made_leaves_nothing(self, tmp_path: Path, python3: Path) -> None:
        lists = self.lists(tmp_path, "wrong==1\n")
        there = FarEnvironments(reach(tmp_path, build=True), requirements=lists)
        with pytest.raises(AiHowError, match="could not be made there"):
            there.ensure("torch", print)
        assert not there.folder("torch").exists()


class TestWhatAClusterTells:
    def file(self, jobs: str) -> str:
        return (
            'version: "1.0"\nmetadata: {name: x}\nclusters:\n  hpc:\n    provider: existing\n'
            f"    existing:\n      host: login\n      jobs: {jobs}\n"
        )

    @pytest.mark.parametrize(
        ("jobs", "said"),
        [
            ("{}", []),
            ("{account: p1, qos: short, partition: gpu}", []),
            ("{partition: gqu}", ["there is no partition 'gqu' on the cluster luna. Did you mean 'gpu'?"]),
            ("{partition: old}", ["the partition 'old' is not up"]),
            ("{account: p3}", ["ann may not charge 'p3'. "]),
            ("{account: p2, qos: short}", ["ann may not use the QOS 'short'. "]),
        ],
    )
    def test_is_held_against_the_file(self, jobs: str, said: list[str]) -> None:
        found = list(doubts(parse(self.file(jobs)), FOUND, "sbatch's own word" if said else ""))
        assert len(found) == len(said)
        for words, line in zip(said, found, strict=True):
            assert words in line and line.startswith("cluster.yaml:8:")

    def test_what_nothing_else_explains_is_told_in_slurms_words(self) -> None:
        (line,) = doubts(parse(self.file("{}")), FOUND, "Job violates accounting/QOS policy")
        assert line.endswith("no job as the file has it: Job violates accounting/QOS policy")

    def test_is_shown(self) -> None:
        assert list(own_words(FOUND)) == [
            "the cluster luna, Slurm 23.11.4, as ann",
            "account p1, QOS default short",
            "account p2, QOS default",
        ]


class TestRunsInFiles:
    def test_are_a_store_of_mlflows_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """MLflow's own client writes into it as into any other."""
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # as in the job
        from mlflow.tracking import MlflowClient

        run_id = "0" * 32
        for name, text in meta_files(tmp_path, run_id).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        for folder in folders(tmp_path, run_id):  # as the batch script does
            folder.mkdir()
        client = MlflowClient(tracking_uri=f"file://{tmp_path}")
        client.log_metric(run_id, "loss", 0.5, timestamp=1000, step=3)
        client.log_param(run_id, "colour", "blue")
        found = recorded(tmp_path, run_id)
        assert found.metrics == (("loss", 0.5, 1000, 3),) and found.params == {"colour": "blue"}

    def test_a_line_that_is_being_written_counts_the_next_time(self, tmp_path: Path) -> None:
        path = tmp_path / "0" / "r" / "metrics" / "train" / "loss"
        path.parent.mkdir(parents=True)
        path.write_text("1000 0.5 1\nnonsense\n2000 0.2")
        assert recorded(tmp_path, "r").metrics == (("train/loss", 0.5, 1000, 1),)
        path.write_text("1000 0.5 1\nnonsense\n2000 0.25 2\n")
        assert len(recorded(tmp_path, "r").metrics) == 2

    def test_what_was_brought_over_is_not_brought_again(self) -> None:
        first = Recorded(metrics=(("a", 1.0, 1, 0), ("b", 1.0, 1, 0)))
        more = Recorded(metrics=(*first.metrics, ("a", 2.0, 2, 1)))
        counts = news(first, {}).counts
        assert counts == {"a": 1, "b": 1}
        assert list(news(more, counts).metrics) == [("a", 2.0, 2, 1)]
        assert list(news(more, news(more, counts).counts).metrics) == []


RECORDED = Path(__file__).parents[1] / "recorded" / "slurm" / "22.05"
PROFILES = [
    path
    for path in sorted((Path(__file__).parents[2] / "examples" / "clusters").glob("*.yaml"))
    if "provider: existing" in path.read_text(encoding="utf-8")
]


#: What a cluster that has none of it says of each.
SAID = {
    "existing": ("ann may not charge 'physics'",),
    "meluxina": ("there is no partition 'FILL-IN'", "ann may not charge 'FILL-IN'"),
    "redraider": ("there is no partition 'toreador'",),
}


def recorded_answer(name: str) -> tuple[int, str, str]:
    return 0, (RECORDED / name).read_text(encoding="utf-8"), ""


class TestExamples:
    def test_there_are_two_real_sites_and_the_template(self) -> None:
        assert [path.stem for path in PROFILES] == ["existing", "meluxina", "redraider"]

    @pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
    def test_each_is_planned_against_a_cluster_that_answers(self, path: Path, tmp_path: Path) -> None:
        """The answers are those of a real Slurm; what the file names and it has not is said."""
        answers = ScriptedGate(
            [
                (
                    ["scontrol", "--oneliner", "show", "partition"],
                    recorded_answer("scontrol-show-partition.txt"),
                ),
                (["scontrol", "show", "config"], recorded_answer("scontrol-show-config-part.txt")),
                (["sinfo", "--version"], recorded_answer("sinfo-version.txt")),
                (["sinfo"], recorded_answer("sinfo-kinds.txt")),
                (["sacctmgr"], recorded_answer("sacctmgr-associations.txt")),
                (["id"], (0, "ann\n", "")),
                (["sbatch", "--test-only"], (1, "", "allocation failure: Invalid account\n")),
            ]
        )
        site = open_site(path, tmp_path / "root")
        told = site.file.spec.clusters.hpc.existing
        assert told is not None
        reach = Reach(site.file.spec.name, told, site.layout, SystemClock(), answers)
        reach.__dict__.update(master=None, gate=answers, share=LocalShare(), home=tmp_path)
        site.reach = reach
        machines = site.overview().machines
        assert [(each.names, each.devices) for each in machines] == [
            ("node[01-02]", {"a100": 4}),
            ("node01", {"a100": 2}),
        ]
        steps = [step.id for step in site.plan().work]
        assert "create:cluster" in steps and "create:gateway" in steps and "create:slurmctld" not in steps
        assert ("create:mlflow" in steps) == site.file.spec.clusters.cloud.services.mlflow.enabled
        said = " ".join(site.warnings())
        assert all(words in said for words in SAID[path.stem]), said


class TestCutOff:
    def test_a_folder_that_was_half_made_is_known_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*words: object, **more: object) -> None:
            raise KeyboardInterrupt

        provider = ExistingProvider(reach(tmp_path))
        with monkeypatch.context() as cut:
            write = ExistingProvider._write_mark
            calls: list[str] = []

            def once(self: ExistingProvider, digest: str) -> None:
                if calls:
                    killed()
                calls.append(digest)
                write(self, digest)

            cut.setattr(ExistingProvider, "_write_mark", once)
            with pytest.raises(KeyboardInterrupt):
                provider.create(cluster())
        found = provider.observe([cluster()]).services["cluster"]
        assert found.digest != cluster().digest
        provider.create(cluster())
        assert (tmp_path / "there" / "jobs").is_dir()
