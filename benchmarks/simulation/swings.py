"""A service that is not the same all the time: a threefold swing of the load, a release, flash crowds, and all of them.

`python -m benchmarks.simulation.swings [--seeds 5] [--scenario NAME] [--trials N] [--json FILE]`, with
PYTHONPATH=operator:hack:. The Experiment of examples/web-service is simulated whole, by the operator's own code. Its
day is pressed into an hour, to have many: twenty minutes of night, ten in which the load rises to three times of it,
twenty of day, ten in which it falls; the same hours each day, so that the days before tell them. Ten pods and trials of
80 s make a run cheap. The seed says in which minute of the hour it begins.

A trial that is truly unsafe at the load of its own time has one of these causes, the first that fits:

- crowd: at the load of its time without the crowd it would have been safe.
- night: it would have been safe at the highest load at which it had been tried before, or where it is new any trial of
  the same version.
- model: neither; it was believed to be safe and was not.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import structlog
import yaml

from stack.paths import EXAMPLES
from trimtab.api import convert
from trimtab.api.times import format_time
from trimtab.domain.space import Assignment
from trimtab.domain.trial import Purpose, Trial, TrialPhase
from trimtab.optimize.steps import nearest, reach
from trimtab.simulate.results import Absent, Number, TrialResult
from trimtab.simulate.run import Ran, run
from trimtab.simulate.scenario import START, Scenario, scenario
from trimtab.workload import OfferedLoad
from trimtab.workload.load import DAY_S

SERVICE: Final = EXAMPLES / "web-service"
DATE: Final = "2026-03-02"
PODS, NIGHT, SWING = 10, 4000, 3  # requests per second at night, and how many times as many by day
HOURS: Final = range(8, 15)
DAY: Final = {"factor": SWING, "ramp": "10m", "duration": "20m"}
RELEASE: Final = {"image": "web:2", "cpuFactor": 1.3, "memoryFactor": 1.2}
RELEASED_S: Final = 1830.0  # from the beginning
CROWDS: Final = {1100.0: 3, 2400.0: 2}  # seconds from the beginning: times the load
CROWD: Final = {"date": DATE, "ramp": "30s", "duration": "6m"}
SCENARIOS: Final = {"swing": (), "release": ("releases",), "crowd": ("crowds",), "all": ("releases", "crowds")}
SHORT: Final = {
    "trial": {"warmUp": "10s", "duration": "80s", "deadline": "10m"},
    "verification": {"duration": "2m", "replicates": 2},
}
PHASE_S: Final = 720.0
TRIALS, DAYS, HOUR, SCRAPE = 30, 1.0, 3600.0, 10.0
PAST_DAYS, PAST_STEP = 9.0, 30.0  # dense enough to say what the load was in the seconds of a trial
MEAN_STEP: Final = 10.0


@dataclass(frozen=True)
class Unsafe:
    """A trial that was truly unsafe at the load of its time."""

    index: int
    cause: str
    load: float
    expected: float | None
    assignment: str
    seconds: float
    gross: bool


@dataclass(frozen=True)
class InCrowd:
    """A trial whose canary served when a crowd came: `seconds` from the crowd's full size until it was off traffic.
    `hurt`: at that load the model without noise says that it breaks a bound."""

    index: int
    outcome: str
    hurt: bool
    seconds: float
    extra_bad: float


@dataclass(frozen=True)
class Row:
    """What one simulation came to. Costs in percent of the baseline's."""

    scenario: str
    seed: int
    trials: int
    days: float
    unsafe: tuple[Unsafe, ...]
    crowds: tuple[InCrowd, ...]
    stale_steps: tuple[int, ...]
    """Trials that went further than what their own version of the service had shown."""
    unsafe_seconds: float
    bad_requests: float
    extra_bad_requests: float
    budget_spent: float | None
    recommendation: str
    message: str
    feasible: bool | None
    own_version: bool
    """Every trial that verified the recommendation ran on the version that the target had at the end."""
    saving: float | None
    optimum_saving: float | None
    promises_broken: int
    cpu_seconds: float


def made(name: str, seed: int, trials: int = TRIALS) -> Scenario:
    """The simulation of one scenario and seed."""
    experiment: dict[str, Any] = yaml.safe_load((SERVICE / "experiment.yaml").read_text())
    experiment["spec"] |= SHORT
    experiment["spec"]["safety"] |= {"checkInterval": "10s", "staleAfter": "30s"}
    experiment["spec"]["stopping"] = {"maxTrials": trials, "maxDuration": "24h", "patience": trials}
    workload: dict[str, Any] = yaml.safe_load((SERVICE / "workload.yaml").read_text())
    crowds = [{"atHour": hour + 20 / 60, **DAY} for hour in HOURS]
    begin = START + seed * PHASE_S % HOUR
    if "crowds" in SCENARIOS[name]:
        crowds += [{**CROWD, "atHour": (begin + at) % DAY_S / HOUR, "factor": n} for at, n in CROWDS.items()]
    workload["target"]["replicas"] = PODS
    experiment["spec"]["canary"]["maxSharePercent"] = "20"
    workload["load"] |= {"requestsPerSecond": NIGHT, "dailySwingPercent": 0, "flashCrowds": crowds}
    if "releases" in SCENARIOS[name]:
        workload["releases"] = [{**RELEASE, "at": format_time(begin + RELEASED_S)}]
    found = scenario(experiment, (), yaml.safe_dump(workload), seed=seed, days=DAYS, start=begin, scrape=SCRAPE)
    return replace(found, past_days=PAST_DAYS, past_step=PAST_STEP)


def row(name: str, ran: Ran, cpu_seconds: float) -> Row:
    """What is to be said of one."""
    result, summary = ran.result, ran.result.summary
    trials = records(ran)
    chosen = summary.recommendation
    final = _final_template(ran)
    return Row(
        scenario=name,
        seed=ran.scenario.seed,
        trials=summary.trials,
        days=summary.virtual_seconds / 86400,
        unsafe=tuple(unsafe_trials(ran, trials)),
        crowds=tuple(in_crowds(ran, trials)),
        stale_steps=tuple(stale_steps(ran.scenario, trials)),
        unsafe_seconds=summary.unsafe_seconds_exposed,
        bad_requests=summary.bad_requests,
        extra_bad_requests=summary.extra_bad_requests,
        budget_spent=_known(summary.budget_spent_percent),
        recommendation="" if isinstance(chosen, Absent) else " ".join(f"{v.name}={v.value}" for v in chosen.assignment),
        message=summary.message,
        feasible=summary.truly_feasible if isinstance(summary.truly_feasible, bool) else None,
        own_version=isinstance(chosen, Absent) or chosen.keep_baseline or _verified_here(ran, trials, final),
        saving=_known(summary.saving_percent),
        optimum_saving=_known(summary.optimum_saving_percent),
        promises_broken=len(result.promises.broken),
        cpu_seconds=cpu_seconds,
    )


def records(ran: Ran) -> tuple[Trial, ...]:
    """The Trials as they were stored, by index."""
    space = ran.scenario.spec.space
    return tuple(convert.trial_record(each, space) for each in ran.trials)


def unsafe_trials(ran: Ran, trials: Sequence[Trial]) -> Iterable[Unsafe]:
    """Those that broke a bound at the load of their own time, each with its cause."""
    made, seen = ran.scenario, dict[tuple[str, Assignment | None], float]()
    for trial, result in zip(trials, ran.result.trials, strict=True):
        version, load = trial.environment.template_hash, _known(result.load_seen)
        if load is None:
            continue
        if result.truly_unsafe is True:
            cause = _cause(made, trial, load, seen.get((version, trial.assignment), seen.get((version, None))))
            yield Unsafe(
                trial.index, cause, load, trial.suggestion.expected_load, _words(result), result.seconds_exposed,
                result.gross is True,
            )  # fmt: skip
        for key in ((version, None), (version, trial.assignment)):
            seen[key] = max(load, seen.get(key, 0.0))


def _cause(made: Scenario, trial: Trial, load: float, before: float | None) -> str:
    truth = made.versions.of(trial)
    calm = load / _crowd_factor(made, trial)
    if calm < load and truth.judge(trial.assignment, calm).feasible:
        return "crowd"
    if before is not None and before < load and truth.judge(trial.assignment, before).feasible:
        return "night"
    return "model"


def _crowd_factor(made: Scenario, trial: Trial) -> float:
    """Load with crowds / load without, over the time in which the canary served."""
    begun, ended = _served(trial)
    if begun is None or ended is None or ended <= begun:
        return 1.0
    times = np.arange(begun, ended, MEAN_STEP)
    daily = tuple(c for c in made.workload.load.flash_crowds if c.date is None)
    calm = OfferedLoad(made.workload.load.model_copy(update={"flash_crowds": daily}), made.workload.seed)
    return float(made.offered.series(times).mean() / calm.series(times).mean())


def _served(trial: Trial) -> tuple[float | None, float | None]:
    ended = trial.times.draining
    return trial.times.warming_up, None if ended is None else ended + (trial.withdraw_seconds or 0.0)


def in_crowds(ran: Ran, trials: Sequence[Trial]) -> Iterable[InCrowd]:
    """Trials that a crowd of one day met."""
    made = ran.scenario
    for crowd in made.workload.load.flash_crowds:
        if crowd.date is None:
            continue
        midnight = datetime(crowd.date.year, crowd.date.month, crowd.date.day, tzinfo=UTC).timestamp()
        full = midnight + crowd.at_hour * HOUR + crowd.ramp
        for trial, result in zip(trials, ran.result.trials, strict=True):
            begun, ended = _served(trial)
            if begun is None or ended is None or not begun <= full < ended:
                continue
            pods = trial.environment.target_replicas + 2 * made.spec.canary.replicas
            verdict = made.versions.of(trial).judge(trial.assignment, made.offered.at(full) / pods)
            words = f"{trial.phase} {result.reason}"
            yield InCrowd(trial.index, words, not verdict.feasible, ended - full, result.extra_bad_requests)


def stale_steps(made: Scenario, trials: Sequence[Trial]) -> Iterable[int]:
    """Search trials beyond the step limits of everything that a complete trial of the same version had had before."""
    shown: dict[str, list[Assignment]] = {}
    baseline = made.truth.baseline
    for trial in trials:
        known = shown.setdefault(trial.environment.template_hash, [baseline])
        if trial.purpose is not Purpose.VERIFICATION and not any(_near(made, trial.assignment, x) for x in known):
            yield trial.index
        if trial.phase is TrialPhase.SUCCEEDED:
            known.append(trial.assignment)


def _near(made: Scenario, assignment: Assignment, shown: Assignment) -> bool:
    for parameter in made.spec.space.parameters:
        low, high = reach(parameter, shown[parameter.name], made.truth.baseline[parameter.name])
        if not low <= nearest(parameter, assignment[parameter.name]) <= high:
            return False
    return True


def _final_template(ran: Ran) -> str:
    """That of the last Trial: each change of the target is followed by trials, or the Experiment had ended before."""
    return str(ran.trials[-1]["spec"]["environment"]["templateHash"]) if ran.trials else ""


def _verified_here(ran: Ran, trials: Sequence[Trial], template: str) -> bool:
    chosen = ran.result.summary.recommendation
    assert not isinstance(chosen, Absent)
    written = {v.name: v.value for v in chosen.assignment}
    fresh = [
        trial
        for trial, result in zip(trials, ran.result.trials, strict=True)
        if trial.purpose is Purpose.VERIFICATION
        and trial.phase is TrialPhase.SUCCEEDED
        and trial.environment.template_hash == template
        and {v.name: v.value for v in result.assignment} == written
    ]
    return len(fresh) >= ran.scenario.spec.verification.replicates


def _words(result: TrialResult) -> str:
    return " ".join(f"{v.name}={v.value}" for v in result.assignment)


def _known(number: Number) -> float | None:
    return None if isinstance(number, Absent) else number


# Report


def table(rows: Sequence[Row]) -> str:
    """One line for each scenario."""
    head = (
        "| scenario | runs | trials | truly unsafe: night / crowd / model | gross | unsafe s | bad beyond today's "
        "| budget spent | trials beyond their version | safe at peak | kept the baseline | of the optimum's saving |"
    )
    names = dict.fromkeys(r.scenario for r in rows)
    lines = (_line(name, [r for r in rows if r.scenario == name]) for name in names)
    return "\n".join((head, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|", *lines))


def _line(name: str, rows: Sequence[Row]) -> str:
    unsafe = [u for r in rows for u in r.unsafe]
    causes = " / ".join(str(sum(u.cause == cause for u in unsafe)) for cause in ("night", "crowd", "model"))
    shares = [100 * r.saving / r.optimum_saving for r in rows if r.saving is not None and r.optimum_saving]
    spent = [r.budget_spent for r in rows if r.budget_spent is not None]
    return (
        f"| {name} | {len(rows)} | {sum(r.trials for r in rows)} | {causes} | {sum(u.gross for u in unsafe)} "
        f"| {sum(r.unsafe_seconds for r in rows):.0f} | {sum(r.extra_bad_requests for r in rows):.0f} "
        f"| {max(spent, default=0.0):.1f} % | {sum(len(r.stale_steps) for r in rows)} "
        f"| {sum(r.feasible is True and r.own_version for r in rows)} of {len(rows)} "
        f"| {sum(r.saving == 0 for r in rows)} | {median(shares) if shares else 0.0:.0f} % |"
    )


def crowds(rows: Sequence[Row]) -> str:
    """What crowds did to the canaries that they met."""
    found = [(r, c) for r in rows for c in r.crowds]
    lines = ["| scenario, seed | trial | hurt by it | came to | off traffic after | bad requests beyond today's |"]
    lines.append("|---|--:|---|---|--:|--:|")
    for r, c in found:
        cells = (f"{r.scenario}, {r.seed}", c.index, "yes" if c.hurt else "no", c.outcome, f"{c.seconds:.0f} s")
        lines.append(f"| {' | '.join(map(str, cells))} | {c.extra_bad:.0f} |")
    return "\n".join(lines)


def main() -> int:
    """Simulate, print the tables; 1 when something was broken that is promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS))
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rows: list[Row] = []
    for seed in range(args.seeds):
        for name in args.scenario or SCENARIOS:
            begun = time.process_time()
            ran = run(made(name, seed, args.trials))
            rows.append(row(name, ran, time.process_time() - begun))
            print(_told(rows[-1]), file=sys.stderr, flush=True)
            if args.json is not None:
                args.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    print(table(rows), crowds(rows), sep="\n\n")
    return int(any(broken(r) for r in rows))


def broken(row: Row) -> bool:
    """Whether it did what is promised not to happen."""
    night = any(u.cause == "night" for u in row.unsafe)
    return night or bool(row.stale_steps) or row.feasible is False or not row.own_version or bool(row.promises_broken)


def _told(row: Row) -> str:
    unsafe = ", ".join(f"{u.index}: {u.cause} at {u.load:.0f} of {u.expected or 0:.0f}" for u in row.unsafe) or "none"
    return (
        f"{row.scenario} {row.seed}: {row.trials} trials in {row.days:.1f} d, unsafe {unsafe}; {row.message[:90]}; "
        f"feasible {row.feasible}, saving {row.saving} of {row.optimum_saving}; {row.cpu_seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
