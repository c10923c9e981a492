"""Alerts and schedules in the whole loop: what starts when, and how soon a live canary is gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from benchmarks.operator.live import phase_of
from tests.simulation.world import NAME, SOBOL, made, told

from trimtab.api.times import parse_time
from trimtab.domain.kinds import EXPERIMENTS
from trimtab.simulate.clock import EPOCH
from trimtab.simulate.history import View, serving
from trimtab.simulate.invariants import check_history
from trimtab.simulate.world import World

SEARCH: dict[str, Any] = {"search": SOBOL, "stopping": {"maxTrials": 6, "maxDuration": "12h"}}
ALERTS = {"safety": {"checkInterval": "1s", "staleAfter": "10s", "pauseOnAlerts": ["CheckoutDown"]}}
QUARTER = 900.0
TICK = 1.0


def last(world: World) -> dict[str, Any]:
    return dict(world.trials(NAME)[-1])


def measuring(world: World, index: int) -> bool:
    return any(t["spec"]["index"] == index and phase_of(t) == "Measuring" for t in world.trials(NAME))


def status(world: World) -> dict[str, Any]:
    found = world.experiment(NAME)
    assert found is not None
    return dict(found.get("status") or {})


def condition(world: World, kind: str) -> dict[str, Any]:
    return next(c for c in status(world)["conditions"] if c["type"] == kind)


def canaries(world: World) -> list[str]:
    view = View()
    for change in world.history.changes:
        view.apply(change)
    return serving(view)


async def begun(**sections: Any) -> World:
    world = await made(**SEARCH | sections)
    world.start()
    return world


class TestAlerts:
    @pytest.mark.thorough
    def test_a_live_trial_is_gone_within_a_tick_and_none_starts_until_it_was_silent(self) -> None:
        async def story() -> tuple[float, dict[str, Any], float, list[dict[str, Any]], str]:
            world = await begun(**ALERTS)
            assert await world.until(lambda: measuring(world, 1), seconds=300)
            await world.run(2.0)
            fired = world.clock.now()
            firing = world.alerts.fire("CheckoutDown", "shop")
            assert await world.until(lambda: not canaries(world), seconds=60)
            gone = world.clock.now() - fired
            assert await world.until(lambda: phase_of(last(world)) == "Aborted", seconds=60)
            withdrawn = last(world)
            await world.run(120.0)
            paused = dict(condition(world, "Paused"), phase=status(world)["phase"])
            assert len(world.trials(NAME)) == 2
            world.alerts.resolve(firing)
            over = world.clock.now()
            assert await world.until(lambda: len(world.trials(NAME)) == 3, seconds=2000)
            started = world.clock.now() - over
            assert await world.until(world.ended(NAME), seconds=3000)
            await world.close()
            check_history(world.history.changes)
            return gone, withdrawn, started, [paused], status(world)["phase"]

        gone, withdrawn, started, (paused,), end = told(story())
        assert gone <= TICK + 5.0
        assert withdrawn["status"]["outcome"]["reason"] == "AlertFiring"
        assert withdrawn["status"]["spent"], "what the canary was asked and failed is counted"
        assert (paused["phase"], paused["status"], paused["reason"]) == ("Paused", "True", "AlertFiring")
        assert QUARTER - 16 <= started <= QUARTER + 16  # from when Prometheus last saw it, an evaluation ago at most
        assert end == "Completed"

    @pytest.mark.thorough
    def test_one_about_another_namespace_or_of_another_name_stops_nothing(self) -> None:
        async def story() -> tuple[str, set[str]]:
            world = await begun(**ALERTS)
            world.alerts.fire("CheckoutDown", "elsewhere")
            world.alerts.fire("SomethingElse", "shop")
            assert await world.until(world.ended(NAME), seconds=3000)
            await world.close()
            return status(world)["phase"], {phase_of(t) for t in world.trials(NAME)}

        assert told(story()) == ("Completed", {"Succeeded"})

    @pytest.mark.thorough
    def test_what_the_status_says_does_not_change_while_it_waits(self) -> None:
        """A message with a clock in it would cause the next look, and that one the next."""

        async def story() -> set[str]:
            world = await begun(**ALERTS)
            world.alerts.fire("CheckoutDown", "shop")
            assert await world.until(lambda: status(world).get("phase") == "Paused", seconds=300)
            await world.run(60.0)
            before = len(world.history.changes)
            await world.run(600.0)
            assert world.trials(NAME) == []
            await world.close()
            said = [c.object["status"] for c in world.history.changes[before:] if c.kind == "experiments"]
            return {repr((s["phase"], s["message"], s["conditions"])) for s in said}

        assert len(told(story())) == 1


def at(hour: int, minute: int = 0) -> float:
    """UTC, on the world's first day."""
    return EPOCH + 3600.0 * hour + 60.0 * minute


def windows(*pairs: tuple[str, str], **rest: Any) -> dict[str, Any]:
    return {"schedule": {"windows": [{"cron": cron, "duration": length} for cron, length in pairs], **rest}}


class TestSchedule:
    @pytest.mark.thorough
    def test_the_first_trial_starts_with_the_window_and_none_after_it(self) -> None:
        """The world begins on a Monday at midnight; a window of two minutes at 01:00 and one at 02:00, in Berlin."""

        async def story() -> tuple[list[float], str, str]:
            world = await begun(**windows(("0 2,3 * * *", "1m"), timeZone="Europe/Berlin"))
            assert await world.until(lambda: status(world).get("phase") == "Paused", seconds=300)
            message = status(world)["message"]
            assert await world.until(world.ended(NAME), seconds=4 * 86400.0)
            await world.close()
            check_history(world.history.changes)
            starts = [parse_time(t["metadata"]["creationTimestamp"]) for t in world.trials(NAME)]
            return starts, message, status(world)["phase"]

        starts, message, end = told(story())
        assert message == "outside its schedule until Mon 2026-03-02 02:00 Europe/Berlin"
        assert end == "Completed"
        assert starts[0] - at(1) <= 2.0
        inside = [datetime.fromtimestamp(s, UTC) for s in starts]
        assert {(s.hour, s.minute) for s in inside} <= {(1, 0), (2, 0)}
        assert len({s.hour for s in inside}) == 2, "one window was not enough for all trials"

    @pytest.mark.thorough
    def test_no_canary_is_begun_only_to_be_withdrawn(self) -> None:
        """Windows of two minutes each quarter of an hour, in which not all trials fit."""

        async def story(on_close: str) -> tuple[set[str], float, int]:
            sections = windows(("*/15 * * * *", "2m"), onClose=on_close)
            world = await begun(**sections, stopping={"maxTrials": 14, "maxDuration": "12h"})
            assert await world.until(world.ended(NAME), seconds=6 * 3600.0)
            await world.close()
            check_history(world.history.changes)
            trials = world.trials(NAME)
            after = [b % 900 - 120 for _, b in map(lived, trials)]
            opened = {parse_time(t["metadata"]["creationTimestamp"]) // 900 for t in trials}
            return {phase_of(t) for t in trials}, max(a for a in after), len(opened)

        phases, after, withdrawing = told(story("Withdraw"))
        assert phases == {"Succeeded"}
        assert after <= 0
        assert withdrawing >= 2
        phases, after, finishing = told(story("FinishTrial"))
        assert phases == {"Succeeded"}
        assert 0 < after < 60  # one was live at a close; its deadline bounds it
        assert finishing <= withdrawing

    @pytest.mark.thorough
    def test_a_close_withdraws_what_lasts_longer_than_usual(self) -> None:
        """A freeze that somebody declares while a trial is live: it goes within a tick, teaches nothing, and the search
        goes on afterwards."""

        async def story() -> tuple[float, dict[str, Any], float, str]:
            world = await begun(schedule={"onClose": "Withdraw"})
            assert await world.until(lambda: measuring(world, 1), seconds=300)
            now = world.clock.now()
            freeze = {"start": iso(now + 1), "end": iso(now + 1800), "reason": "release 7"}
            world.admin.edit(EXPERIMENTS, "shop", NAME, lambda e: e["spec"]["schedule"].update(freezes=[freeze]))
            begins = parse_time(freeze["start"])
            assert await world.until(lambda: not canaries(world), seconds=60)
            gone = world.clock.now() - begins
            assert await world.until(lambda: phase_of(last(world)) == "Aborted", seconds=60)
            aborted = last(world)
            assert await world.until(lambda: len(world.trials(NAME)) == 3, seconds=3600)
            resumed = world.clock.now() - parse_time(freeze["end"])
            assert await world.until(world.ended(NAME), seconds=3600)
            await world.close()
            check_history(world.history.changes)
            return gone, aborted, resumed, status(world)["phase"]

        gone, aborted, resumed, end = told(story())
        assert gone <= TICK + 5.0
        assert aborted["status"]["outcome"]["reason"] == "Frozen"
        assert "release 7" in aborted["status"]["outcome"]["message"]
        assert aborted["status"]["spent"]
        assert 0 <= resumed <= 2.0
        assert end == "Completed"

    @pytest.mark.thorough
    def test_where_trials_are_finished_none_is_live_in_a_freeze(self) -> None:
        """The deadline of 60 s bounds each: the last one before a freeze starts a minute earlier."""

        async def story() -> tuple[list[tuple[float, float]], float, float]:
            world = await made(**SEARCH)
            begins = world.clock.now() + 150
            freezes = [{"start": iso(begins), "end": iso(begins + 600)}]
            world.admin.edit(EXPERIMENTS, "shop", NAME, lambda e: e["spec"].update(schedule={"freezes": freezes}))
            world.start()
            assert await world.until(world.ended(NAME), seconds=3600)
            await world.close()
            return [lived(t) for t in world.trials(NAME)], parse_time(iso(begins)), parse_time(iso(begins + 600))

        lives, begins, ends = told(story())
        assert len([a for a, _ in lives if a < begins]) >= 2
        assert all(b <= begins or a >= ends for a, b in lives)
        assert all(a <= begins - 60 or a >= ends for a, _ in lives)


def lived(trial: dict[str, Any]) -> tuple[float, float]:
    times = trial["status"]["times"]
    return parse_time(times["deploying"]), parse_time(times["finished"])


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
