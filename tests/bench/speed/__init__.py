"""The speed benchmark: `python -m tests.bench.speed`, run by `make bench`. Its figures: docs/benchmarks.md."""
