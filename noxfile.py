"""Sessions for work on fastdense: `nox -l` lists them, `nox -s lint` runs one."""

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite against the installed wheel; arguments go to pytest."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def oldest_numpy(session: nox.Session) -> None:
    """The test suite with the oldest NumPy that has a wheel for this Python."""
    session.install(".[test]", "numpy~=1.26.0" if session.python in (None, "3.10", "3.11", "3.12") else "numpy~=2.1.0")
    session.run("pytest", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """The same formulas in PyTorch and Keras, compared number by number."""
    session.install(".[test,peers]")
    session.run("pytest", "--no-skip", "tests/peers", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, lint and types: what .ci/run checks."""
    session.install(".[dev]")
    session.run("bash", ".ci/run", "lint", external=True, env={"VENV": session.virtualenv.location})


@nox.session
def sanitize(session: nox.Session) -> None:
    """The C++ core under ASan and UBSan."""
    session.install(".[dev]")
    session.run("bash", ".ci/run", "sanitize", external=True, env={"VENV": session.virtualenv.location})


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks; arguments go to `python -m benchmarks`."""
    session.install(".[peers]")
    session.run("python", "-m", "benchmarks", *session.posargs)
