"""Slurm's accounting of a job that was requeued: an entry for each of its lives."""

from __future__ import annotations

from ai_how.jobs.tracker import measured
from ai_how.slurm.parse import accounting

#: From Slurm 22.05: a job that was told before its time limit and completed in its second life.
TWO_LIVES = """\
1|REQUEUED|0:0|26|00:12.432||billing=2,cpu=2,mem=4G,node=2|node[01-02]
1.batch|COMPLETED|0:0|26|00:00.064|12660K|cpu=1,mem=2G,node=1|node01
1.0|FAILED|85:0|26|00:12.367|555536K|cpu=2,mem=4G,node=2|node[01-02]
1|COMPLETED|0:0|53|00:14.841||billing=2,cpu=2,mem=4G,node=2|node[03-04]
1.batch|COMPLETED|0:0|53|00:00.060|12400K|cpu=1,mem=2G,node=1|node03
1.0|COMPLETED|0:0|53|00:14.781|553716K|cpu=2,mem=4G,node=2|node[03-04]
"""


def test_the_lives_of_a_job_are_added_up() -> None:
    entry = accounting(TWO_LIVES)[1]
    assert (entry.state, entry.nodes) == ("COMPLETED", "node[03-04]")
    facts = measured(entry)
    assert facts["slurm.elapsed_seconds"] == 79
    assert abs(facts["slurm.cpu_seconds"] - 27.273) < 1e-9
    assert facts["slurm.max_rss_bytes"] == 555536 * 1024


def test_a_life_that_goes_on_is_not_over() -> None:
    running = TWO_LIVES.replace("1|COMPLETED|0:0|53|00:14.841", "1|RUNNING|0:0|53|00:00:00")
    assert accounting(running)[1].state == "RUNNING"
