"""Benchmarks: the same net, data, batches and formulas in several libraries; see README.md beside this file."""
