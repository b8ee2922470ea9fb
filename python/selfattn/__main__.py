"""``python -m selfattn``: what can be done from the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable

_USAGE = """\
usage: python -m selfattn COMMAND

commands:
  demo    what attention does, in a second: one sentence, one NumPy snippet, one timing
  info    version, CPU, threads and what else a bug report needs
  view    show weights or statistics from an .npz file in the browser (view --help)
  bench   time selfattn against NumPy and other libraries found (bench --help for options)
"""


def _demo(arguments: list[str]) -> int:
    if arguments:
        return _fail(f"demo takes no arguments, got {' '.join(arguments)}")
    from . import _demo

    _demo.main()
    return 0


def _info(arguments: list[str]) -> int:
    if arguments:
        return _fail(f"info takes no arguments, got {' '.join(arguments)}")
    from . import show_config

    show_config()
    return 0


def _bench(arguments: list[str]) -> int:
    from . import _bench

    return _bench.main(arguments)


def _view(arguments: list[str]) -> int:
    from .viewer import _command

    return _command.main(arguments)


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": _demo,
    "info": _info,
    "view": _view,
    "bench": _bench,
}


def _fail(sentence: str) -> int:
    print(f"python -m selfattn: {sentence}\n\n{_USAGE}", end="", file=sys.stderr)
    return 2


def main(arguments: list[str]) -> int:
    """Run one command; return the exit status (2: the command line was not understood)."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    command = _COMMANDS.get(arguments[0])
    if command is None:
        return _fail(f"there is no command {arguments[0]!r}; there are {', '.join(_COMMANDS)}")
    return command(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
