"""The command line: `fastdense` is `python -m fastdense`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..datasets import DatasetError
from ..versions import VERSION, show_versions
from . import gallery
from .gallery import NAMES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 on success."""
    parser = argparse.ArgumentParser(prog="fastdense", description="Fast dense neural nets.")
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="command")
    demo = commands.add_parser(
        "demo", help="a tour of one minute; demo NAME: an example of a net that did not learn, and its repair"
    )
    demo.add_argument("name", nargs="?", choices=NAMES, help="an example; its options follow, see demo NAME --help")
    demo.add_argument(
        "--data", choices=("auto", "digits", "mnist"), default="auto", help="auto: MNIST if it is on this machine"
    )
    demo.add_argument("--epochs", type=_positive, help="number of epochs (default: depends on the data)")
    demo.add_argument(
        "--plot", type=Path, default=Path("fastdense-demo.png"), help="file for the plot (default: %(default)s)"
    )
    demo.add_argument("--no-plot", action="store_const", const=None, dest="plot", help="write no plot")
    bench_parser = commands.add_parser(
        "bench", help="compare training time with other libraries; in a checkout, the whole suite"
    )
    bench_parser.add_argument("--quick", action="store_true", help="this machine against its own limits, in a minute")
    commands.add_parser("info", help="print versions, instruction set, BLAS and threads, for a bug report")
    commands.add_parser("diagnose", help="find out why a net does not learn: a script, or a saved model and data")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["demo"] and given[1:2] and given[1] in NAMES:  # the rest are the example's options
        return _run(lambda: gallery.run(given[1], given[2:]))
    if given[:1] == ["bench"]:  # the rest are the suite's options
        from . import bench

        return bench.main(given[1:])
    if given[:1] == ["diagnose"]:
        from . import diagnose as command

        return command.main(given[1:])
    options = parser.parse_args(given)

    if options.version:
        print(VERSION)
    elif options.command == "demo":
        return _run(lambda: _demo(options))
    elif options.command == "info":
        show_versions()
    else:
        parser.print_help()
    return 0


def _demo(options: argparse.Namespace) -> None:
    from . import demo

    demo.main(options.data, options.epochs, options.plot)
    gallery.tour(keep_plots=options.plot is not None)


def _run(command: Callable[[], None]) -> int:
    try:
        command()
    except DatasetError as error:
        print(f"fastdense demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} epochs; at least 1 is needed")
    return value
