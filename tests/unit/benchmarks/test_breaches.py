"""The benchmark of promises about time: what is late, what could not be forced, and what its figures are made of."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.operator import burn, campaign, reaped, standby, ticks
from benchmarks.operator.breach import (
    API_LIMIT,
    BLIND,
    ERRORS,
    KINDS,
    LIMIT,
    OOM,
    Breach,
    NotForced,
    NotWithdrawn,
    gone_since,
    ready_until_withdrawn,
)
from benchmarks.operator.campaign import Job, Result, Verdict
from benchmarks.operator.replay import increase, unix_seconds

from trimtab.simulate.history import Change

INF = float("inf")


def breach(seconds: float = 3.0, api: float = 0.2) -> Breach:
    return Breach("oom", "OOMKilled", broken=99.0, known=100.0, scraped=None, decided=101.0, gone=100.0 + seconds,
                  api_seconds=api)  # fmt: skip


class TestBreach:
    @pytest.mark.parametrize(
        ("seconds", "api", "late"),
        [
            (LIMIT, 0.2, ""),
            (LIMIT + 0.01, 0.2, "after it could be known"),
            (3.0, API_LIMIT - 0.01, ""),
            (3.0, API_LIMIT, "after the decision"),
        ],
    )
    def test_both_parts_have_a_limit(self, seconds: float, api: float, late: str) -> None:
        found = breach(seconds, api).late
        assert late in found
        assert bool(found) is bool(late)

    def test_its_figures_count_from_what_can_be_known_and_from_the_fault(self) -> None:
        row = breach(3.0).row
        assert (row["secondsFromData"], row["secondsFromFault"], row["secondsFromFaultToRecord"]) == (3.0, 4.0, 2.0)
        assert row["secondsFromFaultToScrape"] is None


def change(at: float, type_: str, kind: str, obj: dict[str, Any]) -> Change:
    return Change(at, round(10 * at), type_, kind, obj)


def slice_of(*pods: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1"},
        "endpoints": [{"conditions": {"ready": True}, "targetRef": {"name": pod}} for pod in pods],
    }


def deployment(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"trimtab.dev/arm": "canary"}}}


def pod(name: str, ready: bool, **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name, **metadata}, "status": {"conditions": conditions}}


class TestGone:
    CANARY, CONTROL = "tt-12345678-0-c-abc-x", "tt-12345678-0-b-abc-x"
    SERVED = (
        change(1.0, "ADDED", "deployments", deployment("tt-12345678-0-c")),
        change(2.0, "ADDED", "endpointslices", slice_of("web-abc-x", CANARY, CONTROL)),
    )

    def test_a_canary_that_lost_its_endpoint_is_gone_once_nothing_makes_another(self) -> None:
        changes = [
            *self.SERVED,
            change(3.0, "MODIFIED", "endpointslices", slice_of("web-abc-x", self.CONTROL)),
            change(4.5, "DELETED", "deployments", deployment("tt-12345678-0-c")),
            change(5.0, "DELETED", "deployments", deployment("tt-12345678-0-b")),
        ]
        assert gone_since(changes) == 4.5

    def test_one_that_came_back_counts_from_when_it_left_for_good(self) -> None:
        changes = [
            *self.SERVED,
            change(3.0, "MODIFIED", "endpointslices", slice_of("web-abc-x")),
            change(4.0, "MODIFIED", "endpointslices", slice_of("web-abc-x", self.CANARY)),
            change(5.0, "DELETED", "deployments", deployment("tt-12345678-0-c")),
            change(6.0, "MODIFIED", "endpointslices", slice_of("web-abc-x")),
        ]
        assert gone_since(changes) == 6.0

    def test_one_that_serves_still_was_not_withdrawn(self) -> None:
        changes = [*self.SERVED, change(5.0, "DELETED", "deployments", deployment("tt-12345678-0-c"))]
        with pytest.raises(NotWithdrawn):
            gone_since(changes)

    def test_one_that_never_served_was_not_broken(self) -> None:
        with pytest.raises(NotForced):
            gone_since([change(2.0, "ADDED", "endpointslices", slice_of("web-abc-x"))])

    def test_readiness_lost_before_the_deletion_is_a_reason_by_itself(self) -> None:
        served = change(1.0, "ADDED", "pods", pod(self.CANARY, ready=True))
        lost = change(2.0, "MODIFIED", "pods", pod(self.CANARY, ready=False))
        leaving = change(2.0, "MODIFIED", "pods", pod(self.CANARY, ready=False, deletionTimestamp="now"))
        assert ready_until_withdrawn([served, leaving])
        assert not ready_until_withdrawn([served, lost, leaving])


class TestCampaign:
    def test_kinds_come_in_turn_and_each_breach_has_a_name(self) -> None:
        wanted = campaign.jobs(30)
        assert {kind.name: sum(j.kind is kind for j in wanted) for kind in KINDS} == {k.name: 6 for k in KINDS}
        assert len({j.name for j in wanted}) == 30

    def test_what_was_late_or_not_forced_is_told_and_not_kept(self) -> None:
        oom, errors, blind = Job(OOM, "oom-1"), Job(ERRORS, "error-burst-1"), Job(BLIND, "prometheus-stopped-1")
        kept = Result(oom, Verdict.KEPT, "", breach())
        late = Result(errors, Verdict.LATE, breach(9.0).late, breach(9.0))
        missing = Result(blind, Verdict.NOT_FORCED, "Prometheus never saw the canary")
        assert campaign.shown([kept]).kept
        assert not campaign.shown([kept, late]).kept
        assert not campaign.shown([kept, missing]).kept
        assert not campaign.shown([]).kept
        found = campaign.shown([kept, late, missing])
        assert "| oom | 1 of 1 | 3.00 | 3.00 |" in found.text
        assert "| prometheus-stopped | 0 of 1 | - |" in found.text
        assert "| all | 1 of 3 |" in found.text
        assert "error-burst-1: LATE: 9.00 s" in found.text
        assert "prometheus-stopped-1: NOT FORCED: Prometheus never saw the canary" in found.text
        assert found.document["prometheus-stopped-1"]["verdict"] == "NOT FORCED"
        assert "secondsFromData" not in found.document["prometheus-stopped-1"]


PAGE = """\
# TYPE trimtab_safety_tick_lateness_seconds histogram
trimtab_safety_tick_lateness_seconds_bucket{le="0.005"} %d
trimtab_safety_tick_lateness_seconds_bucket{le="1.0"} %d
trimtab_safety_tick_lateness_seconds_bucket{le="10.0"} %d
trimtab_safety_tick_lateness_seconds_bucket{le="+Inf"} %d
trimtab_safety_tick_lateness_seconds_count %d
trimtab_safety_tick_lateness_seconds_sum 1.5
"""


def page(*counts: int) -> ticks.Histogram:
    return ticks.histogram(PAGE % (*counts, counts[-1]), ticks.LATENESS)


class TestTicks:
    def test_bounds_are_of_what_came_since(self) -> None:
        found = page(300, 409, 410, 410).since(page(100, 110, 110, 110))
        assert found.total == 300
        assert [found.bound(share) for share in (0.5, 0.99, 1.0)] == [0.005, 1.0, 10.0]
        assert page(0, 0, 0, 3).bound(0.99) == INF
        assert ticks.histogram("", ticks.LATENESS).total == 0

    def test_fits_at_once_are_the_time_that_they_ran_in(self) -> None:
        lines = [
            {"event": ticks.DONE, "begun": 8.0, "ended": 12.0, "lost": ""},
            {"event": ticks.DONE, "begun": 12.0, "ended": 22.0, "lost": ""},
            {"event": ticks.DONE, "begun": 10.0, "ended": 20.0, "lost": ""},
            {"event": ticks.DONE, "begun": 10.0, "ended": 20.0, "lost": "no answer"},
            {"event": "else"},
        ]
        assert ticks.at_once(lines, 10.0, 20.0) == (2.0, 2)
        assert ticks.at_once(lines, 10.0, 10.0) == (0.0, 0)

    @pytest.mark.parametrize(
        ("counts", "fits", "over", "kept"),
        [
            ((280, 297, 300, 300), 3.9, [], True),
            ((280, 296, 300, 300), 3.9, [], False),  # four of 300 were later than a second
            ((280, 297, 300, 300), 2.0, [], False),
            ((280, 297, 300, 300), 3.9, ["place Succeeded"], False),
            ((100, 200, 200, 200), 3.9, [], False),
        ],
    )
    def test_kept_only_with_the_fits_and_the_trials_all_the_while(
        self, counts: tuple[int, ...], fits: float, over: list[str], kept: bool
    ) -> None:
        assert ticks.shown(page(*counts), fits, 1000, 3, 300, over).kept is kept


def test_a_death_that_nobody_saw_the_end_of_is_not_kept() -> None:
    good, late = standby.Takeover("killed-1", 14.0, 20.0), standby.Takeover("killed-2", 50.0, 61.0)
    lost = standby.Takeover("killed-3", why="NotForced: the leader had decided before it died")
    assert standby.shown([good]).kept
    assert not standby.shown([good, late]).kept
    assert not standby.shown([good, lost]).kept
    assert "NOT FORCED, or not withdrawn: killed-3" in standby.shown([good, lost]).text


@pytest.mark.parametrize(("seconds", "kept"), [(180.0, True), (180.1, False), (None, False)])
def test_a_canary_that_reap_took_late_or_not_at_all_is_not_kept(seconds: float | None, kept: bool) -> None:
    assert reaped.shown(seconds, "" if seconds else "timed out").kept is kept


def test_a_budget_that_was_paused_late_or_resumed_early_is_not_kept() -> None:
    good, late = burn.Burn("a", 2.0, 1000.0), burn.Burn("b", 7.0, 1000.0)
    early = burn.Burn("c", 2.0, 100.0, "resumed 100 s after the errors")
    assert burn.shown([good]).kept
    assert not any(burn.shown([good, other]).kept for other in (late, early, burn.Burn("d", why="no trial")))


def test_half_of_the_budget_is_gone_with_the_first_scrape_that_shows_more() -> None:
    past = [(-60.0, 5000.0), (95.0, 5000.0)]  # of pods that were there before, and counted more than the limit
    pods = [[(100.0 + t, 40.0 * t) for t in range(12)], [(100.0 + t, 10.0 * t) for t in range(12)]]
    assert burn.half_gone([past, *pods], 100.0, 400.0) == 109.0
    assert burn.half_gone([past, *pods], 100.0, 600.0) is None


def test_an_increase_begins_from_nothing_and_ends_at_its_edge() -> None:
    points = [(10.0, 5.0), (11.0, 7.0), (12.0, 12.0)]
    assert increase(points, (8.0, 11.0)) == 7.0
    assert increase(points, (10.0, 11.9)) == 2.0
    assert unix_seconds("1970-01-01T00:00:01.500Z") == 1.5
