"""Every fault in one table: what it does, which situation to survive it stands for, its parameters and its moments.

A new effect, parameter or feature of the operator brings its faults into this table in the same change; what waits for
a feature is listed by name in `JOINING`.
"""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.simulate.faults.kinds import Asks, Choice, FaultKind, Moment, Number, Parameter, Seconds

K, M = FaultKind, Moment


@dataclass(frozen=True)
class Row:
    """One kind of fault.

    `usual` are the bounds (seconds) from which a random duration is drawn, None for what happens in an instant.
    `hinders` says that the operator or its way to the API server is impaired meanwhile: promises about time begin
    afterwards. `ends` says that the Experiment cannot go on afterwards. `needs`: what the built-in Experiment must ask
    for (one of them), or nothing happens.
    """

    kind: FaultKind
    survives: str
    does: str
    parameters: tuple[Parameter, ...] = ()
    usual: tuple[float, float] | None = None
    moments: tuple[Moment, ...] = tuple(Moment)
    hinders: bool = False
    ends: bool = False
    needs: tuple[Asks, ...] = ()

    @property
    def lasts(self) -> bool:
        """It has a duration, after which the world is as before."""
        return self.usual is not None

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of this name."""
        return next((p for p in self.parameters if p.name == name), None)


# Situations to survive, in the words that results and the reference page use.
DIES = "operator killed before or after any effect"
LEADERS = "two operators at once, leader changes mid-trial, clock jumps"
API = "the API answers 409, 429, 5xx, 403, or not at all though the write took effect; watches fail"
CUT_OFF = "API unreachable during a trial"
PROMETHEUS = "Prometheus down, slow, failing, malformed, warning"
ABSENCE = "samples NaN, empty, stale; counter reset, duplicate series, missing pod, clock offset"
BREAKS = "canary crashes, is OOM killed, loses readiness; the control does too"
DISRUPTED = "arm pods evicted, preempted, drained, node lost"
REFUSED = "image pull, scheduling, quota, LimitRange, admission, mutated resources"
TEMPLATE = "target's template edited or rolled out mid-trial"
NEIGHBOURS = "target scaled, HPA, VPA or PodDisruptionBudget added mid-trial"
ROUTES = "traffic by HTTPRoute: the route edited or deleted, a backend without endpoints"
SCALERS = "the tuned autoscaler edited mid-trial, metrics API absent"
GONE = "target deleted, namespace terminating"
SEVERAL = "one of several namespaces deleted or without rights, a copy of an arm in it"
DELETED = "Experiment deleted mid-trial, also while no operator runs"
EDITED = "Experiment's spec edited mid-run"
BY_HAND = "a Trial or an arm deleted or edited by hand"
TWO = "two Experiments on one target"
STATUS = "corrupted or unknown status"
FIT = "the fit fails or takes too long"
UPGRADE = "operator upgraded mid-trial"
BURNING = "the service burns its error budget"
ALERTS = "an alert fires that the Experiment names"
ON_CALL = "on-call pause, rollback, skip, approve"

SITUATIONS = (
    DIES, LEADERS, API, CUT_OFF, PROMETHEUS, ABSENCE, BREAKS, DISRUPTED, REFUSED, TEMPLATE, NEIGHBOURS, ROUTES,
    SCALERS, GONE, SEVERAL, DELETED, EDITED, BY_HAND, TWO, STATUS, FIT, UPGRADE, BURNING, ALERTS, ON_CALL,
)  # fmt: skip

JOINING = {
    "PromotionConflicts": "promotion by Apply: the API server refuses the change",
    "PromotionReverted": "promotion by Apply: somebody reverts it",
    "TargetUnhealthyAfterPromotion": "promotion by Apply: the target does not become healthy",
    "RollbackTargetUnhealthy": "promotion by Apply: the original is not healthy either",
}
"""Faults that join together with their feature, by the name that they will have."""

ELSEWHERE = {
    "hostile input": "tests/unit/hostile: huge numbers, PromQL, regular expressions, YAML oddities, unicode",
    "memory over days": "the soak in virtual time",
}
"""Situations that no fault plan can bring about, and what covers them."""

ARMS = (M.DEPLOYING, M.WARMING_UP, M.MEASURING, M.DRAINING)
"""Moments at which arms exist."""
SERVING = (M.WARMING_UP, M.MEASURING)
LIVE = (M.PENDING, *ARMS)
RUNNING = (M.PREFLIGHT, *LIVE, M.BETWEEN)
STARTED = (*LIVE, M.BETWEEN, M.ENDED)

OF = Choice("of", ("canary", "control", "arms"))
WHOSE = Choice("of", ("canary", "control", "arms", "target", "all"))
CHANCE = Number("chance", 0.01, 1.0, 0.5)
RESTART = Seconds("restartAfter", 0.0, 300.0, 1.0)
WHO = Choice("who", ("all", "leader"))
SHORT = (2.0, 60.0)
LONG = (5.0, 180.0)

_OPERATOR = (
    Row(K.OPERATOR_KILLED, DIES, "The leading operator dies and is started again.", (RESTART,), hinders=True),
    Row(
        K.OPERATOR_UPGRADED, UPGRADE,
        "A newer version wrote statuses with fields that are not known here, or an older one without those of today.",
        (RESTART, Choice("fields", ("added", "missing"))), hinders=True,
    ),
    Row(K.STANDBY_STARTED, LEADERS, "Another operator process starts and waits for the lead."),
    Row(
        K.OPERATOR_FROZEN, LEADERS, "The leading process stands still, then goes on with what it had in mind.",
        usual=(1.0, 60.0), hinders=True,
    ),
    Row(K.LEADERSHIP_MOVED, LEADERS, "The lease is taken from the leader, and a standby takes it.", hinders=True),
    Row(
        K.CLOCK_JUMPED, LEADERS, "The leader's wall clock is off by some time.",
        (Seconds("by", -86_400.0, 86_400.0, 3600.0),), usual=SHORT,
    ),
)  # fmt: skip

_API = (
    Row(K.API_CONFLICT, API, "Writes meet 409.", (CHANCE,), usual=SHORT, hinders=True),
    Row(
        K.API_THROTTLED, API, "Requests meet 429 with Retry-After.",
        (CHANCE, Seconds("retryAfter", 1.0, 30.0, 2.0)), usual=SHORT, hinders=True,
    ),
    Row(
        K.API_ERROR, API, "Requests meet a server error.",
        (CHANCE, Choice("status", ("500", "502", "503", "504"))), usual=SHORT, hinders=True,
    ),
    Row(K.API_ANSWER_LOST, API, "Writes take effect, but time out.", (CHANCE,), usual=SHORT, hinders=True),
    Row(
        K.API_FORBIDDEN, API, "A right is missing.",
        (Choice("verb", ("all", "create", "update", "delete", "list", "get")),), usual=SHORT, hinders=True,
    ),
    Row(K.API_SLOW, API, "Every answer is late.", (Seconds("latency", 0.1, 5.0, 1.0),), usual=SHORT, hinders=True),
    Row(
        K.API_UNREACHABLE, CUT_OFF, "The API server cannot be reached.",
        (WHO, Choice("how", ("silent", "refused"))), usual=LONG, hinders=True,
    ),
    Row(K.WATCH_CLOSED, API, "Watches are closed; they can be opened again."),
    Row(K.WATCH_SILENT, API, "Watches stay open and deliver nothing.", usual=LONG),
    Row(K.WATCH_STALE, API, "Watches deliver late.", (Seconds("lag", 0.5, 30.0, 5.0),), usual=LONG),
    Row(K.WATCH_DUPLICATED, API, "Watches deliver everything twice and out of order.", usual=LONG),
    Row(K.WATCH_GONE, API, "Watches end with 410 Gone: what happened meanwhile is not told."),
)  # fmt: skip

_TELEMETRY = (
    Row(K.PROMETHEUS_DOWN, PROMETHEUS, "Connections are refused.", usual=LONG),
    Row(K.PROMETHEUS_SLOW, PROMETHEUS, "Answers are late.", (Seconds("delay", 0.5, 60.0, 5.0),), usual=LONG),
    Row(K.PROMETHEUS_ERROR, PROMETHEUS, "Answers are errors.", (Choice("status", ("500", "503", "422")),), usual=LONG),
    Row(K.PROMETHEUS_MALFORMED, PROMETHEUS, "Answers are no JSON.", usual=LONG),
    Row(K.PROMETHEUS_WARNS, PROMETHEUS, "Answers carry a warning: they may be partial.", usual=LONG),
    Row(K.PROMETHEUS_EMPTIED, ABSENCE, "It has lost its past, until that is restored.", usual=LONG),
    Row(
        K.PROMETHEUS_CLOCK_OFFSET, ABSENCE, "Its clock, or that of the scraped pods, is off.",
        (Seconds("by", -300.0, 300.0, 60.0),), usual=LONG,
    ),
    Row(K.SAMPLES_NAN, ABSENCE, "Values are NaN.", (WHOSE,), usual=LONG),
    Row(K.SAMPLES_MISSING, ABSENCE, "There are no series.", (WHOSE,), usual=LONG),
    Row(K.SAMPLES_STALE, ABSENCE, "The newest sample is old.", (WHOSE,), usual=LONG),
    Row(
        K.COUNTER_RESET, ABSENCE, "Counters start anew, and lose what was not scraped.",
        (WHOSE, Number("lost", 0.01, 0.9, 0.3)),
    ),
    Row(K.SERIES_DUPLICATED, ABSENCE, "Two series answer where one was expected.", (WHOSE,), usual=LONG),
    Row(K.POD_NOT_SCRAPED, ABSENCE, "One of the pods is not scraped.", (WHOSE,), usual=LONG),
    Row(
        K.LONG_WINDOWS_FAIL, PROMETHEUS, "Sums over more than an hour fail, all else is answered.",
        (Choice("how", ("error", "silent")),), usual=(5.0, 400.0),
    ),
    Row(K.TRAFFIC_STOPPED, ABSENCE, "The service gets no requests.", usual=LONG, moments=RUNNING),
)  # fmt: skip

_PODS = (
    Row(K.CRASH_LOOP, BREAKS, "Containers exit at once whenever they start.", (OF,), usual=LONG, moments=LIVE),
    Row(K.OOM_KILLED, BREAKS, "Containers are OOM killed.", (OF,), moments=ARMS),
    Row(K.READINESS_LOST, BREAKS, "The readiness probe fails.", (OF,), usual=LONG, moments=LIVE),
    Row(
        K.SLOW_PODS, BREAKS, "Requests take longer, so that a bound is broken.",
        (OF, Number("factor", 1.5, 20.0, 4.0)), usual=LONG, moments=LIVE,
    ),
    Row(K.POD_EVICTED, DISRUPTED, "The kubelet evicts pods for want of memory.", (OF,), moments=ARMS),
    Row(K.POD_PREEMPTED, DISRUPTED, "The scheduler preempts pods.", (OF,), moments=ARMS),
    Row(K.POD_DELETED, BY_HAND, "Pods are deleted by hand.", (OF,), moments=ARMS),
    Row(K.NODE_DRAINED, DISRUPTED, "The pods' node is drained.", (OF,), moments=ARMS),
    Row(K.NODE_LOST, DISRUPTED, "The pods' node vanishes, and comes back.", (OF,), usual=(5.0, 400.0), moments=ARMS),
    Row(K.IMAGE_PULL_FAILS, REFUSED, "New containers cannot pull their image.", usual=LONG, moments=LIVE),
    Row(K.UNSCHEDULABLE, REFUSED, "No node has room for new pods.", usual=LONG, moments=(*LIVE, M.BETWEEN)),
    Row(K.QUOTA_EXCEEDED, REFUSED, "A quota leaves no room for new pods.", usual=LONG, moments=RUNNING),
    Row(K.LIMIT_RANGE_ADDED, REFUSED, "A LimitRange refuses the arms' resources.", usual=LONG, moments=RUNNING),
    Row(K.ADMISSION_REFUSED, REFUSED, "An admission policy refuses new Deployments.", usual=LONG, moments=RUNNING),
    Row(K.RESOURCES_MUTATED, REFUSED, "A webhook changes the resources of new pods.", usual=LONG, moments=RUNNING),
)  # fmt: skip

_TARGET = (
    Row(
        K.TARGET_EDITED,
        TEMPLATE,
        "The template gets another image and is rolled out.",
        (Seconds("rollout", 1.0, 120.0, 10.0),),
    ),
    Row(K.TARGET_RESTARTED, TEMPLATE, "A rollout restart.", (Seconds("rollout", 1.0, 120.0, 10.0),)),
    Row(K.TARGET_SCALED, NEIGHBOURS, "Another number of replicas.", (Number("factor", 0.25, 2.0, 1.5),), usual=LONG),
    Row(K.AUTOSCALER_ADDED, NEIGHBOURS, "An HPA on the target.", usual=LONG),
    Row(K.VPA_ADDED, NEIGHBOURS, "An active VPA on the target.", usual=LONG),
    Row(K.DISRUPTION_BUDGET_ADDED, NEIGHBOURS, "A PodDisruptionBudget of the target's pods.", usual=LONG),
    Row(K.TARGET_DELETED, GONE, "The target is deleted, and made again.", usual=SHORT),
    Row(K.NAMESPACE_DELETED, GONE, "The namespace is deleted.", ends=True),
)

_BEHIND: tuple[Asks, ...] = ("Route", "Scaled", "Replicas")
_ROUTES = (
    Row(
        K.ROUTE_EDITED, ROUTES,
        "Somebody edits the route's rule: another field, the weights, the arms out of it, or all by server-side apply.",
        (Choice("how", ("field", "weights", "backends", "apply")),), moments=RUNNING, needs=_BEHIND,
    ),
    Row(
        K.ROUTE_DELETED, ROUTES, "The route is deleted, and made again.", usual=SHORT, moments=RUNNING, needs=_BEHIND,
    ),
    Row(
        K.BACKEND_EMPTIED, ROUTES, "The Service of an arm selects no pods any more.", (OF,),
        moments=ARMS, needs=_BEHIND,
    ),
    Row(
        K.ROUTE_RIGHTS_LOST, ROUTES,
        "The rights on routes are withdrawn, of writing alone or with those on the arms' Services and autoscalers.",
        (Choice("what", ("routes", "writes", "all")),), usual=LONG, moments=RUNNING, hinders=True, needs=_BEHIND,
    ),
    Row(
        K.AUTOSCALER_EDITED, SCALERS, "The target's autoscaler gets other values, or is deleted.",
        (Choice("how", ("bounds", "target", "deleted")),), usual=LONG, moments=RUNNING, needs=("Scaled",),
    ),
    Row(
        K.METRICS_API_ABSENT, SCALERS, "No autoscaler gets metrics.", usual=LONG, moments=RUNNING, needs=("Scaled",),
    ),
)  # fmt: skip

_BESIDE: tuple[Asks, ...] = ("Namespaces",)
_SEVERAL = (
    Row(
        K.NAMESPACE_LOST, SEVERAL,
        "Another namespace of the install loses its Role, or is deleted with it; later it is as before.",
        (Choice("how", ("role", "deleted")),), usual=LONG, needs=_BESIDE,
    ),
    Row(
        K.ARM_COPIED, SEVERAL, "Somebody copies an arm's Deployment into another namespace of the install.", (OF,),
        moments=ARMS, needs=_BESIDE,
    ),
)  # fmt: skip

_PEOPLE = (
    Row(
        K.EXPERIMENT_DELETED, DELETED, "The Experiment is deleted, perhaps while no operator runs.",
        (Seconds("operatorAbsent", 0.0, 300.0, 0.0),), ends=True,
    ),
    Row(
        K.SPEC_EDITED, EDITED, "A field that may change is changed.",
        (Choice("field", ("paused", "constraint", "stopping", "safety", "budget", "trial", "schedule")),), usual=LONG,
    ),
    Row(
        K.TRIAL_DELETED, BY_HAND, "A Trial is deleted, perhaps with its finalizer removed.",
        (Choice("finalizer", ("kept", "removed")), Choice("which", ("live", "first"))), moments=STARTED,
    ),
    Row(K.ARM_DELETED, BY_HAND, "An arm's Deployment is deleted.", (OF,), moments=ARMS),
    Row(K.ARM_EDITED, BY_HAND, "An arm's Deployment is edited.", (OF,), moments=ARMS),
    Row(K.ARM_NAME_TAKEN, BY_HAND, "Another Deployment has the next arm's name.", (OF,), usual=LONG, moments=RUNNING),
    Row(K.SECOND_EXPERIMENT, TWO, "A second Experiment with the same target.", usual=LONG),
    Row(
        K.STATUS_CORRUPTED, STATUS, "A status is edited into something that cannot be read.",
        (Choice("of", ("experiment", "trial")), Choice("form", ("unknownPhase", "badTime", "badNumber"))),
        usual=SHORT,
    ),
    Row(K.PAUSE_ASKED, ON_CALL, "The pause annotation.", usual=LONG),
    Row(K.ROLLBACK_ASKED, ON_CALL, "The rollback annotation.", usual=LONG),
    Row(K.SKIP_ASKED, ON_CALL, "The skip annotation with the live trial.", usual=LONG, moments=LIVE),
    Row(
        K.APPROVE_ASKED, ON_CALL, "The approve annotation.", (Choice("digest", ("right", "wrong")),), usual=LONG,
    ),
    Row(K.NAMESPACE_PAUSED, ON_CALL, "The pause annotation on the Namespace.", usual=LONG),
    Row(K.ANNOTATION_MISSPELT, ON_CALL, "An annotation that means nothing.", usual=LONG),
)  # fmt: skip

_OTHERS = (
    Row(K.FIT_FAILS, FIT, "The optimizer's model cannot be fitted.", usual=LONG, moments=RUNNING),
    Row(K.FIT_TOO_LONG, FIT, "The optimizer does not answer until its deadline.", usual=LONG, moments=RUNNING),
    Row(
        K.BUDGET_BURNING, BURNING, "The service fails many requests, whatever the canary does.",
        (Number("errorPercent", 1.0, 50.0, 10.0),), usual=(10.0, 300.0), moments=RUNNING,
    ),
    Row(
        K.ALERT_FIRES, ALERTS, "One of the alerts in `safety.pauseOnAlerts` fires.", usual=(20.0, 300.0),
        moments=RUNNING,
    ),
)  # fmt: skip

CATALOGUE: dict[FaultKind, Row] = {
    row.kind: row for row in (*_OPERATOR, *_API, *_TELEMETRY, *_PODS, *_TARGET, *_ROUTES, *_SEVERAL, *_PEOPLE, *_OTHERS)
}

CELLS: tuple[tuple[FaultKind, Moment], ...] = tuple(
    (row.kind, moment) for row in CATALOGUE.values() for moment in row.moments
)
"""Every fault at every moment at which it may strike."""


_PAGE = """# Faults of a simulation

Generated from `simulate/faults/catalogue.py`.

A faults file lists what goes wrong in a simulated world. Each fault strikes at a time (`at`, from the beginning of the
world), at a moment of a Trial's life, or when the operator is about to send its nth write of some kind, or has just
sent it. One that lasts has a `duration`; without it a usual one is taken. `seed` draws what chance decides.

```yaml
seed: 7
faults:
- {kind: APIUnreachable, at: 2m, duration: 30s}
- {kind: OOMKilled, when: {moment: Measuring, trial: 1, after: 5s}, parameters: {of: canary}}
- {kind: OperatorKilled, when: {effect: "after:create:Deployment", nth: 2}, parameters: {restartAfter: 10s}}
```

Faults of routes and autoscalers do something where the Experiment has its traffic by an HTTPRoute, or an autoscaler;
those of another namespace where the built-in Experiment asks for `Namespaces`.

An effect is `<before|after>:<create|replace|delete>:<Kind>[/<subresource>]`. The moments are those of the Trial with
index `trial` (from 0), and Preflight (no Trial yet), Between (none is live), Ended (the Experiment is over).

"""


def reference_page() -> str:
    """The reference page."""
    return _PAGE + _table()


def _table() -> str:
    lines = ["| kind | what happens | parameters | lasts | moments |", "|---|---|---|---|---|"]
    for situation in SITUATIONS:
        lines.append(f"| **{situation}** | | | | |")
        lines += [_line(row) for row in CATALOGUE.values() if row.survives == situation]
    lines += ["", "Faults that join together with their feature:", ""]
    lines += [f"- `{name}`: {words}" for name, words in JOINING.items()]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    parameters = "; ".join(_described(p) for p in row.parameters)
    moments = "all" if row.moments == tuple(Moment) else ", ".join(row.moments)
    return f"| `{row.kind}` | {row.does} | {parameters} | {'yes' if row.lasts else 'no'} | {moments} |"


def _described(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return f"`{parameter.name}`: {', '.join(parameter.words)}"
    low, high, default = (parameter.write(v) for v in (parameter.low, parameter.high, parameter.default))
    return f"`{parameter.name}`: {low} to {high} (default {default})"


__all__ = ["CATALOGUE", "CELLS", "ELSEWHERE", "JOINING", "SITUATIONS", "Row", "reference_page"]
