"""``python -m tests.fuzz HARNESS [--runs N] [--core BUILD] [libFuzzer's options]``: look for input that is not refused.

HARNESS is `files` (what `fastdense.load` reads) or `engine` (what the compiled core is given). Needs Linux and the
package `atheris`. A harness is a module here with `seeds()`, the corpus that it begins with; `one(data)`, which raises
if something is wrong; and perhaps `mutate`. --core is a build folder of the preset `fuzz`, whose core counts its own
branches and is watched by the address and undefined-behaviour sanitizers. An input that fails is kept in
`build/fuzzed/HARNESS`; giving its path in place of --runs tries it again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.sanitized.__main__ import ROOT, installed

# A call that takes longer, or the process if it becomes larger, has failed. Harnesses that look at the time of the
# process alone are stricter.
LIMITS = ["-timeout=120", "-rss_limit_mb=2048", "-malloc_limit_mb=1024", "-max_len=16384", "-print_final_stats=1"]
HARNESSES = ("files", "engine")


def with_core(build: Path) -> None:
    """Start this process anew with the core of a build, and the sanitizers' library before everything else."""
    import atheris

    environment = {
        "PYTHONPATH": str(installed(build.resolve())),
        "LD_PRELOAD": str(Path(atheris.path()) / "asan_with_fuzzer.so"),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:allocation_mode_max_size_mb=1024",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    os.execve(sys.executable, [sys.executable, "-m", "tests.fuzz", *sys.argv[1:]], {**os.environ, **environment})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a harness; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("harness", choices=HARNESSES)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--core", type=Path, metavar="BUILD", help="a build folder of the preset fuzz")
    options, others = parser.parse_known_args(arguments)
    if options.core and "LD_PRELOAD" not in os.environ:
        with_core(options.core)

    import atheris

    with atheris.instrument_imports(include=["fastdense"], enable_loader_override=False):
        from tests.attack.subjects import import_all

        import_all()
    work = ROOT / "build" / "fuzzed" / options.harness
    corpus = work / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    harness = importlib.import_module(f"tests.fuzz.{options.harness}")
    for seed in harness.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    again = [other for other in others if not other.startswith("-")]
    given = [] if again else [str(corpus), f"-runs={options.runs}"]
    mutator = {"custom_mutator": harness.mutate} if hasattr(harness, "mutate") else {}
    atheris.Setup([sys.argv[0], *LIMITS, *others, *given], harness.one, internal_libfuzzer=not options.core, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
