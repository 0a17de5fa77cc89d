"""The command line: `fastdense` is `python -m fastdense`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fastdense.cli import gallery
from fastdense.cli.gallery import NAMES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 when it went well."""
    parser = argparse.ArgumentParser(prog="fastdense", description="Dense neural nets, fast, on this machine.")
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="command")
    demo = commands.add_parser("demo", help="a tour of a minute; demo NAME: a net that was stuck, and its repair")
    demo.add_argument("name", nargs="?", choices=NAMES, help="an example; its own options follow, see demo NAME --help")
    demo.add_argument(
        "--data", choices=("auto", "digits", "mnist"), default="auto", help="auto: MNIST if it is on this machine"
    )
    demo.add_argument("--epochs", type=_positive, help="how long to train (default: suits the data)")
    demo.add_argument(
        "--plot", type=Path, default=Path("fastdense-demo.png"), help="where the picture goes (default: %(default)s)"
    )
    demo.add_argument("--no-plot", action="store_const", const=None, dest="plot", help="write no picture")
    commands.add_parser("bench", help="time training beside other libraries; in a checkout, the whole suite")
    commands.add_parser("info", help="print versions, instruction set, BLAS and threads, for a bug report")
    commands.add_parser("diagnose", help="say why a net is stuck: a script, or a saved model and data")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["demo"] and given[1:2] and given[1] in NAMES:  # what follows is for the example
        return _run(lambda: gallery.run(given[1], given[2:]))
    if given[:1] == ["bench"]:  # its options are the suite's
        from fastdense.cli import bench

        return bench.main(given[1:])
    if given[:1] == ["diagnose"]:
        from fastdense.cli import diagnose as command

        return command.main(given[1:])
    options = parser.parse_args(given)

    if options.version:
        from fastdense import __version__

        print(__version__)
    elif options.command == "demo":
        return _run(lambda: _demo(options))
    elif options.command == "info":
        from fastdense.versions import show_versions

        show_versions()
    else:
        parser.print_help()
    return 0


def _demo(options: argparse.Namespace) -> None:
    from fastdense.cli import demo

    demo.main(options.data, options.epochs, options.plot)
    gallery.tour(keep_pictures=options.plot is not None)


def _run(command: Callable[[], None]) -> int:
    from fastdense.datasets import DatasetError

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
