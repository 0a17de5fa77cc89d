"""``python -m tests.attack [--long] [--only NAME ...] [--seed N] [--jobs N] [--try N]``: run the attack and report."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fastdense as fd

from . import core


def register_all() -> None:
    """Import every module of attacks; those of tests are not."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith(("test_", "_")):
            importlib.import_module(f"{__package__}.{module.name}")


def chosen(names: Sequence[str]) -> list[core.Attack]:
    """The attacks with these names, or of these subjects; all if none is given."""
    found = [one for name, one in core.ATTACKS.items() if not names or {name, name.partition(".")[0]} & set(names)]
    known = {*core.ATTACKS, *(name.partition(".")[0] for name in core.ATTACKS)}
    if unknown := set(names) - known:
        raise SystemExit(f"no such attack: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    return found


def surroundings(seed: int, long: bool) -> str:
    """Versions and machine, for the report."""
    config = fd.build_config()
    return (
        f"fastdense {config['version']} ({config['commit']}), "
        f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"{platform.system()} {platform.machine()} ({config['isa']}), {config['threads']} processors, "
        f"{'long' if long else 'short'} form, seed {seed}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attack; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description="attack the package and count")
    parser.add_argument("--long", action="store_true", help="an hour instead of four minutes")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names of attacks, or of subjects")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="how many attacks run at the same time")
    parser.add_argument("--try", type=int, dest="number", metavar="N", help="only this try, as a failure names it")
    parser.add_argument("--failures", type=int, default=3, help="how many of each attack are shown")
    parser.add_argument("--list", action="store_true", help="list the attacks")
    options = parser.parse_args(arguments)
    register_all()
    attacks = chosen(options.only)
    if options.list:
        print("\n".join(f"{one.name:32} {one.what}" for one in attacks))
        return 0
    began = time.monotonic()
    results = core.run(
        attacks, options.seed, options.long, options.jobs, options.number or 0, options.number is not None
    )
    print(f"\n{surroundings(options.seed, options.long)}\n")
    print(core.table(results))
    print(core.details(results, options.seed, options.failures))
    failed = sum(result.failed for result in results)
    tried = sum(result.tried for result in results)
    print(f"\n{tried} tries, {failed} failed, {time.monotonic() - began:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
