"""For all tests: signals mean what they mean on a terminal, whoever started the suite."""

from __future__ import annotations

import signal

# nohup, and a shell that starts something behind it, have these ignored, and every program started from here inherits
# it: tests that press Ctrl-C or end a terminal would wait for nothing.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
