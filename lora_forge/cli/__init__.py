"""``lora-forge``: every step without a browser. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

Only what ``--help`` needs is imported here; each command imports its own heavy parts when it runs.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from lora_forge.cli.console import Console
from lora_forge.cli.parser import build_parser
from lora_forge.errors import ConfigError, LoraForgeError

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Raises SystemExit for ``--help`` and wrong usage, as argparse does."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return WRONG_USAGE
    console = Console(sys.stdout, sys.stderr, is_json=args.json)
    # Libraries print where they like; with --json standard output holds our objects and nothing else.
    quiet = contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext()
    try:
        with quiet:
            return _run(args, console)
    except BrokenPipeError:  # the reader of our output went away; nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return FAILED
    finally:
        console.close()


def _run(args: Namespace, console: Console) -> int:
    try:
        command = importlib.import_module(args.module)
        return int(command.run(args, console))
    except KeyboardInterrupt:
        console.error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except LoraForgeError as problem:
        if args.debug:
            raise
        console.error(problem.message())
        return WRONG_USAGE if isinstance(problem, ConfigError) else FAILED
    except OSError as problem:
        if args.debug:
            raise
        console.error(_disk_sentence(problem))
        return FAILED
    except Exception as problem:  # the outermost edge: a person gets a sentence, --debug the trace
        if args.debug:
            raise
        kind = type(problem).__name__
        console.error(f"{kind}: {problem}. This is a fault of LoRA Forge; the same command with --debug shows where.")
        return FAILED


def _disk_sentence(problem: OSError) -> str:
    places = [str(name) for name in (problem.filename, problem.filename2) if name is not None]
    return ": ".join([*places, problem.strerror or str(problem)])
