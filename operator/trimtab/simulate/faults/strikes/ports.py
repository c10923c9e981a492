"""Faults on the ways to the API server, to the metrics store and to the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trimtab.simulate.cluster import WatchEvent
from trimtab.simulate.faults.acting import Acting
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.stage import Heal, Stage
from trimtab.simulate.watch import Deliver

K = FaultKind


def _acts(stage: Stage, fault: Fault) -> Heal:
    """The ports ask which faults act; `who: leader` concerns the process that leads now."""
    leader = stage.fleet.leader if fault.parameters.get("who") == "leader" else None
    acting = Acting(fault, stage.now(), leader.options.identity if leader is not None else "")
    stage.acting.add(acting)
    return lambda: stage.acting.remove(acting)


def _acts_for_ever(stage: Stage, fault: Fault) -> None:
    """A counter that started anew does not go back."""
    _acts(stage, fault)


def _closed(stage: Stage, fault: Fault) -> None:
    del fault
    for life in stage.fleet.running:
        life.watch.close()


def _delivered(stage: Stage, fault: Fault) -> Heal:
    deliver = _deliver(stage, fault)
    stage.fleet.deliver = deliver
    stage.fleet.each_watch()

    def heal() -> None:
        if stage.fleet.deliver is deliver:
            stage.fleet.deliver = None
            stage.fleet.each_watch()

    return heal


def _deliver(stage: Stage, fault: Fault) -> Deliver:
    def silent(_: WatchEvent) -> Iterable[tuple[float, WatchEvent]]:
        return ()

    def stale(event: WatchEvent) -> Iterable[tuple[float, WatchEvent]]:
        return ((fault.number("lag"), event),)

    def twice(event: WatchEvent) -> Iterable[tuple[float, WatchEvent]]:
        return ((stage.rng.uniform(0.0, 3.0), event), (stage.rng.uniform(0.0, 3.0), event))

    return {K.WATCH_SILENT: silent, K.WATCH_STALE: stale, K.WATCH_DUPLICATED: twice}[fault.kind]


def _silenced(stage: Stage, fault: Fault) -> Heal:
    del fault
    share = stage.world.traffic.shares[stage.namespace, stage.world.settings[0].workload.target.service]

    def silence(silent: bool) -> None:
        stage.world.traffic.catch_up()
        share.silence(silent, stage.now())

    silence(True)
    return lambda: silence(False)


def _alerting(stage: Stage, fault: Fault) -> Heal:
    """One of those that the Experiment names; one of no interest where it names none."""
    del fault
    found = stage.world.experiment(stage.experiment)
    named = ((found["spec"].get("safety") or {}).get("pauseOnAlerts") if found is not None else None) or ["Unnamed"]
    firing = stage.world.alerts.fire(stage.rng.choice(sorted(named)), stage.namespace)
    return lambda: stage.world.alerts.resolve(firing)


_ACTING = (
    K.API_CONFLICT, K.API_THROTTLED, K.API_ERROR, K.API_ANSWER_LOST, K.API_FORBIDDEN, K.API_SLOW, K.API_UNREACHABLE,
    K.PROMETHEUS_DOWN, K.PROMETHEUS_SLOW, K.PROMETHEUS_ERROR, K.PROMETHEUS_MALFORMED, K.PROMETHEUS_WARNS,
    K.PROMETHEUS_CLOCK_OFFSET, K.SAMPLES_NAN, K.SAMPLES_MISSING, K.SAMPLES_STALE, K.SERIES_DUPLICATED,
    K.POD_NOT_SCRAPED, K.PROMETHEUS_EMPTIED, K.LONG_WINDOWS_FAIL, K.ROUTE_RIGHTS_LOST, K.FIT_FAILS, K.FIT_TOO_LONG,
)  # fmt: skip

PORTS: dict[FaultKind, Callable[[Stage, Fault], Heal | None]] = {
    **dict.fromkeys(_ACTING, _acts),
    K.COUNTER_RESET: _acts_for_ever,
    K.WATCH_CLOSED: _closed,
    K.WATCH_GONE: _closed,
    K.WATCH_SILENT: _delivered,
    K.WATCH_STALE: _delivered,
    K.WATCH_DUPLICATED: _delivered,
    K.TRAFFIC_STOPPED: _silenced,
    K.ALERT_FIRES: _alerting,
}
