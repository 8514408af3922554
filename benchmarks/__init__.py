"""Measurements that a reader can run again: `python -m benchmarks.NAME [--quick]`."""
