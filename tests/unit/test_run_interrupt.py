"""Ctrl-C is held back while something must not be left half-done, and nothing that runs meanwhile sees it."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from ai_how.run import Command, LocalGate, terminated_as_interrupted, undisturbed

#: A program that sends Ctrl-C to all of a terminal's programs: here to itself and to whoever started it.
_PRESSES = (
    "import os, signal; os.kill(os.getppid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT); print(1)"
)


def test_ctrl_c_counts_when_the_block_has_ended_and_its_programs_end_whole() -> None:
    said = ""
    with pytest.raises(KeyboardInterrupt), undisturbed():
        said = LocalGate().run(Command((sys.executable, "-c", _PRESSES))).stdout
    assert said == "1\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_what_went_wrong_in_the_block_is_not_forgotten() -> None:
    with pytest.raises(KeyboardInterrupt) as told, undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("wrong")
    assert isinstance(told.value.__context__, ValueError)
    with pytest.raises(ValueError), undisturbed():
        raise ValueError("wrong")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_a_job_or_a_terminal_is_taken_for_ctrl_c(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_as_interrupted(), undisturbed():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_are_told_of_neither() -> None:
    done = []

    def work() -> None:
        with undisturbed(), terminated_as_interrupted():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done
