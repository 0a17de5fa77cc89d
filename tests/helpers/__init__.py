"""What several tests share: engines under test, programs and problems, tolerances, a stand-in for CuPy."""
