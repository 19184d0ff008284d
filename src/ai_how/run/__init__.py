"""The only gate to subprocesses, the clock, file locks and this machine's process table.

Everything above decides in pure functions and acts through here, so that a test can hold the gate in its
hand (:mod:`ai_how.run.fake`) and a log line can be pasted into a shell (:meth:`Command.paste`).
"""

from ai_how.run.clock import Clock, SystemClock, wait_until
from ai_how.run.files import write_whole
from ai_how.run.gate import Gate, LocalGate
from ai_how.run.interrupt import terminated_as_interrupted, undisturbed
from ai_how.run.lock import FileLock
from ai_how.run.model import Command, Completed
from ai_how.run.share import LocalShare, Share
from ai_how.run.ssh import SshGate, SshMaster, SshTarget
from ai_how.run.ssh_share import SshShare
from ai_how.run.tunnels import SshTunnels

__all__ = [
    "Clock",
    "Command",
    "Completed",
    "FileLock",
    "Gate",
    "LocalGate",
    "LocalShare",
    "Share",
    "SshGate",
    "SshMaster",
    "SshShare",
    "SshTarget",
    "SshTunnels",
    "SystemClock",
    "terminated_as_interrupted",
    "undisturbed",
    "wait_until",
    "write_whole",
]
