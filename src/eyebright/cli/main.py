"""The command `eyebright`. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any, NoReturn

import click

from eyebright import __version__
from eyebright.cli.allocator import keep_freed_memory
from eyebright.cli.bench import bench
from eyebright.cli.cache import cache
from eyebright.cli.check import check
from eyebright.cli.draw import atlas, draw
from eyebright.cli.explain import explain, features
from eyebright.cli.learn import compare, demo, train
from eyebright.cli.look import models, runs
from eyebright.cli.openmp import wait_briefly
from eyebright.cli.use import evaluate, export, predict
from eyebright.errors import EyebrightError, MissingExtraError, OutputError

INTERRUPTED = 130
TRAINING = frozenset({"demo", "train", "compare"})
TRACEBACK_VARIABLE = "EYEBRIGHT_TRACEBACK"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="eyebright %(version)s")
def cli() -> None:
    """From a folder of images to a classifier that you can trust.

    Start with: eyebright demo. Then, with your own photos in one folder for each class:

    \b
        eyebright check photos/
        eyebright train photos/
        eyebright predict runs/photos-resnet50 new.jpg

    Exit codes: 0 done, 1 a bug, 2 wrong settings, 3 done but some images could not be read, 4 data,
    5 network or weights, 6 bundle, 7 output, 130 interrupted.
    """


for command in (demo, check, train, compare, evaluate, predict, explain, features, export):
    cli.add_command(command)
for command in (draw, atlas, models, runs, cache, bench):
    cli.add_command(command)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


_OUT_OF_MEMORY = "out of memory; try a smaller data.image_size or training.batch_size"


def _is_out_of_memory(error: Exception) -> bool:
    """Whether torch or the system says so, in errors of no kind of their own."""
    if "torch" not in sys.modules or not isinstance(error, RuntimeError | OSError):
        return False
    from eyebright.memory import is_out_of_memory

    return is_out_of_memory(error)


def _write_no_more() -> None:
    """Whoever read our output has gone, as `| head` does, or it has no room: no second error when Python ends."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and leave with its exit code; no traceback is shown unless $EYEBRIGHT_TRACEBACK is set."""
    try:
        _run(arguments)
    except BaseException as error:
        if _others_wait():
            _leave_at_once(error)
        raise


def _others_wait() -> bool:
    """Whether this is one of several processes with GPUs, and others may wait for it."""
    launch = sys.modules.get("eyebright.distributed.launch")
    return launch is not None and bool(launch.others_wait())


def _leave_at_once(error: BaseException) -> NoReturn:
    """Without what Python and its libraries do at the end: they may wait for the others."""
    code: Any = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _run(arguments: list[str] | None) -> NoReturn:
    from eyebright.cli.terminal import print_error

    if sys.stdout is None:  # closed by the shell, as with >&-
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    given = sys.argv[1:] if arguments is None else arguments
    if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until a job listens itself there is nothing to keep, and an exception in the middle of an import, which some
        # libraries catch, would have it end with another error.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if TRAINING.intersection(given[:1]):
        keep_freed_memory()
    wait_briefly()
    output = sys.stdout
    try:
        code = cli.main(args=given, prog_name="eyebright", standalone_mode=False)
        sys.stdout.flush()  # here, where what goes wrong can still be told
        sys.exit(code if isinstance(code, int) else 0)
    except SystemExit as left:
        # click has seen it first, and put something else in the place of the output (or, before 8.5, kept the error).
        if sys.stdout is output and not isinstance(left.__context__, BrokenPipeError):
            raise
        _write_no_more()
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print_error("interrupted")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _write_no_more()
        sys.exit(0)
    except EyebrightError as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print_error(str(error))
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if error.name != "torch" or os.environ.get(TRACEBACK_VARIABLE):
            raise
        missing = MissingExtraError("this command", "train")
        print_error(str(missing))
        sys.exit(missing.exit_code)
    except MemoryError:
        print_error(_OUT_OF_MEMORY)
        sys.exit(1)
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        if _is_out_of_memory(error):
            print_error(_OUT_OF_MEMORY)
            sys.exit(1)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _write_no_more()
            print_error(f"the output can't be written: {error.strerror}; free some room")
            sys.exit(OutputError.exit_code)
        print_error(
            f"this is a bug in Eyebright: {type(error).__name__}: {error}\n"
            f"Please report it with what {TRACEBACK_VARIABLE}=1 shows."
        )
        sys.exit(1)
