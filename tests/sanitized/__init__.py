"""The tests of threads, forks and interrupts with a core that compilers' sanitizers watch: ``python -m tests.sanitized``."""
