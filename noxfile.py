"""Sessions for work on fastdense: `nox -l` lists them, `nox -s "ci(lint)"` runs one."""

import nox

nox.options.sessions = ["ci(lint)", "tests"]
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
@nox.parametrize(
    "part", [nox.param(name, id=name) for name in ("lint", "wheel", "cuda", "sanitize", "peers", "attack")]
)
def ci(session: nox.Session, part: str) -> None:
    """One part of .ci/run, which installs what it needs."""
    session.run("bash", ".ci/run", part, external=True, env={"VENV": session.virtualenv.location})


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks; arguments go to `python -m benchmarks`."""
    session.install(".[peers]")
    session.run("python", "-m", "benchmarks", *session.posargs)
