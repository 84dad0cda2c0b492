"""Measurements: `python -m benchmarks`. The method is told in benchmarks/README.md."""
