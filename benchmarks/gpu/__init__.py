"""The same suite on a GPU: `python -m benchmarks gpu`, and all that a first GPU has to show: `gpu-session`."""
