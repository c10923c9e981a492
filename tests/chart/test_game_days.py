"""Game days in virtual time: a whole operator on a simulated cluster is scraped every 30 s, and promtool plays what it
told against the rules that the chart installs. So an alert is seen to fire on what an operator does tell when a thing
happens, and not only on series that somebody wrote down for it; and a day in peace is seen to be silent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from benchmarks.operator.live import experiment, phase_of
from prometheus_client.parser import text_string_to_metric_families
from tests.chart.test_alerts import PROCESS, STEP, played
from tests.simulation.world import NAME, NAMESPACE, SOBOL, manifests, told, workload

from monitoring import ALERTS, RECORDED, metrics_of
from trimtab.adapters.series_store import QueryFailed
from trimtab.domain.kinds import EXPERIMENTS
from trimtab.simulate.life import Life
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload.faults import Fault, FaultKind

ASKED = {m for query in (*(a.query for a in ALERTS), *(q for _, q in RECORDED.values())) for m in metrics_of(query)}
TRIAL = {"warmUp": "1m", "duration": "5m", "deadline": "45m"}
SLOW = Fault(name="slow-dependency", kind=FaultKind.SLOW_DEPENDENCY, selector={"trimtab.dev/arm": "canary"}, factor=6.0)
REMOVALS = frozenset(("delete", plural) for plural in ("deployments", "replicasets", "pods"))

Told = dict[str, dict[int, float]]
"""Series with its labels -> sample number -> value."""


class Scraper:
    """Takes down what every operator tells, a pod each; a dead one tells nothing."""

    def __init__(self, world: World, *lives: Life) -> None:
        self.world, self.lives, self.count = world, lives, 0
        self.told: Told = defaultdict(dict)

    async def scrape(self, minutes: float) -> None:
        """So long, once every step."""
        for _ in range(round(minutes * 60 / STEP)):
            await self.world.run(STEP)
            for number, life in enumerate(self.lives):
                if not life.killed:
                    self._take(f"trimtab-{number}", life)
            self.count += 1

    async def until(self, holds: Callable[[], bool], minutes: float) -> None:
        """Scrape until it holds, at most so long."""
        for _ in range(round(minutes * 60 / STEP)):
            if holds():
                return
            await self.scrape(STEP / 60)
        raise AssertionError(f"not within {minutes} minutes")

    def _take(self, pod: str, life: Life) -> None:
        for family in text_string_to_metric_families(life.parts.metrics.render().decode()):
            for sample in family.samples:
                if sample.name in ASKED:
                    labels = {**PROCESS, "pod": pod, **sample.labels}
                    inner = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
                    self.told[f"{sample.name}{{{inner}}}"][self.count] = sample.value

    def series(self) -> list[dict[str, str]]:
        """As promtool wants it; a series that ends is marked stale, as Prometheus does it."""
        return [{"series": name, "values": " ".join(self._values(found))} for name, found in self.told.items()]

    def _values(self, found: dict[int, float]) -> list[str]:
        values = []
        for number in range(self.count):
            if number in found:
                values.append(repr(found[number]))
            else:
                values.append("stale" if number - 1 in found else "_")
        return values


def fired(scraper: Scraper, folder: Path, names: set[str]) -> str:
    """What promtool has against these alerts, and no others, having fired; "" when that is so."""
    end = f"{scraper.count * STEP}s"
    query = f'group by (alertname) (count_over_time(ALERTS{{alertstate="firing"}}[{end}]))'
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)]
    test = {"expr": query, "eval_time": end, "exp_samples": samples}
    return played(folder, {"input_series": scraper.series(), "promql_expr_test": [test]})


async def begun(**sections: object) -> Scraper:
    """A world with a new Experiment and one operator."""
    world = await World.build(Setting(workload(), manifests(), NAMESPACE), Options(scraping=Scraping(interval=15.0)))
    asked = {"search": SOBOL, "trial": TRIAL, "stopping": {"maxTrials": 8, "maxDuration": "48h"}, **sections}
    document = experiment(NAME, NAMESPACE, **asked)
    document["spec"]["safety"] |= {"checkInterval": "10s", "staleAfter": "60s"}
    world.admin.apply(document, NAMESPACE)
    return Scraper(world, world.start())


def measuring(scraper: Scraper) -> bool:
    return any(phase_of(t) == "Measuring" for t in scraper.world.trials(NAME))


def ended(scraper: Scraper, phase: str) -> int:
    return sum(phase_of(t) == phase for t in scraper.world.trials(NAME))


async def peace(scraper: Scraper) -> None:
    """A whole Experiment."""
    await scraper.until(scraper.world.ended(NAME), minutes=240)
    await scraper.scrape(minutes=10)


async def cliff(scraper: Scraper) -> None:
    """Every canary has a slow dependency that its control does not have."""
    scraper.world.traffic.faults.set(SLOW, scraper.world.clock.now())
    await scraper.until(lambda: ended(scraper, "Infeasible") >= 3, minutes=60)
    await scraper.scrape(minutes=2)


async def no_right(scraper: Scraper) -> None:
    """Somebody took the right to delete, and the on-call wants the canary gone."""
    await scraper.until(lambda: measuring(scraper), minutes=20)
    for client in scraper.lives[0].clients:
        client.missing = REMOVALS
    scraper.world.admin.annotate(EXPERIMENTS, NAMESPACE, NAME, trimtab_rollback="anna: slow")
    await scraper.scrape(minutes=5)


async def death(scraper: Scraper) -> None:
    """The only operator dies with a canary in the traffic."""
    await scraper.until(lambda: measuring(scraper), minutes=20)
    scraper.lives[0].kill()
    await scraper.scrape(minutes=10)


async def failover(scraper: Scraper) -> None:
    """The leader dies with a canary in the traffic, and a standby takes over: nobody has to know."""
    scraper.lives = (*scraper.lives, scraper.world.start())
    await scraper.until(lambda: measuring(scraper), minutes=20)
    scraper.lives[0].kill()
    await scraper.scrape(minutes=3)
    assert scraper.lives[1].parts.elector.leading
    await scraper.until(scraper.world.ended(NAME), minutes=240)


async def blind(scraper: Scraper) -> None:
    """Prometheus, as the operator sees it, is away for half an hour: canaries are withdrawn, so nobody is paged."""
    await scraper.until(lambda: measuring(scraper), minutes=20)

    async def away(_: str) -> None:
        raise QueryFailed("connection refused")

    scraper.world.prometheus.before = away
    await scraper.scrape(minutes=30)


DAYS: dict[str, tuple[Callable[[Scraper], Awaitable[None]], set[str]]] = {
    "peace": (peace, set()),
    "cliff": (cliff, {"TrimtabCanaryBreachesSlo"}),
    "no right to delete": (no_right, {"TrimtabRollbackStuck"}),
    "death of the operator": (death, {"TrimtabTrialUnwatched", "TrimtabNoLeader"}),
    "failover": (failover, set()),
    "blind": (blind, {"TrimtabTelemetryUnhealthy"}),
}


@pytest.mark.parametrize("day", DAYS)
def test_a_game_day_fires_its_alerts_and_no_others(day: str, tmp_path: Path) -> None:
    play, names = DAYS[day]

    async def story() -> Scraper:
        scraper = await begun()
        await play(scraper)
        await scraper.world.close()
        return scraper

    scraper = told(story())
    assert len(scraper.told) > 20
    assert fired(scraper, tmp_path, names) == ""
