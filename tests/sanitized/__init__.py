"""Tests of threads, forks and interrupts with a core that sanitizers watch: ``python -m tests.sanitized``."""
