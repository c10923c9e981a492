"""What all tests share."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Generator, Iterator

import pytest
import structlog
from hypothesis import settings
from tests.sharing import Sharing, be_nice, tell
from xdist.remote import Producer
from xdist.scheduler import Scheduling
from xdist.workermanage import WorkerController

# As by default, but a traceback without the values in its frames: to print a world takes seconds.
PLAIN = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
]


def pytest_configure(config: pytest.Config) -> None:
    """Examples are the same in every run, so that a change is to blame when one fails, and not the draw; long campaigns
    draw others with `--hypothesis-seed N`. Machines are noisy, so no example has a deadline."""
    same = config.getoption("--hypothesis-seed") is None
    settings.register_profile("trimtab", deadline=None, print_blob=True, derandomize=same)
    settings.load_profile("trimtab")
    be_nice(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Of `--dist loadscope`; others are xdist's own."""
    return Sharing(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """A worker of pytest-xdist is about to start."""
    tell(node)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays to the end, and is much: the garbage collector need not look at it again and again, which
    is a fifth of what fast tests cost. What tests leave behind is found as before."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_sessionstart() -> None:
    """A plugin asks for the current event loop in every test, and asyncio makes one that nobody closes: have none."""
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def logging_as_found() -> Iterator[None]:
    """Whoever silences or captures log lines does so for its own test: structlog has one configuration per process."""
    structlog.reset_defaults()
    structlog.configure(processors=PLAIN)
    yield
    structlog.reset_defaults()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Long forms are asked for by name: they take minutes to hours each."""
    parser.addoption("--long", action="store_true", help="run the tests marked `long`, and only those (`make chaos`)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests run when asked for, the others when not."""
    wanted = bool(config.getoption("--long"))
    others = [item for item in items if (item.get_closest_marker("long") is not None) != wanted]
    items[:] = [item for item in items if (item.get_closest_marker("long") is not None) == wanted]
    config.hook.pytest_deselected(items=others)
