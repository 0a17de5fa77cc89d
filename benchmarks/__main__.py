"""`python -m benchmarks` is the suite; words that begin with `gpu` are about GPUs, `tabular` about real tables."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Call the command; a GPU session starts before fastdense is built, so nothing is imported until then."""
    if arguments[:1] == ["gpu-session"]:
        from benchmarks.gpu import session

        return session.main(arguments[1:])
    if arguments[:1] == ["gpu"]:
        from benchmarks.gpu import run

        return run.main(arguments[1:])
    if arguments[:1] == ["gpu-calibrate"]:
        from benchmarks.gpu import calibrate

        return calibrate.main(arguments[1:])
    if arguments[:1] == ["gpu-predict"]:
        from benchmarks.gpu import predict

        return predict.main(arguments[1:])
    if arguments[:1] == ["gpu-sass"]:
        from benchmarks.gpu import sass

        return sass.main(arguments[1:])
    if arguments[:1] == ["gpu-accesses"]:
        from benchmarks.gpu import accesses

        return accesses.main(arguments[1:])
    if arguments[:1] == ["tabular"]:
        from benchmarks.tabular import run as tabular

        return tabular.main(arguments[1:])
    from benchmarks import command

    return command.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
