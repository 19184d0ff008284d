"""Measuring: schedules, the load, statistics, and a verdict on every figure.

The load keeps its schedule whatever the target does, latencies count from when a request was due, and the generator
is calibrated before every run, so that its own limits are in the result and not taken for the target's.

Four interfaces (:mod:`ai_how.bench.interfaces`) make a benchmark:

- ``Service``, what is under test: ``start`` makes it ready and tells its facts, ``stop`` takes down what it brought
  up;
- ``Client``, which loads it: ``calibrate``, ``run(number) -> Measured``, ``close``;
- ``Monitor``, which samples the machines between ``start`` and ``stop``: series for the report;
- ``Log``, which keeps every result and every request, after every run.

A new kind of target takes four lines elsewhere and one module here:

1. its word in ``Api``, its section of the workload in ``SECTIONS`` and ``Workload``, and keys that say where it is in
   ``Target`` (:mod:`ai_how.spec.bench_target`);
2. a module in :mod:`ai_how.bench.targets` with its ``TARGET`` (the protocol ``Target``, or ``Loaded``), and a line in
   ``TARGETS``;
3. a row in ``tests/contract/test_bench_targets.py``.

Where the load core drives it, ``client`` is ``loaded(recipe, place, self.work)``, and ``work`` says what is
asked: HTTP requests as bytes with an ``Exchange`` that reads the answer, or calls of a library on threads
(:func:`ai_how.bench.calls.carried_by`). A program with a load of its own (fio, pgbench) is a ``Client`` that returns
a ``Measured`` of ``histograms`` (nanoseconds; each gets percentiles), ``values`` (``Value(value, unit, better)``,
such as a bandwidth or a recall), ``series``, what it knows against itself (``reasons``), its ``cache`` state and
``notes``. All else comes from the framework: points of a sweep, sides in turns, repetitions, intervals, verdicts, the
record, exports, and the report, which draws the curve of recall over throughput where the values ``recall`` and
``throughput`` (or ``latency``) are there at several points, and scaling where a point varies ``nodes``, ``processes``
or ``clients``.
"""
