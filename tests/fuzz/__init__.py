"""Coverage-guided fuzzing of what reads input of unknown origin: ``python -m tests.fuzz files``, ``... engine``."""
