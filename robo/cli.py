"""The command ``robo``: finds the command's module, parses, runs, reports.

Only the chosen command's module is imported, so that ``robo --help`` stays fast. Exit codes: 0
done, 1 failed (traceback, or a result with ``"ok": False``), 2 bad input or a full disk (one
sentence on standard error), 130 interrupted. ``ROBO_DEBUG=1`` shows every traceback.
"""

from __future__ import annotations

import importlib
import os
import select
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import robo
from robo.errors import RoboError
from robo.storage import NO_SPACE


class Entry(NamedTuple):
    """Where a command lives, and what it does in one line."""

    module: str
    name: str
    summary: str


COMMANDS = {
    "doctor": Entry("robo.commands.doctor", "Doctor", "What works on this machine, and what mends"),
    "tasks": Entry("robo.commands.tasks", "Tasks", "The tasks that can be made here"),
    "collect": Entry("robo.commands.collect", "Collect", "Record demonstrations of a task"),
    "fit grm": Entry("robo.commands.fit", "FitGRM", "Fit a progress reward model to episodes"),
    "fit clip": Entry(
        "robo.commands.fit_clip", "FitClip", "Fit an image-text model to a domain of frames"
    ),
    "fit video-encoder": Entry(
        "robo.commands.fit_video", "FitVideoEncoder", "Fit a compact video encoder to episodes"
    ),
    "fit offline": Entry(
        "robo.commands.fit_offline", "FitOffline", "Fit a policy to episodes, weighted by progress"
    ),
    "score": Entry("robo.commands.score", "Score", "Score stored episodes with a reward model"),
    "train": Entry("robo.commands.train", "Train", "Train a policy by PPO on any reward"),
    "evaluate": Entry("robo.commands.evaluate", "Evaluate", "Success rate of a trained policy"),
    "export": Entry("robo.commands.export", "Export", "A policy alone, for robots and servers"),
    "assess": Entry("robo.commands.assess", "Assess", "Compare rewards, and try to fool them"),
    "video": Entry("robo.commands.video", "Video", "Reward video: views, progress and reward"),
    "explore": Entry("robo.commands.explore", "Explore", "Look through episodes in a browser"),
    "data info": Entry("robo.commands.data", "DataInfo", "What an episode store holds"),
    "data verify": Entry("robo.commands.data", "DataVerify", "Check an episode store for damage"),
    "data merge": Entry(
        "robo.commands.data_stores", "DataMerge", "Several episode stores into one"
    ),
    "data split": Entry("robo.commands.data_stores", "DataSplit", "One episode store into several"),
    "data repair": Entry("robo.commands.data_stores", "DataRepair", "Make a damaged store usable"),
    "data migrate": Entry("robo.commands.data_stores", "DataMigrate", "Rewrite an older store"),
    "data stream": Entry("robo.commands.data_stores", "DataStream", "Copy a store as it grows"),
    "data import": Entry("robo.commands.data_formats", "DataImport", "Data sets of others, in"),
    "data export": Entry("robo.commands.data_formats", "DataExport", "A store, to others' formats"),
    "data replay": Entry("robo.commands.data_replay", "DataReplay", "Render recorded states anew"),
    "carla-standin": Entry(
        "robo.commands.carla_standin", "CarlaStandin", "Our server that speaks CARLA's protocol"
    ),
    "serve grm": Entry(
        "robo.commands.serve", "ServeGRM", "Serve a reward model to other processes"
    ),
    "demo": Entry("robo.commands.demo", "Demo", "Demonstrations to reward to policy to video"),
}

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (``sys.argv[1:]`` by default) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        # A number that leaves its range ends in a sentence of robo's own.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"robo\.")
        warnings.showwarning = partial(_show_warning, warnings.showwarning)
        return _guarded(arguments)


def _guarded(arguments: list[str]) -> int:
    """Run the command; every failure becomes an exit code."""
    try:
        return _dispatch(arguments)
    except SystemExit as stop:  # argument parsing ends this way, for --help and for errors
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except RoboError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("robo: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except OSError as error:
        if _reader_is_gone(error):
            return EXIT_FAILED
        if error.errno in NO_SPACE:
            where = f" at {error.filename}" if error.filename else ""
            return _refuse(f"the disk is full{where}: free some space and run the command again")
        traceback.print_exc()
        return EXIT_FAILED
    except Exception:
        traceback.print_exc()
        return EXIT_FAILED


def _dispatch(arguments: list[str]) -> int:
    """Choose the command, or print the table of commands."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        _print_commands("")
        return 0
    if arguments[0] == "--version":
        print(f"robo {robo.__version__}")
        return 0
    name = next((name for size in (2, 1) if (name := " ".join(arguments[:size])) in COMMANDS), None)
    if name is None:
        return _no_command(arguments)
    return _run(name, arguments[len(name.split()) :])


def _no_command(arguments: list[str]) -> int:
    """Help for a group of commands (``robo data``), or an error with the nearest name."""
    group = arguments[0]
    members = [name for name in COMMANDS if name.startswith(f"{group} ")]
    if members and arguments[1:] in ([], ["-h"], ["--help"]):
        _print_commands(f"{group} ")
        return 0 if arguments[1:] else EXIT_BAD_INPUT
    import difflib

    asked = " ".join(arguments[:2]) if members else group
    near = difflib.get_close_matches(asked, COMMANDS, n=1)
    hint = f"did you mean 'robo {near[0]}'?" if near else "'robo --help' lists the commands"
    return _refuse(f"unknown command {asked!r}: {hint}")


def _run(name: str, arguments: list[str]) -> int:
    """Parse, run and report one command."""
    from robo.commands.common import recorded_run
    from robo.policies.run_folder import RunFolder
    from robo.storage import to_line, write_json

    entry = COMMANDS[name]
    command = _parse(name, getattr(importlib.import_module(entry.module), entry.name), arguments)
    with recorded_run(command.out, name, arguments, command):
        result = command.run()
    if command.out is not None:
        write_json(RunFolder(command.out).result, result)
    if command.json:
        print(to_line(result), flush=True)
    return EXIT_FAILED if result.get("ok") is False else 0


def _parse(name: str, command: type, arguments: list[str]) -> Any:
    """The command's dataclass with ``arguments`` filled in.

    Raises:
        RoboError: where the dataclass refuses a value.
        SystemExit: after ``--help`` (code 0) or an argument error (code 2).
    """
    import tyro

    try:
        return tyro.cli(command, prog=f"robo {name}", args=arguments)
    except ValueError as error:
        raise RoboError(str(error)) from error


def _show_warning(otherwise: Callable, message: Any, category: type, filename: str, *rest: Any):
    """Print robo's own warnings as one sentence; leave those of libraries as they are."""
    if category is UserWarning and Path(filename).is_relative_to(Path(robo.__file__).parent):
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)
    else:
        otherwise(message, category, filename, *rest)


def _print_commands(prefix: str) -> None:
    """Print the commands whose name starts with ``prefix``, a line each."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column()
    for name, entry in COMMANDS.items():
        if name.startswith(prefix):
            table.add_row(name, entry.summary)
    console = Console()
    console.print(f"[bold]robo[/] {robo.__version__}: camera views into rewards, into policies\n")
    console.print("usage: robo COMMAND [options], robo COMMAND --help\n", markup=False)
    console.print(table)


def _reader_is_gone(error: OSError) -> bool:
    """Whether ``error`` is standard output closed by its reader, as in ``robo tasks | head``.

    A broken pipe to a worker process is another matter, hence the look at the stream itself.
    """
    if not isinstance(error, BrokenPipeError) or not hasattr(select, "poll"):
        return False
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file
        return False
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # Python flushes once more at exit
    return True


def _refuse(sentence: str) -> int:
    """Print one sentence on standard error; the exit code of bad input."""
    if os.environ.get("ROBO_DEBUG") == "1" and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"robo: {' '.join(sentence.split())}", file=sys.stderr)
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
