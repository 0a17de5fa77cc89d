"""`python -m benchmarks gpu-session --call A --out DIR`: what to run first when a GPU is at hand; then `--call B`.

Call A builds the package for the GPU that is there, checks that it works, and measures the goals; call B, on the same
machine, checks and measures the rest. Each has a limit of about five minutes. Every part is written down as soon as it
is done; one that fails stops nothing. Nothing but Python's own library is imported here, as there may be nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.build import PREPARE, REQUIREMENTS, name_of
from benchmarks.gpu.commands import ROOT, Commands, Found, LeftOut, Session, Trouble
from benchmarks.gpu.parts import CALLS, LIMITS, Part


def perform(session: Session, part: Part) -> Found:
    """Do one part; whatever happens becomes its result."""
    begin = time.monotonic()
    try:
        if part.needs_package and "error" in session.found.get("import", {"error": "not tried"}) and not session.dry:
            raise LeftOut("there is no package to try it with")
        if part.times and session.background:
            session.found["background"] = session.stop_background()
        result = {"status": "ok", "found": part.do(session)}
    except LeftOut as reason:
        result = {"status": "left out", "reason": str(reason)}
    except Trouble as trouble:
        result = {"status": "failed", "reason": str(trouble), "found": trouble.found, "ends": trouble.ends}
    except Exception as error:
        session.commands.note(traceback.format_exc())
        result = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    return {**result, "seconds": round(time.monotonic() - begin, 1)}


def line_of(name: str, result: Found) -> str:
    """One line for a reader."""
    words = f"{name:12} {result['status']:9} {result['seconds']:6.1f} s"
    return f"{words}   {result['reason']}" if "reason" in result else words


def keep(session: Session, results: dict[str, Found]) -> None:
    """Write session.json and summary.txt: they are whole at any moment."""
    text = "\n".join(line_of(name, result) for name, result in results.items()) + "\n"
    for name, content in (("session.json", json.dumps(results, indent=1) + "\n"), ("summary.txt", text)):
        fresh = session.out / f"{name}.part"
        fresh.write_text(without_paths(session, content), encoding="utf-8")
        os.replace(fresh, session.out / name)


def without_paths(session: Session, text: str) -> str:
    """A text without the folders of this machine, so that it can be committed."""
    longest_first = {
        str(session.work): "WORK",
        str(session.out): "OUT",
        str(session.emulated): "EMULATED",
        str(ROOT): ".",
        sys.executable: "python",
        sys.prefix: "PYTHON",
        str(Path.home()): "HOME",
    }
    for path in sorted(longest_first, key=len, reverse=True):
        if len(path) > 1:
            text = text.replace(path, longest_first[path])
    return text


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m benchmarks gpu-session", description=__doc__.split("\n\n")[1])
    found.add_argument("--call", choices=CALLS, default="A", help="which of the two (default: %(default)s)")
    found.add_argument("--out", type=Path, metavar="DIR", help="for session.json, summary.txt, log.txt, tests.xml, ...")
    limits = ", ".join(f"{name} {seconds:.0f}" for name, seconds in LIMITS.items())
    found.add_argument("--seconds", type=float, help=f"for everything (default: {limits})")
    found.add_argument("--wheels", type=Path, metavar="DIR", help="install what is missing from this folder alone")
    found.add_argument("--after", type=Path, metavar="DIR", help="call B: A's results, if this is another machine")
    found.add_argument("--without-openblas", action="store_true", help="build for the GPU alone if it is missing")
    found.add_argument("--no-build", action="store_true", help="take the fastdense that is installed")
    parts = sorted({name for call in CALLS.values() for name in call})
    found.add_argument("--only", nargs="+", choices=parts, metavar="PART", help="these parts (environment always)")
    found.add_argument("--dry-run", action="store_true", help="no GPU: all of it that can be done on the CPU")
    found.add_argument("--emulated", type=Path, metavar="FILE", help="a dry run with this emulated module of the tests")
    found.add_argument("--print-requirements", action="store_true", help="what must be there before, and how to get it")
    return found


def session_of(options: argparse.Namespace) -> Session:
    """The session that was asked for."""
    out, work = options.out.resolve(), ROOT / "build" / "gpu-session"
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    wheels, emulated = (path and path.resolve() for path in (options.wheels, options.emulated))
    return Session(
        out=out,
        work=work,
        end=time.monotonic() + (options.seconds or LIMITS[options.call]),
        dry=options.dry_run or emulated is not None,
        wheels=wheels,
        build=not options.no_build,
        commands=Commands(ROOT, out / "log.txt"),
        emulated=emulated,
        openblas=not options.without_openblas,
        after=options.after and options.after.resolve(),
    )


def main(arguments: Sequence[str]) -> int:
    """Do all parts of a call; exit code 1 if one failed."""
    reader = parser()
    options = reader.parse_args(arguments)
    if options.print_requirements:
        wanted = [need for need in REQUIREMENTS if not options.without_openblas or name_of(need) != "scipy-openblas32"]
        print(PREPARE.format(quoted=" ".join(f"'{need}'" for need in wanted)))
        return 0
    if options.out is None:
        reader.error("--out DIR is needed")
    session = session_of(options)
    asked = (
        CALLS[options.call]
        if not options.only
        else {
            name: part
            for call in CALLS.values()
            for name, part in call.items()
            if name in (*options.only, "environment")
        }
    )
    results: dict[str, Found] = {}
    for name, part in asked.items():
        last = name == list(asked)[-1]
        session.part_end = session.end if last else time.monotonic() + part.seconds
        results[name] = perform(session, part)
        session.found[name] = results[name].get("found", {"error": results[name].get("reason")})
        keep(session, results)
        print(line_of(name, results[name]), flush=True)
        if results[name].get("ends"):
            break
    if session.background:
        session.stop_background()
    log = session.commands.log
    log.write_text(without_paths(session, log.read_text(encoding="utf-8", errors="replace")), encoding="utf-8")
    return int(any(result["status"] == "failed" for result in results.values()))
