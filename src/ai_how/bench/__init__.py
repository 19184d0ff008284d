"""Measuring: schedules, the load, statistics, and a verdict on every figure.

The load keeps its schedule whatever the target does, latencies count from when a request was due, and the generator is
calibrated before every run, so that its own limits are in the result and not taken for the target's.
"""
