"""What the commands share: exit codes, error messages, settings, and parsing of options."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

import typer

from tiktok_ray import logs
from tiktok_ray.console import problem
from tiktok_ray.graph import GraphError
from tiktok_ray.media import InputError
from tiktok_ray.report import said
from tiktok_ray.reporting.files import CannotWrite
from tiktok_ray.run.engine import CapacityError
from tiktok_ray.run.placement import DoesNotFit
from tiktok_ray.settings import Settings, UnknownSetting

log = logging.getLogger("tiktok_ray.commands")

T = TypeVar("T")

#: What Typer itself reports; it has no public name for the class of them all.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class Exit(IntEnum):
    """Exit codes."""

    OK = 0
    USAGE = 2
    INPUT = 3
    STRICT = 4
    DIED = 5


@contextlib.contextmanager
def explained(*, answering: bool = False) -> Iterator[None]:
    """Turn any exception into a message and an exit code: no user sees a traceback.

    Nothing reaches stdout except while ``answering``.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    try:
        # Ray prints what its nodes report on stdout, which is the answer's alone.
        with contextlib.nullcontext() if answering else contextlib.redirect_stdout(sys.stderr):
            yield
    except InputError as error:
        problem(f"{error.type}: {error}", error.advice)
        raise typer.Exit(Exit.INPUT) from None
    except (GraphError, CapacityError, DoesNotFit) as error:
        problem(str(error))
        raise typer.Exit(Exit.USAGE) from None
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        problem("invalid setting: " + "; ".join(lines))
        raise typer.Exit(Exit.USAGE) from None
    except SettingsError as error:
        problem(f"invalid setting: {error} ({error.__cause__})", "its value must be JSON")
        raise typer.Exit(Exit.USAGE) from None
    except UnknownSetting as error:
        problem(str(error))
        raise typer.Exit(Exit.USAGE) from None
    except CannotWrite as error:
        problem(str(error), error.advice)
        raise typer.Exit(Exit.USAGE) from None
    except (typer.Exit, typer.Abort, UsageError):
        raise
    except Exception as error:
        log.error("the command failed", exc_info=error)
        problem(f"internal: {said(error)}", f"this is a bug in tiktok-ray; {_where_logged()}")
        raise typer.Exit(Exit.INPUT) from None


def _where_logged() -> str:
    files = [
        h.path for h in logging.getLogger("tiktok_ray").handlers if isinstance(h, logs.SharedFile)
    ]
    return f"the traceback is in the log: {files[0]}" if files else "no log was written"


def names_of(given: str | Sequence[str] | None) -> list[str]:
    """Comma-separated or repeated names; none if nothing was given.

    Raises ``typer.BadParameter``, which lists the choices, for one that is empty.
    """
    texts = [given] if isinstance(given, str) else list(given or ())
    names = []
    for text in texts:
        found = [name.strip() for name in text.split(",") if name.strip()]
        if not found:
            from tiktok_ray.catalog import make_graph

            there = ", ".join(sorted(make_graph().analyzers))
            raise typer.BadParameter(f"name at least one analyzer; available: {there}")
        names += found
    return list(dict.fromkeys(names))


def folder_of(text: str) -> Path:
    """The named folder. Raises ``typer.BadParameter`` if it is empty."""
    if not text.strip():
        raise typer.BadParameter("name a folder with --out (. for the current one)")
    return Path(text)


def open_settings(**changes: Any) -> Settings:
    """Read the settings and direct this process's logs accordingly."""
    settings = Settings(**{key: value for key, value in changes.items() if value is not None})
    with contextlib.suppress(OSError):
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    logs.write_to(logs.log_file(settings.home), logging.WARNING)
    logging.raiseExceptions = False  # where no log can be written, the work goes on without
    return settings


def options_of(pairs: list[str]) -> dict[str, dict[str, Any]]:
    """``name.option=value`` pairs as nested dictionaries; values are JSON, or else text."""
    made: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        place, equals, text = pair.partition("=")
        name, dot, option = place.partition(".")
        if not (equals and dot and name and option):
            raise typer.BadParameter(
                f"{pair!r} is not in the form analyzer.option=value;"
                " to list the options: tiktok-ray analyzers --options"
            )
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        made.setdefault(name, {})[option] = value
    return made


def run_tidily(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in which SIGTERM and SIGHUP cancel the work, so that it cleans up.

    In that case raises ``SystemExit`` with 128 plus the signal number.
    """
    told: list[int] = []

    async def cancellable() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def leave(number: int) -> None:
            told.append(number)
            task.cancel()

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, leave, number)
        return await work

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        if told:
            raise SystemExit(128 + told[0]) from None
        raise
