"""Numbers of a result as people read them; the tables and the page say the same."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

from trimtab.domain.quantity import format_duration
from trimtab.simulate.results import (
    Absent,
    Bound,
    Flag,
    Measured,
    Number,
    ObjectiveResult,
    Sample,
    Simulation,
    Summary,
    TrialResult,
    Value,
)

UNKNOWN = "-"


def money(value: Number) -> str:
    """$ per hour."""
    return UNKNOWN if isinstance(value, Absent) else f"${value:,.3f}"


def percent(value: Number, digits: int = 1) -> str:
    """A percentage; small ones keep two significant digits."""
    if isinstance(value, Absent):
        return UNKNOWN
    if value and abs(value) < 0.5 * 10**-digits:
        return f"{value:.2g} %"
    return f"{value:.{digits}f} %"


def change(saving: Number) -> tuple[str, str]:
    """A saving in percent without its sign, and whether that is `cheaper` or `dearer`."""
    if isinstance(saving, Absent) or saving >= 0:
        return percent(saving, 0), "cheaper"
    return percent(-saving, 0), "dearer"


def amount(value: Number, unit: str) -> str:
    """An SLI's value in its unit: ratios in percent, seconds in milliseconds."""
    if isinstance(value, Absent):
        return UNKNOWN
    if unit == "$/h":
        return money(value)
    if unit == "ratio":
        return percent(100 * value, 2)
    if unit == "s":
        return f"{1000 * value:,.0f} ms"
    return f"{value:.4g}" + ("" if unit == "1" else f" {unit}")


def count(value: Number) -> str:
    """A whole number with thousands' separators."""
    return UNKNOWN if isinstance(value, Absent) else f"{value:,.0f}"


def seconds(value: Number) -> str:
    """A duration."""
    if isinstance(value, Absent):
        return UNKNOWN
    return f"{value:.1f} s" if value < 100 else format_duration(value)


def days(value: float) -> str:
    """`1 day`, `7 days`."""
    return f"{value:g} day{'' if value == 1 else 's'}"


def yes(value: Flag, good: str = "yes", bad: str = "NO") -> str:
    """A flag in words."""
    return UNKNOWN if isinstance(value, Absent) else (good if value else bad)


def assignment(values: tuple[Value, ...]) -> str:
    """`cpu=500m memory=768Mi`."""
    return " ".join(f"{v.name}={v.value}" for v in values)


def reading(trial: TrialResult, sli: str, arm: str) -> Measured | None:
    """What was measured of one arm, if it was."""
    return next((m for m in trial.measured if m.sli == sli and m.arm == arm), None)


def measured(trial: TrialResult, bound: Bound, arm: str = "canary") -> str:
    """A measured value, or why there is none."""
    found = reading(trial, bound.sli, arm)
    if found is None:
        return UNKNOWN
    return amount(found.reading.value, bound.unit) if isinstance(found.reading, Sample) else found.reading.absent


def true_at_load(trial: TrialResult, bound: Bound) -> Number:
    """The same SLI without noise, at the load that the trial saw."""
    return next(t.at_load_seen for t in trial.true_slis if t.sli == bound.sli)


def limit(bound: Bound) -> str:
    """`slow <= 5.00 %`."""
    parts = []
    if not isinstance(bound.max, Absent):
        parts.append(f"{bound.sli} <= {amount(bound.max, bound.unit)}")
    if not isinstance(bound.min, Absent):
        parts.append(f"{bound.sli} >= {amount(bound.min, bound.unit)}")
    if bound.relative:
        parts.append(f"{bound.sli} close to the control's")
    return " and ".join(parts)


def objective(found: ObjectiveResult) -> str:
    """`73 ms -> 62 ms (-15 %)`."""
    change = "" if isinstance(found.change_percent, Absent) else f" ({found.change_percent:+.0f} %)"
    return f"{amount(found.baseline, found.unit)} -> {amount(found.recommended, found.unit)}{change}"


def first_objective(summary: Summary) -> ObjectiveResult | None:
    """The one that decides what is recommended, where that is not the cost."""
    first = next(iter(summary.objectives), None)
    return None if first is None or first.unit == "$/h" else first


def verdict(trial: TrialResult) -> str:
    """Phase, and the reason where it says more."""
    return trial.phase.value if trial.phase.value == "Succeeded" else f"{trial.phase.value} {trial.reason}".strip()


def truth_of(trial: TrialResult) -> str:
    """What the trial truly was."""
    if isinstance(trial.truly_unsafe, Absent):
        return "not served"
    if trial.gross is True:
        return "GROSS"
    if trial.truly_unsafe:
        return "UNSAFE"
    return "unsafe at peak" if trial.truly_unsafe_at_peak else "safe"


def saving(simulation: Simulation, cost: Number) -> Number:
    """Percent of the baseline's cost."""
    base = simulation.summary.baseline_cost
    return cost if isinstance(cost, Absent) or not base else 100 * (1 - cost / base)


@dataclass(frozen=True)
class Files:
    """The files of a simulation as the user named them, for commands to copy, and further options."""

    experiment: str = "experiment.yaml"
    workload: str = "workload.yaml"
    options: str = ""
    comparable: bool = True  # with rules that set container resources alone


def next_commands(simulation: Simulation, files: Files) -> tuple[tuple[str, str], ...]:
    """(command, what for): what a person may want to type now."""
    namespace, _, name = simulation.inputs.experiment.partition("/")
    again = f"trimtab simulate -f {quote(files.experiment)} --workload {quote(files.workload)}{files.options}"
    production = (
        (f"trimtab lint {quote(files.experiment)}", "what the API server or the operator would refuse"),
        (f"kubectl -n {namespace} apply -f {quote(files.experiment)}", "start it in production"),
        (f"kubectl -n {namespace} get experiments.trimtab.dev/{name} --watch", "watch it"),
    )
    luck = (f"{again} --seeds 20 --jobs 2", "is it luck? the same under other noise")
    peers = (f"{again} --compare vpa,krr,random,hold", "what other rules do to the same load")
    return (luck, *(() if simulation.comparison or not files.comparable else (peers,)), *production)
