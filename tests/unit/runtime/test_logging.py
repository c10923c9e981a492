"""Log lines: one form for all, with the Experiment and the Trial that they belong to."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from trimtab.runtime.logging import QUIET, configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    before = (root.handlers, root.level, {name: logging.getLogger(name).level for name in QUIET})
    yield
    structlog.reset_defaults()
    root.handlers, root.level = before[0], before[1]
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """All lines written, parsed."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_what_it_belongs_to() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    log = structlog.get_logger("trimtab.test")
    with bound_contextvars(experiment="shop/web"), bound_contextvars(trial="web-0a1b2c-0007"):
        log.info("trial.phase", phase="Measuring")
    with bound_contextvars(experiment="shop/web"):
        log.warning("reconcile.later", after=4.0)
    log.info("operator.stopped")
    trial, experiment, neither = lines(stream)
    assert trial | {"timestamp": ""} == {
        "event": "trial.phase",
        "phase": "Measuring",
        "experiment": "shop/web",
        "trial": "web-0a1b2c-0007",
        "level": "info",
        "logger": "trimtab.test",
        "timestamp": "",
    }
    assert trial["timestamp"].endswith("Z")
    assert (experiment["experiment"], experiment["level"]) == ("shop/web", "warning")
    assert "trial" not in experiment
    assert "experiment" not in neither


async def test_tasks_inherit_it_and_do_not_mix() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    log = structlog.get_logger("trimtab.test")

    everyone = asyncio.Barrier(5)

    async def work(name: str) -> None:
        with bound_contextvars(experiment=name):
            await everyone.wait()
            log.info("worked", name=name)

    await asyncio.gather(*(work(f"shop/{n}") for n in range(5)))
    assert all(line["experiment"] == line["name"] for line in lines(stream))


def test_other_libraries_come_out_in_the_same_form() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    with bound_contextvars(experiment="shop/web"):
        logging.getLogger("some.library").warning("hello %s", "world")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["experiment"]) == ("hello world", "some.library", "shop/web")


def test_an_exception_stays_on_one_line() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    try:
        raise ValueError("broken")
    except ValueError as error:
        structlog.get_logger("trimtab.test").error("reconcile.defect", exc_info=error)
    (line,) = lines(stream)
    assert "ValueError: broken" in line["exception"]


@pytest.mark.parametrize(("level", "shown"), [("DEBUG", 3), ("INFO", 2), ("WARNING", 1)])
def test_the_level_holds_for_all(level: str, shown: int) -> None:
    stream = io.StringIO()
    configure_logging("json", level, stream)
    log = structlog.get_logger("trimtab.test")
    log.debug("one")
    log.info("two")
    log.warning("three")
    assert len(lines(stream)) == shown
    logging.getLogger("kopf").info("kopf tells every event")
    assert len(lines(stream)) == shown


def test_people_get_readable_lines() -> None:
    stream = io.StringIO()
    configure_logging("console", stream=stream)
    with bound_contextvars(experiment="shop/web"):
        structlog.get_logger("trimtab.test").info("trial.phase", phase="Measuring")
    text = stream.getvalue()
    assert "trial.phase" in text
    assert "experiment=shop/web" in text
    assert "\x1b" not in text
