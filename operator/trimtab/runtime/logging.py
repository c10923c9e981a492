"""Structured logs: one event per line, with the Experiment and the Trial that are bound where it belongs to them.

Libraries that use the standard logging module (kopf, aiohttp) come out in the same form.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import Processor

QUIET = {
    "kopf": logging.WARNING,
    "kopf._core.reactor.running": logging.ERROR,  # it warns that signals are not its business, which is as we want it
    "asyncio": logging.WARNING,
    "aiohttp.access": logging.WARNING,
}


def configure_logging(style: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard logging module: `style` is json or console."""
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if style == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer: Processor = structlog.processors.JSONRenderer(default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelNamesMapping()[level]))


__all__ = ["configure_logging"]
