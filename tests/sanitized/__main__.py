"""``python -m tests.sanitized BUILD [--long] [pytest's arguments]``: run Python tests with a sanitized core.

BUILD is a build folder of the preset `tsan` or `debug-asan-ubsan`. Its core is installed there beside a copy of the
package. Python itself is not sanitized, so the sanitizer's library is loaded before it. Every report of the sanitizer
counts as a finding, those of child processes included; the exit code is 1 if there is one or a test failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPPRESSIONS = Path(__file__).with_name("suppressions.txt")

TESTS = [f"tests/runs/test_{name}.py" for name in ("threads", "interrupts", "refusals")]
TESTS += ["tests/unit/training/test_ranks.py"]
MORE_TESTS = ["tests/runs/test_guest.py", "tests/runs/test_determinism.py"]
ATTACKS = ["callers", "exits", "interrupts.calls", "interrupts.first_use", "interrupts.loops", "interrupts.storm"]

# Tests that cannot pass here, and why; for each, part of its name.
LEFT_OUT = {
    "test_no_memory": "it limits the address space, of which a sanitizer needs terabytes",
    "test_ctrl_c_in_a_validation": "Ctrl-C comes in the middle of a validation only at the usual speed",
    "test_fork_after_fit": "it counts threads, and ThreadSanitizer has one of its own",
    "test_thread_limits_are_kept": "the same",
    "test_one_thread_is_one_thread": "the same",
    "test_ctrl_c_while_the_compiled_module_is_loaded": "ThreadSanitizer passes signals on later, at a call of its own",
}


# Two engines that write the same array at the same time: ThreadSanitizer must see it, or it sees nothing.
RACE = """
import threading
import numpy as np
from fastdense import _core
from tests.helpers.programs import dense

x, out = np.ones((2000, 8), np.float32), np.empty((2000, 16), np.float32)
engines = [_core.Engine({"inputs": 8, "seed": 0, "dtype": "float32", "ops": [dense(16)]}) for _ in range(2)]

def work(engine):
    for _ in range(30):
        engine.predict(x, out, n_threads=1)

threads = [threading.Thread(target=work, args=(engine,)) for engine in engines]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def cached(build: Path, name: str) -> str:
    """A variable of the build's CMakeCache.txt."""
    found = re.search(rf"^{name}:[A-Z]+=(.*)$", (build / "CMakeCache.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def installed(build: Path) -> Path:
    """A folder with the package and the core of this build, for PYTHONPATH."""
    site = build / "site"
    shutil.rmtree(site, ignore_errors=True)
    ignored = shutil.ignore_patterns("*.so", "_libs", "__pycache__", "examples")
    shutil.copytree(ROOT / "python" / "fastdense", site / "fastdense", ignore=ignored)
    subprocess.run(["cmake", "--install", build, "--prefix", site], check=True, stdout=subprocess.DEVNULL)
    return site


def runtime(compiler: str, sanitizers: str) -> str:
    """The sanitizers' libraries, for LD_PRELOAD."""
    names = {"thread": ["libtsan.so"], "address,undefined": ["libasan.so", "libubsan.so"]}[sanitizers]
    commands = ([compiler, f"-print-file-name={name}"] for name in names)
    return " ".join(subprocess.run(one, check=True, capture_output=True, text=True).stdout.strip() for one in commands)


def environment(build: Path, reports: Path) -> dict[str, str]:
    """That of a process with a sanitized core: a report goes into a file of its process, and ends nothing by itself."""
    sanitizers = cached(build, "FASTDENSE_SANITIZE")
    log = f"log_path={reports / 'report'}"
    return {
        **os.environ,
        "PYTHONPATH": str(installed(build)),
        "LD_PRELOAD": runtime(cached(build, "CMAKE_CXX_COMPILER"), sanitizers),
        # a forked process may start threads; it goes on although the sanitizer knows less about those that were before
        "TSAN_OPTIONS": f"{log}:exitcode=0:die_after_fork=0:suppressions={SUPPRESSIONS}",
        # Python keeps what it has allocated until its end, and catches MemoryError
        "ASAN_OPTIONS": f"{log}:detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": f"{log}:print_stacktrace=1",
    }


def findings(reports: Path) -> list[str]:
    """What each report is about."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(reports.iterdir())]
    return [line for text in texts for line in text.splitlines() if line.startswith(("SUMMARY:", "FATAL:"))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; 1 if a test failed or there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.sanitized", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("build", type=Path, help="a build folder of the preset tsan or debug-asan-ubsan")
    parser.add_argument(
        "--long", action="store_true", help="more tests, and the attacks of threads, forks and interrupts"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to put the reports")
    parser.add_argument("--install", action="store_true", help="print the folder for PYTHONPATH, and run nothing")
    options, others = parser.parse_known_args(arguments)
    build = options.build.resolve()
    if options.install:
        print(installed(build))
        return 0
    sanitizers = cached(build, "FASTDENSE_SANITIZE")
    for name, reason in LEFT_OUT.items():
        print(f"left out: {name}: {reason}")
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", f"not ({' or '.join(LEFT_OUT)})"]
    commands = [[*pytest, *(others or TESTS + MORE_TESTS * options.long)]]
    if options.long:
        commands.append([sys.executable, "-m", "tests.attack", "--only", *ATTACKS, "--jobs", "1"])
    with tempfile.TemporaryDirectory() as folder:
        reports = options.keep or Path(folder)
        reports.mkdir(parents=True, exist_ok=True)
        given = environment(build, reports)

        def run(command: list[str]) -> int:
            # ThreadSanitizer of older compilers does not know where newer kernels put a program's memory
            return subprocess.run(["setarch", "-R", *command], cwd=ROOT, env=given).returncode

        if sanitizers == "thread":
            run([sys.executable, "-c", RACE])
            if not findings(reports):
                print("thread: the sanitizer does not see a race that was made for it")
                return 1
            for path in reports.iterdir():
                path.unlink()
        codes = [run(command) for command in commands]
        found = findings(reports)
    for line, count in Counter(found).most_common():
        print(f"{count} × {line}")
    print(f"{sanitizers}: {len(found)} findings")
    return int(bool(found) or any(codes))


if __name__ == "__main__":
    sys.exit(main())
