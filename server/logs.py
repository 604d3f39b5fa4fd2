"""Logs: one JSON object a line on standard error. No secret, token or body is ever passed to a logger."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog


def configure(level: str = "INFO") -> None:
    """Set the process's logging up; libraries' records go the same way."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _traceback,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpcore", "hpack", "h2"):  # they would write every request, tokens in its path included
        logging.getLogger(chatty).setLevel(logging.WARNING)


def trace_of(error: BaseException) -> str:
    """Return where it happened and the errors' types, their causes and parts included.

    Texts of errors stay out: a driver's or a parser's quote what it was given, which may be a secret.
    """
    chain: list[str] = []
    link: BaseException | None = error
    while link is not None:
        chain.append("".join([*traceback.format_tb(link.__traceback__), type(link).__qualname__]))
        if isinstance(link, BaseExceptionGroup):
            chain.extend(trace_of(part) for part in link.exceptions)
        link = link.__cause__ or link.__context__
    return "\nwhile handling\n".join(chain)


def _traceback(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["traceback"] = trace_of(error)
    return event
