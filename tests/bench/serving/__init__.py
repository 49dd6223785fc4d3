"""The benchmark of the serving core: `python -m tests.bench.serving`, run by `make bench-serving`."""
