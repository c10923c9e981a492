"""Kubernetes Events: what they hold, series, limits, and that failing to post hurts nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog
from tests.unit.control.builders import experiment, spec
from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import ApiError, Forbidden, Unavailable
from trimtab.domain.kube import Manifest
from trimtab.domain.names import ANNOTATION_OWNER
from trimtab.runtime.events import BURST, QUEUE_LENGTH, RESERVE, EventRecorder, EventType, Subject
from trimtab.simulate.cluster import Effect, InMemoryCluster

pytestmark = pytest.mark.looptime

WEB = Subject(kinds.EXPERIMENTS, "default", "web", "u1", "7")


class Bench:
    """A recorder over a cluster in memory."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.cluster = InMemoryCluster(self.clock)
        self.dropped: list[str] = []
        self.recorder = EventRecorder(self.cluster, self.clock, instance="pod-1", on_dropped=self.dropped.append)

    async def flush(self) -> None:
        await self.recorder.flush()

    async def events(self) -> tuple[Manifest, ...]:
        return await self.cluster.list(kinds.EVENTS, "default")

    def warn(self, note: str, subject: Subject = WEB) -> None:
        self.recorder.record(subject, EventType.WARNING, "Withdrawn", note)


async def test_an_event_holds_what_the_api_asks_for() -> None:
    bench = Bench()
    related = Subject(kinds.TRIALS, "default", "web-1", "t1")
    note = "p95 612 ms against 300 ms in 3 of 4 windows"
    bench.recorder.record(WEB, EventType.WARNING, "Withdrawn", note, action="Withdraw", related=related)
    await bench.flush()
    (event,) = await bench.events()
    metadata: dict[str, Any] = dict(event["metadata"])
    assert metadata["name"].startswith("web.")
    assert {key: value for key, value in event.items() if key != "metadata"} == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "eventTime": "2023-11-14T22:13:20.000000Z",
        "reportingController": "trimtab.dev/operator",
        "reportingInstance": "pod-1",
        "action": "Withdraw",
        "reason": "Withdrawn",
        "type": "Warning",
        "note": note,
        "regarding": {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "Experiment",
            "namespace": "default",
            "name": "web",
            "uid": "u1",
            "resourceVersion": "7",
        },
        "related": {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "Trial",
            "namespace": "default",
            "name": "web-1",
            "uid": "t1",
        },
    }


async def test_the_same_again_is_one_event_with_a_count() -> None:
    bench = Bench()
    for _ in range(3):
        bench.warn("same")
        await bench.flush()
        await passes(20)
    bench.warn("another")
    await bench.flush()
    events = {event["note"]: event for event in await bench.events()}
    assert set(events) == {"same", "another"}
    assert events["same"]["series"] == {"count": 2, "lastObservedTime": "2023-11-14T22:13:40.000000Z"}
    assert "series" not in events["another"]
    await passes(20)
    bench.warn("same")
    await bench.flush()
    events = {event["note"]: event for event in await bench.events()}
    assert events["same"]["series"] == {"count": 4, "lastObservedTime": "2023-11-14T22:14:40.000000Z"}


async def test_after_ten_minutes_it_is_another_event() -> None:
    bench = Bench()
    for _ in range(2):
        bench.warn("same")
        await bench.flush()
        await passes(601)
    assert len(await bench.events()) == 2


async def test_an_event_that_expired_is_made_again() -> None:
    bench = Bench()
    bench.warn("same")
    await bench.flush()
    (event,) = await bench.events()
    await bench.cluster.delete(kinds.EVENTS, "default", event["metadata"]["name"])
    await passes(1)
    bench.warn("same")
    await bench.flush()
    assert len(await bench.events()) == 1
    assert bench.dropped == []


async def test_one_object_cannot_flood_but_others_are_heard() -> None:
    bench = Bench()
    for number in range(200):
        bench.warn(f"note {number}")
    bench.warn("hello", Subject(kinds.EXPERIMENTS, "default", "other", "u2"))
    await bench.flush()
    notes = [event["note"] for event in await bench.events()]
    assert len(notes) == BURST + 1
    assert "hello" in notes
    assert bench.dropped == ["TooMany"] * int(200 - BURST)
    await passes(2)
    bench.warn("later")
    await bench.flush()
    assert len(await bench.events()) == BURST + 2


async def test_what_went_as_planned_never_takes_the_place_of_a_warning() -> None:
    bench = Bench()
    for number in range(200):
        bench.recorder.record(WEB, EventType.NORMAL, "TrialCreated", f"trial {number}")
    for number in range(200):
        bench.warn(f"note {number}")
    await bench.flush()
    kinds_seen = [event["type"] for event in await bench.events()]
    assert (kinds_seen.count("Normal"), kinds_seen.count("Warning")) == (BURST - RESERVE, RESERVE)


@pytest.mark.parametrize("error", [Forbidden(403, "no"), Unavailable(0, "down")])
async def test_a_refused_event_is_told_and_forgotten(error: ApiError) -> None:
    bench = Bench()

    async def fail(_: Effect) -> None:
        raise error

    bench.cluster.before_effect = fail
    bench.warn("lost")
    await bench.flush()
    assert bench.dropped == [type(error).__name__]
    bench.cluster.before_effect = None
    bench.warn("kept")
    await bench.flush()
    assert [event["note"] for event in await bench.events()] == ["kept"]


async def test_a_first_post_that_failed_is_made_up_for_by_the_next() -> None:
    bench = Bench()
    bench.cluster.before_effect = _once(Unavailable(0, "no answer within 10 s"))
    for _ in range(3):
        bench.warn("status unreadable")
        await bench.flush()
        await passes(31)
    (event,) = await bench.events()
    assert event["series"]["count"] == 3
    assert bench.dropped == ["Unavailable"]


async def test_a_first_post_whose_answer_was_lost_is_found_again() -> None:
    bench = Bench()
    bench.cluster.after_effect = _once(Unavailable(0, "time-out after it was carried out"))
    for _ in range(2):
        bench.warn("same")
        await bench.flush()
        await passes(31)
    assert len(await bench.events()) == 1
    bench.warn("same")
    await bench.flush()
    (event,) = await bench.events()
    assert event["series"]["count"] == 3


async def test_a_count_whose_answer_was_lost_does_not_end_the_counting() -> None:
    bench = Bench()
    bench.warn("same")
    await bench.flush()
    bench.cluster.after_effect = _once(Unavailable(0, "time-out after it was carried out"))
    for _ in range(10):
        await passes(31)
        bench.warn("same")
        await bench.flush()
    (event,) = await bench.events()
    assert event["series"]["count"] == 11
    assert bench.dropped == ["Unavailable"]


def _once(error: ApiError) -> Callable[[Effect], Awaitable[None]]:
    """A fault of the next effect alone."""
    left = [error]

    async def fail(_: Effect) -> None:
        if left:
            raise left.pop()

    return fail


async def test_what_is_lost_stays_in_the_log() -> None:
    bench = Bench()
    bench.cluster.before_effect = _once(Forbidden(403, "no right to create events"))
    bench.warn("p95 612 ms against 300 ms")
    with structlog.testing.capture_logs() as lines:
        await bench.flush()
    (line,) = lines
    assert (line["event"], line["why"], line["about"]) == ("event.dropped", "Forbidden", "default/web")
    assert (line["reason"], line["note"]) == ("Withdrawn", "p95 612 ms against 300 ms")
    assert "no right to create events" in line["error"]


async def test_of_a_full_queue_the_oldest_goes() -> None:
    bench = Bench()
    for number in range(QUEUE_LENGTH + 3):
        bench.warn(f"note {number}", replace(WEB, uid=f"u{number}"))
    assert bench.dropped == ["QueueFull"] * 3
    assert bench.recorder.waiting == QUEUE_LENGTH


async def test_long_notes_are_cut_at_a_character() -> None:
    bench = Bench()
    bench.warn("é" * 600)
    await bench.flush()
    (event,) = await bench.events()
    assert len(event["note"].encode()) <= 1024
    assert event["note"].endswith("é…")


async def test_it_posts_by_itself_while_it_runs() -> None:
    bench = Bench()
    task = asyncio.create_task(bench.recorder.run())
    bench.warn("one")
    await passes(1)
    bench.warn("two")
    await passes(1)
    assert [event["note"] for event in await bench.events()].count("two") == 1
    assert len(await bench.events()) == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_event_carries_the_owner_also_when_the_spec_cannot_be_read_any_more() -> None:
    bench = Bench()
    mine = experiment(spec=spec(owner="team-checkout"), namespace="default")
    await bench.recorder.emit(mine, "Normal", "TrialCreated", "trial 0")
    await bench.recorder.emit(replace(mine, spec=None), "Warning", "InvalidSpec", "spec.slis: is required; add it")
    await bench.recorder.emit(replace(mine, uid="other", spec=spec(owner="")), "Normal", "TrialCreated", "trial 1")
    await bench.flush()
    found = {e["note"]: e["metadata"].get("annotations") for e in await bench.events()}
    assert found == {
        "trial 0": {ANNOTATION_OWNER: "team-checkout"},
        "spec.slis: is required; add it": {ANNOTATION_OWNER: "team-checkout"},
        "trial 1": None,
    }


async def test_a_repeated_event_keeps_its_owner() -> None:
    bench = Bench()
    mine = experiment(spec=spec(owner="team-checkout"), namespace="default")
    for _ in range(2):
        await bench.recorder.emit(mine, "Warning", "Withdrawn", "again")
        await bench.flush()
    (event,) = await bench.events()
    assert event["series"]["count"] == 2
    assert event["metadata"]["annotations"] == {ANNOTATION_OWNER: "team-checkout"}
