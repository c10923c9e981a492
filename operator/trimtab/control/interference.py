"""Do trials that run side by side disturb each other? Pure. If they do, they run one at a time from then on.

Each trial has its control in the same window, at the same load, so what another trial does to both of its arms alike
leaves its contrast as it is. Two things would not show there, and are looked for:

Two canaries on one node take from each other what neither control sees. Arms of different trials keep apart where the
scheduler can (`ArmPlan.apart`); where it could not there is no room for them, so the later one ends before it measures.

A dependency that all arms share may be worn out by many young pods. Then controls get worse, too. Notation, per SLI
that a constraint bounds: y = ln(control) of a trial, oriented so that more is worse, v its variance; c the trials with
company, each of which has references, i.e. trials that ran alone on the same template at no less load per pod (a
twentieth less passes); r the references of any.
  d = mean_c (y_c - mean of its references),  var d = tau^2 (1/c + 1/r) + mean_c v_c / c + mean_r v_r / r
tau^2, the variance between trials, is that of the references, and at least (5 %)^2, of errors (10 %)^2. Disturbed: at
least two with company, d > 3 sqrt(var d), and exp(d) >= 1.15. Less load never makes a control worse, so what more arms
take of it can hide this, but not bring it about; a service that gets worse by itself may, which costs time alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean, pvariance

from trimtab.control.company import accompanied, alone
from trimtab.domain.kube import ArmView
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.spec import ExperimentSpec, OutcomeConstraint, SliKind
from trimtab.domain.trial import Purpose, Trial

NODE_SHARED, CONTROLS_WORSE = "NodeShared", "ControlsWorse"
LEAST_RATIO, STANDARD_ERRORS, LEAST_TRIALS = 1.15, 3.0, 2
LESS_LOAD = 0.95
SPREAD, SPREAD_OF_ERRORS = 0.05, 0.1


@dataclass(frozen=True)
class _Read:
    """ln of what one arm at the present settings measured, its variance, and its load per pod."""

    y: float
    variance: float
    load: float


def shared_node(trial: Trial, live: Iterable[Trial], arms: tuple[ArmView, ...]) -> str:
    """Words when the trial's canary has a pod on a node of another live trial's canary, "" when it has none."""
    others = _canaries((t for t in live if t.uid != trial.uid), arms)
    taken = {node: view.trial_name for view in others for node in _on(view)}
    mine = sorted(node for view in _canaries((trial,), arms) for node in _on(view))
    node = next((n for n in mine if n in taken), "")
    return f"its canary runs on node {node}, where that of {taken[node]} runs" if node else ""


def _canaries(trials: Iterable[Trial], arms: tuple[ArmView, ...]) -> list[ArmView]:
    uids = {t.uid for t in trials}
    return [a for a in arms if a.arm is Arm.CANARY and a.trial_uid in uids]


def _on(view: ArmView) -> set[str]:
    return {p.node for p in view.pods if p.node and not p.deleting}


def controls_worse(spec: ExperimentSpec, trials: tuple[Trial, ...]) -> str:
    """Words with figures when controls of trials with company are worse than those of trials alone, "" when none are.

    Args:
        trials: of one template of the target, with their measurements.
    """
    found = (_worse(spec, c, trials) for c in spec.constraints)
    return next((words for words in found if words), "")


def _worse(spec: ExperimentSpec, constraint: OutcomeConstraint, trials: tuple[Trial, ...]) -> str:
    less = constraint.maximum is None and constraint.minimum is not None
    beside = [read for t in trials if accompanied(t, trials) for read in _controls(constraint.sli, t, less)]
    by_itself = [read for t in trials if alone(t, trials) for read in _controls(constraint.sli, t, less)]
    pairs = [(read, refs) for read in beside if (refs := [r for r in by_itself if r.load >= LESS_LOAD * read.load])]
    if len(pairs) < LEAST_TRIALS:
        return ""
    used = {r for _, refs in pairs for r in refs}
    least = SPREAD_OF_ERRORS if spec.sli(constraint.sli).kind is SliKind.ERRORS else SPREAD
    tau2 = max(pvariance([r.y for r in used]), least**2)
    d = fmean(read.y - fmean(r.y for r in refs) for read, refs in pairs)
    sampled = fmean(read.variance for read, _ in pairs) / len(pairs) + fmean(r.variance for r in used) / len(used)
    error = math.sqrt(tau2 * (1 / len(pairs) + 1 / len(used)) + sampled)
    if d <= STANDARD_ERRORS * error or math.exp(d) < LEAST_RATIO:
        return ""
    return (
        f"{constraint.sli} of the controls of {len(pairs)} trials side by side is {math.exp(d):.3g} times as bad "
        f"as alone at no more load per pod ({d / error:.1f} standard errors)"
    )


def _controls(sli: str, trial: Trial, less: bool) -> Iterator[_Read]:
    """What ran the present settings: its control, and the canary of a baseline trial."""
    for arm in (Arm.CONTROL, Arm.CANARY) if trial.purpose is Purpose.BASELINE else (Arm.CONTROL,):
        measured = trial.measurement(sli, arm)
        load = next((x.rps_per_pod for x in trial.load if x.arm is arm), None)
        if measured is None or load is None or not isinstance(measured.reading, Sample):
            continue
        value, error = measured.reading.value, measured.reading.standard_error
        if value > 0:
            yield _Read((-1 if less else 1) * math.log(value), (error / value) ** 2, load)


__all__ = ["CONTROLS_WORSE", "NODE_SHARED", "controls_worse", "shared_node"]
