"""A load from several nodes of a real cluster, by srun; and results in the site's MLflow."""

from __future__ import annotations

import json
import signal

import pytest
from live_site import LiveSite, until

from ai_how.bench.calibrate import reference_server
from ai_how.bench.results import read_result
from ai_how.bench.tracked import metric
from ai_how.client.tracking import Tracking
from ai_how.run import LocalGate

RECIPE = """\
version: "1.0"
kind: bench
name: over-nodes
target: {{url: "http://{address}"}}
load: {{arrivals: poisson, rate: 200, seconds: 1.5, connections: 32, nodes: 2}}
repetitions: 1
"""


def test_two_nodes_send_one_schedule_and_mlflow_has_the_result(site: LiveSite) -> None:
    with reference_server(LocalGate(), "--service", "0.005") as address:
        (site.folder / "over.yaml").write_text(RECIPE.format(address=address))
        for number in range(3):  # other tests share the machine, and one that is late by that proves nothing
            facts = site.facts("bench", "run", "over.yaml", "--out", f"over-{number}.json")
            result = read_result(site.folder / f"over-{number}.json")
            (run,) = result.runs
            if run.achieved == pytest.approx(1.0, abs=0.05):
                break
    nodes = [one.node for one in run.generators]
    assert len(set(nodes)) == 2 and all(node.startswith("node") for node in nodes)
    assert run.good == run.sent == run.intended and run.achieved == pytest.approx(1.0, abs=0.05)
    # Emulated nodes share one clock: what is measured of it must hold zero.
    assert all(abs(one.offset_ms) <= one.error_ms for one in run.generators)

    tracked = Tracking(f"http://127.0.0.1:{site.ports['mlflow']}").run(facts["mlflow_run"])
    assert tracked["status"] == "FINISHED" and tracked["params"]["load.rate"] == "200.0"
    p50 = next(one for one in result.figures if one.name == "latency.p50")
    assert not p50.ok or tracked["metrics"]["latency.p50"] == pytest.approx(p50.value)
    assert {f"over-{number}.json", result.samples} <= set(tracked["artifacts"])


SWEPT = """\
version: "1.0"
kind: bench
name: swept
target: {{url: "http://{address}"}}
load: {{arrivals: constant, rate: 100, seconds: 1.5}}
sweep: {{load.rate: [100, 200]}}
warmup: none
repetitions: 40
"""


def test_mlflow_has_what_was_measured_until_ctrl_c_at_every_point(site: LiveSite) -> None:
    """The names of figures have their points in them, which MLflow does not take as they stand."""
    with reference_server(LocalGate(), "--service", "0.005") as address:
        (site.folder / "swept.yaml").write_text(SWEPT.format(address=address))
        out = site.folder / "swept.json"
        with site.start("bench", "run", "swept.yaml", "--out", str(out), "--json") as process:
            until(lambda: out.exists() and len(read_result(out).runs) >= 3, "three runs")
            process.send_signal(signal.SIGINT)
            facts = json.loads(process.communicate(timeout=60)[0])
    result = read_result(out)
    assert process.returncode == 130 and result.partial
    tracked = Tracking(f"http://127.0.0.1:{site.ports['mlflow']}").run(facts["mlflow_run"])
    assert tracked["status"] == "KILLED" and tracked["tags"]["partial"] == result.partial
    assert set(tracked["metrics"]) == {metric(one) for one in result.figures if one.ok}
    assert "latency.p50 at load.rate=100" in {one.key for one in result.figures}
    assert {"swept.json", result.samples} <= set(tracked["artifacts"])
