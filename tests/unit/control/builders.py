"""Small worlds for the tests of the control core: every default is a healthy one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from trimtab.control.actions import CreateTrial, Decision, EmitEvent, WriteTrial
from trimtab.control.decide import decide
from trimtab.control.snapshot import (
    AskBudgets,
    AskSpent,
    BudgetReadings,
    BudgetWindow,
    Inquiry,
    LockView,
    Snapshot,
    SpentReadings,
)
from trimtab.control.study import build_study
from trimtab.domain.cost import Prices
from trimtab.domain.kube import (
    ArmView,
    ContainerStatus,
    ContainerView,
    PodView,
    Resources,
    ServiceView,
    Surroundings,
    Target,
)
from trimtab.domain.measurement import Arm, Measurement, Sample, Window
from trimtab.domain.names import arm_name, trial_name
from trimtab.domain.route import BackendView, Claim, RouteView, RuleView, Standing
from trimtab.domain.space import (
    Apply,
    Assignment,
    ContainerResource,
    LimitsRule,
    Numeric,
    Parameter,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.domain.spec import (
    AbortRule,
    CanarySpec,
    ErrorBudget,
    ExperimentSpec,
    Mode,
    Objective,
    ObjectiveTerm,
    OutcomeConstraint,
    PauseOnBurn,
    RatioQuery,
    RouteSpec,
    SafetySpec,
    SearchSettings,
    Sli,
    SliKind,
    Stopping,
    TargetRef,
    TrialTiming,
    Verification,
)
from trimtab.domain.state import Condition, ConditionType, ExperimentPhase, ExperimentState, TargetRecord
from trimtab.domain.study import Diagnostics, Hold, NoAnswer, Proposal, Study
from trimtab.domain.trial import Environment, Outcome, PhaseTimes, Purpose, Suggestion, Trial, TrialPhase
from trimtab.ports import ExperimentRecord, NewTrial

NOW = 1_790_000_000.0
GIB = Decimal(2**30)
UID = "0f0e0d0c-0b0a-4908-8706-050403020100"
BASELINE = Assignment((("cpu", Decimal("2")), ("memory", 2 * GIB)))
LIVE = (TrialPhase.PENDING, TrialPhase.DEPLOYING, TrialPhase.WARMING_UP, TrialPhase.MEASURING)
ROUTE = RouteSpec("web", "pages", "web", 0.05)
CHEAPER = Assignment((("cpu", Decimal("1")), ("memory", GIB)))


def spec(**changes: Any) -> ExperimentSpec:
    """CPU and memory of one container; errors at most 1 %."""
    cpu = Parameter(
        "cpu",
        ContainerResource("web", Resource.CPU, Apply.BOTH, LimitsRule.RATIO),
        Numeric(Decimal("0.25"), Decimal("2"), Decimal("0.05"), Scale.LOG),
    )
    memory = Parameter(
        "memory",
        ContainerResource("web", Resource.MEMORY, Apply.BOTH, LimitsRule.RATIO),
        Numeric(Decimal(2**28), 2 * GIB, Decimal(2**26), Scale.LOG),
    )
    query = RatioQuery(('http_requests_total{$selector,code=~"5.."}',), ("http_requests_total{$selector}",))
    made = ExperimentSpec(
        mode=Mode.RECOMMEND,
        paused=False,
        target=TargetRef("web"),
        space=SearchSpace((cpu, memory)),
        slis=(Sli("errors", SliKind.ERRORS, query, 100),),
        objectives=(Objective("cost", False, (ObjectiveTerm(1.0),)),),
        constraints=(OutcomeConstraint("errors", "errors", 0.01, None, None, 0.95, AbortRule(3, 4)),),
        budgets=(ErrorBudget("availability", "errors", 0.99, 720 * 3600.0, 0.05, 0.4, PauseOnBurn(0.5, 21600.0), ()),),
        trial=TrialTiming(10.0, 60.0, 600.0),
        canary=CanarySpec(1, 0.1),
        safety=SafetySpec(0.95, 5.0, 60.0),
        search=SearchSettings("GaussianProcess", "ConstrainedEI", 1, 5),
        stopping=Stopping(14, 1e9, 8, 8, 10, 0.01),
        verification=Verification(60.0, 2),
        prices=Prices(0.03, 0.004),
        owner="team-web",
        share_service_labels_ok=False,
        digest="spec-1",
    )
    return replace(made, **changes)


def target(**changes: Any) -> Target:
    resources = Resources(Decimal("2"), Decimal("2"), 2 * GIB, 2 * GIB)
    made = Target(
        name="web",
        namespace="shop",
        uid="target-uid",
        generation=1,
        replicas=20,
        ready_replicas=20,
        template_hash="hash-1",
        rollout_behind="",
        paused=False,
        strategy="RollingUpdate",
        selector=(("app", "web"), ("instance", "production")),
        has_match_expressions=False,
        pod_labels=(("app", "web"), ("instance", "production")),
        containers=(ContainerView("web", "registry.example/web:1", resources),),
        owner_kinds=(),
        annotations=(),
        hazards=(),
        termination_grace_seconds=10,
        manifest=MappingProxyType({}),
    )
    return replace(made, **changes)


def surroundings(**changes: Any) -> Surroundings:
    made = Surroundings(services=(ServiceView("web", (("app", "web"),)),), ready_service_endpoints=20)
    return replace(made, **changes)


def running(**changes: Any) -> ExperimentState:
    """A state that has passed preflight and holds the lock."""
    state = ExperimentState(
        phase=ExperimentPhase.RUNNING,
        spec_digest="spec-1",
        started=NOW - 100,
        target=TargetRecord("target-uid", "hash-1", BASELINE),
        scrape_interval=1.0,
    )
    for kind in (ConditionType.PREFLIGHT, ConditionType.TARGET_LOCKED, ConditionType.READY):
        state = state.with_condition(kind, True, "Passed", "", NOW - 90, 1)
    return replace(state, **changes)


def experiment(state: ExperimentState | None = None, **changes: Any) -> ExperimentRecord:
    made = ExperimentRecord(
        name="web",
        namespace="shop",
        uid=UID,
        resource_version="7",
        generation=1,
        created=NOW - 200,
        deleting=False,
        finalized=True,
        annotations=(),
        annotation_managers=(),
        spec=spec(),
        state=state if state is not None else running(),
    )
    return replace(made, **changes)


def trial(phase: TrialPhase = TrialPhase.PENDING, index: int = 0, **changes: Any) -> Trial:
    made = Trial(
        name=trial_name("web", UID, index),
        namespace="shop",
        uid=f"trial-{index}",
        resource_version="1",
        experiment_uid=UID,
        experiment_name="web",
        index=index,
        suggestion=suggestion(),
        spec_digest="spec-1",
        environment=Environment("hash-1", "target-uid", "registry.example/web:1", 20),
        phase=phase,
        times=PhaseTimes(created=NOW - 50, deploying=NOW - 40, warming_up=NOW - 30, measuring=NOW - 20),
        deadline=NOW + 500,
        window=Window(NOW - 70, NOW - 10) if phase is not TrialPhase.PENDING else None,
        finalized=True,
        cost=0.5,
    )
    return replace(made, **changes)


def pod(name: str, ready: bool = True, **changes: Any) -> PodView:
    status = ContainerStatus("web", ready, 0)
    made = PodView(
        name, f"uid-{name}", "Running", "", ready, NOW - 30 if ready else None, "node-1", False, "", (status,), ()
    )
    return replace(made, **changes)


def admitted(assignment: Assignment) -> Resources:
    """What the API server admits for an assignment."""
    cpu, memory = assignment.number("cpu"), assignment.number("memory")
    return Resources(cpu, cpu, memory, memory)


def arm(of: Trial, which: Arm, **changes: Any) -> ArmView:
    name = arm_name(UID, of.index, which)
    made = ArmView(
        arm=which,
        name=name,
        namespace=of.namespace,
        experiment_uid=of.experiment_uid,
        experiment_name=of.experiment_name,
        trial_uid=of.uid,
        trial_name=of.name,
        uid=f"uid-{name}",
        spec_digest="plan",
        observed_digest="plan",
        deadline=of.deadline,
        deleting=False,
        replicas=1,
        failure="",
        pods=(pod(f"{name}-abc-12345", resources=(("web", admitted(CHEAPER if which is Arm.CANARY else BASELINE)),)),),
        ready_endpoints=1,
    )
    return replace(made, **changes)


def both_arms(of: Trial) -> tuple[ArmView, ...]:
    return arm(of, Arm.CANARY), arm(of, Arm.CONTROL)


def measured(of: Trial, bad: float, total: float = 5000.0) -> tuple[Measurement, ...]:
    """The same counts on both arms."""
    assert of.window is not None
    value = bad / total
    error = max((value * (1 - value) / total) ** 0.5, 1e-9)
    sample = Sample(value, error, total, bad)
    return tuple(Measurement("errors", which, of.window, sample) for which in (Arm.CANARY, Arm.CONTROL))


def budgets(bad: float = 1000.0, total: float = 1e6, spent: float = 0.0) -> BudgetReadings:
    """Event sums of the month and of the last six hours; by default a tenth of the budget is gone."""
    month = BudgetWindow("availability", 720 * 3600.0, Sample(bad / total, 0.0001, total, bad))
    hours = BudgetWindow("availability", 21600.0, Sample(bad / total, 0.001, total / 120, bad / 120))
    return BudgetReadings((month, hours), (("errors", spent),))


def route(of: Trial | None = None, **changes: Any) -> RouteView:
    """The route that `ROUTE` names, carrying the weights of a trial if one is given."""
    made = RouteView("web", "shop", (RuleView("pages", (BackendView("web", 1, 80),)),))
    return made if of is None else replace(made, claim=claim(of, **changes))


def claim(of: Trial, **changes: Any) -> Claim:
    """All of the share, since long ago."""
    shares = (ROUTE.share, ROUTE.share)
    made = Claim(of.uid, of.name, UID, "web", ROUTE.rule, shares, NOW - 100, NOW + 500, Standing.WRITTEN)
    return replace(made, **changes)


def _seen_route(record: ExperimentRecord, trials: tuple[Trial, ...]) -> RouteView | None:
    if record.spec is None or record.spec.route is None:
        return None
    return route(next((t for t in trials if t.phase is TrialPhase.MEASURING), None))


def snapshot(
    record: ExperimentRecord | None = None,
    trials: tuple[Trial, ...] = (),
    arms: tuple[ArmView, ...] = (),
    answers: Mapping[Inquiry, Any] | None = None,
    **changes: Any,
) -> Snapshot:
    budget = budgets()
    record = record or experiment()
    made = Snapshot(
        now=NOW,
        experiment=record,
        trials=trials,
        target=target(),
        surroundings=surroundings(),
        arms=arms,
        lock=LockView(mine=True),
        leader="leader-1",
        route=_seen_route(record, trials),
        answers=MappingProxyType({AskBudgets(): budget, **(answers or {})}),
    )
    return replace(made, **changes)


def decided(seen: Snapshot) -> Decision:
    """Decide, with the state that the snapshot's Experiment carries."""
    return decide(seen.experiment.state or ExperimentState(), seen)


def kinds(decision: Decision) -> list[str]:
    """The names of the decision's actions, in order, without Events."""
    return [type(a).__name__ for a in decision.actions if type(a).__name__ != "EmitEvent"]


def written(decision: Decision, phase: TrialPhase) -> Trial:
    """The Trial that the decision writes in this phase."""
    return next(a.trial for a in decision.actions if isinstance(a, WriteTrial) and a.trial.phase is phase)


def outcome(decision: Decision) -> Outcome:
    """Why the decision withdraws, or how it judges, a live trial."""
    found = written(decision, TrialPhase.DRAINING).outcome
    assert found is not None
    return found


def events(decision: Decision) -> list[str]:
    """The reasons of the decision's Events, in order."""
    return [a.reason for a in decision.actions if isinstance(a, EmitEvent)]


def condition(decision: Decision, kind: ConditionType) -> Condition:
    """A condition of the decision's state."""
    found = decision.state.condition(kind)
    assert found is not None
    return found


def created(decision: Decision) -> NewTrial:
    """The Trial that the decision starts."""
    return next(a.new for a in decision.actions if isinstance(a, CreateTrial))


def ended(phase: TrialPhase, index: int = 0, reason: str = "Measured", **changes: Any) -> Trial:
    """A trial that ended one second ago, with nothing left of it."""
    done = trial(phase, index, finalized=False, outcome=Outcome(phase, reason, "as told"))
    return replace(done, times=replace(done.times, finished=NOW - 1), **changes)


def suggestion(**changes: Any) -> Suggestion:
    """What the model proposes."""
    return replace(Suggestion(CHEAPER, Purpose.SEARCH, 1, True, 0.99, 0.1, (), "digest", 0.01, 0.01), **changes)


def study(trials: tuple[Trial, ...] = (), **changes: Any) -> Study:
    """The question that the core asks after these trials."""
    state = running()
    assert state.target is not None
    return replace(build_study(spec(), target(), state.target, trials, state.started or 0.0), **changes)


def proposal(answer: Suggestion | Hold | NoAnswer) -> Proposal:
    """An answer of the Designer."""
    return Proposal(answer, Diagnostics(5, 3, 10, 1.1, None))


def verified(bad: float) -> tuple[Trial, ...]:
    """Two complete verification trials, each with so many bad events of 5,000."""
    fresh = (ended(TrialPhase.SUCCEEDED, i, suggestion=suggestion(purpose=Purpose.VERIFICATION)) for i in (0, 1))
    return tuple(replace(t, measurements=measured(t, bad)) for t in fresh)


def counted_again(*draining: Trial) -> dict[Inquiry, Any]:
    """What telemetry says of canaries that are gone."""
    seen = Sample(0.0, 0.001, 5000.0, 0.0, newest=NOW)
    return {AskSpent(t.name, NOW): SpentReadings((("errors", seen),)) for t in draining}
