"""The Experiment's spec: wire to domain, once. Below this there is no string quantity and no percentage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from trimtab.api import goals, parameters, relations, settings, slis
from trimtab.api.experiment import ExperimentSpec
from trimtab.api.parameters import DEFAULT_STEPS
from trimtab.api.presets import resolve
from trimtab.api.problems import Unreadable, read
from trimtab.api.support import require_supported
from trimtab.api.timetable import schedule_of
from trimtab.domain import space, spec
from trimtab.domain.cost import NodePrice, Prices
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.quantity import parse_duration, parse_quantity

MIN_REQUESTS, MIN_VALUE_SAMPLES = 100, 8
DEFAULT_PAUSE = spec.PauseOnBurn(fraction=0.5, window=6 * 3600.0)
# (short, long, fraction of the budget that the long window may burn): the usual page pairs
DEFAULT_BURN = ((300.0, 3600.0, 0.02), (1800.0, 21600.0, 0.05))


def read_spec(value: Any) -> ExperimentSpec:
    """Check a spec as the API server does, and fill in its defaults.

    Raises:
        InvalidSpec: names the first field and says how many more problems there are.
    """
    try:
        return read(ExperimentSpec, value if value is not None else {}, "spec")
    except Unreadable as error:
        first = error.problems[0]
        others = len(error.problems) - 1
        more = f" (and {others} more problem{'s' * (others > 1)})" if others else ""
        raise InvalidSpec(first.field, first.problem, first.remedy + more) from error


def parse_spec(value: Any) -> spec.ExperimentSpec:
    """Read `spec` of a manifest.

    Raises:
        InvalidSpec: a person must change the manifest.
        NotYetSupported: a valid field whose behaviour this version does not have.
    """
    wire = read_spec(value)
    require_supported(wire)
    return to_domain(wire)


def spec_digest(wire: ExperimentSpec) -> str:
    """Digest of the spec with its defaults filled in; pausing, and what verification waits for, do not change it."""
    content = wire.wire()
    del content["paused"]
    del content["verification"]["atPeak"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def to_domain(wire: ExperimentSpec) -> spec.ExperimentSpec:
    """The domain's form of a checked spec."""
    searched = space.SearchSpace(
        tuple(_parameter(p) for p in wire.parameters), tuple(_relation(r) for r in wire.parameter_constraints)
    )
    slis = _slis(wire)
    _require_fractions(wire, slis)
    return spec.ExperimentSpec(
        mode=wire.mode,
        paused=wire.paused,
        target=spec.TargetRef(wire.target_ref.name, wire.target_ref.kind, wire.target_ref.api_version),
        space=searched,
        slis=slis,
        objectives=tuple(_objective(o) for o in wire.objectives),
        constraints=tuple(_constraint(c) for c in wire.constraints if c.builtin is None),
        budgets=tuple(_budget(b) for b in wire.error_budgets),
        trial=_timing(wire.trial),
        canary=spec.CanarySpec(wire.canary.replicas, _fraction(wire.canary.max_share_percent)),
        safety=_safety(wire.safety),
        search=_search(wire.search, len(wire.parameters)),
        stopping=_stopping(wire.stopping),
        verification=spec.Verification(
            parse_duration(wire.verification.duration), wire.verification.replicates, wire.verification.at_peak
        ),
        prices=_prices(wire.prices, searched),
        owner=wire.owner,
        share_service_labels_ok=wire.traffic.share_service_labels,
        digest=spec_digest(wire),
        otel_resource_attributes=wire.canary.otel_resource_attributes,
        warm_start=_warm_start(wire.warm_start, searched) if wire.warm_start is not None else None,
        cost_limits=tuple(spec.CostLimit(c.name, float(c.max or 0)) for c in wire.constraints if c.builtin is not None),
        schedule=schedule_of(wire.schedule, "spec.schedule") if wire.schedule is not None else None,
        route=_route(wire.traffic.http_route) if wire.traffic.http_route is not None else None,
    )


def _route(r: settings.HttpRoute) -> spec.RouteSpec:
    return spec.RouteSpec(r.name, r.rule_name, r.backend_service, _fraction(r.canary_percent))


def _warm_start(w: settings.WarmStart, searched: space.SearchSpace) -> spec.WarmStart:
    return spec.WarmStart(
        experiment=w.experiment_ref.name if w.experiment_ref is not None else "",
        history=w.history_ref.name if w.history_ref is not None else "",
        max_age=parse_duration(w.max_age),
        assignments=tuple(_given(g, searched, f"spec.warmStart.assignments[{i}]") for i, g in enumerate(w.assignments)),
    )


def _given(given: settings.GivenAssignment, searched: space.SearchSpace, field: str) -> space.Assignment:
    """Values of the grid, of some or all parameters.

    Raises:
        InvalidSpec: a parameter is unknown, or a value is not on its grid.
    """
    found: dict[str, space.Value] = {}
    for item in given.values:
        where = f"{field}.values[{item.name}]"
        if item.name not in searched.names:
            raise InvalidSpec(where, "names no parameter", f"use one of {', '.join(searched.names)}")
        parameter = searched[item.name]
        domain, value = parameter.domain, parameter.parse(item.value)
        if isinstance(domain, space.Numeric) and value not in domain.grid():
            low, high, step = (parameter.format(v) for v in (domain.minimum, domain.maximum, domain.step))
            problem = f"{item.value} is not on the grid of {item.name}"
            raise InvalidSpec(where, problem, f"use {low} to {high} in steps of {step}")
        found[item.name] = value
    return space.Assignment.of(found)


def _fraction(percent: str) -> float:
    return float(Decimal(percent) / 100)


def _parameter(p: parameters.Parameter) -> space.Parameter:
    when = space.When(p.when.parameter, p.when.in_) if p.when is not None else None
    return space.Parameter(
        name=p.name,
        locus=_locus(p),
        domain=_domain(p),
        max_decrease=_fraction(p.max_decrease_percent) if p.max_decrease_percent is not None else None,
        max_increase=_fraction(p.max_increase_percent) if p.max_increase_percent is not None else None,
        when=when,
    )


def _locus(p: parameters.Parameter) -> space.Locus:
    if p.container is not None:
        resource = space.Resource(p.container.resource)
        usual = space.Apply.BOTH if resource is space.Resource.MEMORY else space.Apply.REQUESTS
        return space.ContainerResource(p.container.name, resource, p.container.apply or usual, p.container.limits)
    if p.autoscaler is not None:
        metric = p.autoscaler.metric
        return space.AutoscalerField(
            p.autoscaler.field, p.autoscaler.name or "", (metric.container or "") if metric is not None else ""
        )
    if p.env is not None:
        return space.EnvValue(p.env.container, p.env.name, p.env.format)
    if p.node_selector is not None:
        return space.NodeSelectorKey(p.node_selector.key)
    return space.ReplicaCount()


def _domain(p: parameters.Parameter) -> space.Numeric | space.Categorical:
    if p.categorical is not None:
        return space.Categorical(p.categorical.values)
    if p.quantity is not None:
        step = p.quantity.step or DEFAULT_STEPS[p.container.resource if p.container is not None else "cpu"]
        return space.Numeric(p.quantity.low(), p.quantity.high(), parse_quantity(step), space.Scale(p.quantity.scale))
    utilization = p.autoscaler is not None and p.autoscaler.field.endswith("Utilization")
    usual = space.Scale.LOGIT if utilization else space.Scale.LINEAR
    given = p.integer or p.decimal
    if given is None:
        raise InvalidSpec(f"parameter {p.name}", "has no range")
    scale = space.Scale(given.scale) if given.scale is not None else usual
    return space.Numeric(
        given.low(), given.high(), parse_quantity(str(given.step)), scale, integer=p.integer is not None
    )


def _relation(r: relations.ParameterConstraint) -> space.ParameterConstraint:
    if r.order is not None:
        return space.Order(r.name, r.order.lower, r.order.upper)
    if r.ratio is not None:
        return space.Ratio(r.name, r.ratio.of, r.ratio.to, float(r.ratio.max))
    if r.sum is not None:
        terms = tuple((term.parameter, float(term.weight)) for term in r.sum.terms)
        return space.Sum(r.name, terms, float(r.sum.max))
    raise InvalidSpec(f"parameter constraint {r.name}", "is empty")


def _store(wire: ExperimentSpec) -> str:
    return wire.telemetry.store if wire.telemetry is not None else spec.DEFAULT_STORE


def _slis(wire: ExperimentSpec) -> tuple[spec.Sli, ...]:
    """Scaling is counted by another SLI, so these are read last."""
    store = _store(wire)
    plain = {s.name: _sli(s, _query(s, f"spec.slis[{i}]"), store) for i, s in enumerate(wire.slis) if s.scaling is None}
    counting = {n: s.query for n, s in plain.items() if isinstance(s.query, spec.RatioQuery | spec.SlowRatioQuery)}
    return tuple(
        plain[s.name] if s.scaling is None else _sli(s, _scaling(s.scaling, counting), store) for s in wire.slis
    )


def _scaling(s: slis.ScalingSli, counting: Mapping[str, spec.RatioQuery | spec.SlowRatioQuery]) -> spec.ScalingQuery:
    query = counting[s.sli] if s.sli is not None else next(iter(counting.values()))
    return spec.ScalingQuery(s.measure, query, float(s.above) if s.above is not None else None)


def _sli(s: slis.Sli, query: spec.SliQuery, store: str) -> spec.Sli:
    kind = spec.SliKind.ERRORS
    if isinstance(query, spec.QuantileQuery):
        kind = spec.SliKind.LATENCY
    elif isinstance(query, spec.ValueQuery | spec.ScalingQuery):
        kind = spec.SliKind.VALUE
    usual = MIN_VALUE_SAMPLES if kind is spec.SliKind.VALUE else MIN_REQUESTS
    return spec.Sli(s.name, kind, query, s.min_samples or usual, s.on_missing, store)


def _query(s: slis.Sli, field: str) -> spec.SliQuery:
    segment = s.segment or ""
    if s.preset is not None:
        return resolve(s.preset, segment)
    if s.ratio is not None:
        return spec.RatioQuery((s.ratio.bad,), (s.ratio.total,), segment)
    if s.value is not None:
        return spec.ValueQuery(s.value.query, s.value.unit, s.value.samples_query)
    if s.latency is None:
        raise InvalidSpec(field, "is empty")
    names = (s.latency.histogram,)
    if s.latency.threshold is not None:
        return spec.SlowRatioQuery(names, float(s.latency.threshold), s.latency.unit, s.latency.matchers, segment)
    return spec.QuantileQuery(names, float(s.latency.quantile or 0), s.latency.unit, s.latency.matchers, segment)


def _objective(o: goals.Objective) -> spec.Objective:
    given = o.terms or (goals.ObjectiveTerm(builtin=o.builtin, sli=o.sli),)
    terms = tuple(spec.ObjectiveTerm(float(term.weight), term.sli) for term in given)
    return spec.Objective(o.name, o.goal == "Maximize", terms)


def _require_fractions(wire: ExperimentSpec, slis: tuple[spec.Sli, ...]) -> None:
    """Raises InvalidSpec: a part of the requests is bounded by more than all of them."""
    counting = {sli.name for sli in slis if isinstance(sli.query, spec.RatioQuery | spec.SlowRatioQuery)}
    for index, c in enumerate(wire.constraints):
        if c.sli in counting and c.max is not None and float(c.max) > 1:
            problem = f"{c.max} is no bound: {c.sli} is a fraction of the requests, at most 1"
            raise InvalidSpec(f"spec.constraints[{index}].max", problem, 'write 5 % as "0.05"')


def _constraint(c: goals.Constraint) -> spec.OutcomeConstraint:
    relative = None
    if c.relative_to_control is not None:
        bound = c.relative_to_control
        relative = spec.RelativeBound(
            _fraction(bound.max_increase_percent) if bound.max_increase_percent is not None else None,
            float(bound.max_increase) if bound.max_increase is not None else None,
        )
    return spec.OutcomeConstraint(
        name=c.name,
        sli=c.sli or "",
        maximum=float(c.max) if c.max is not None else None,
        minimum=float(c.min) if c.min is not None else None,
        relative=relative,
        confidence=_fraction(c.confidence_percent),
        abort=spec.AbortRule(c.abort.breaches, c.abort.out_of),
        guard_only=c.errors == "GuardOnly",
        max_error_ratio=float(c.sequential.max_error_ratio) if c.sequential is not None else None,
    )


def _budget(b: goals.ErrorBudget) -> spec.ErrorBudget:
    objective, window = _fraction(b.objective_percent), parse_duration(b.window)
    return spec.ErrorBudget(
        name=b.name,
        sli=b.sli,
        objective=objective,
        window=window,
        experiment_share=_fraction(b.experiment_share_percent),
        start_above=_fraction(b.start_above_percent),
        pause_on_burn=_pause(b, objective, window),
        rollback_on_burn=_pairs(b, objective, window),
    )


def _pause(b: goals.ErrorBudget, objective: float, window: float) -> spec.PauseOnBurn | None:
    if b.pause_on_burn is not None:
        return spec.PauseOnBurn(_fraction(b.pause_on_burn.percent), parse_duration(b.pause_on_burn.window))
    usual = DEFAULT_PAUSE
    can_fire = usual.window < window and usual.fraction * window / usual.window * (1 - objective) < 1
    return usual if can_fire else None


def _pairs(b: goals.ErrorBudget, objective: float, window: float) -> tuple[spec.BurnPair, ...]:
    if b.rollback_on_burn_rate is not None:
        given = b.rollback_on_burn_rate
        return tuple(spec.BurnPair(parse_duration(p.short), parse_duration(p.long), float(p.factor)) for p in given)
    usual = (spec.BurnPair(short, long, part * window / long) for short, long, part in DEFAULT_BURN)
    return tuple(pair for pair in usual if pair.factor >= 1 and pair.factor * (1 - objective) < 1)


def _timing(t: settings.TrialTiming) -> spec.TrialTiming:
    return spec.TrialTiming(
        warm_up=parse_duration(t.warm_up),
        duration=parse_duration(t.duration),
        deadline=parse_duration(t.deadline),
        min_replicates=t.replicates.min,
        max_replicates=t.replicates.max,
        parallel=t.parallel,
        screen=parse_duration(t.fidelity.screen) if t.fidelity is not None else None,
        early_success=bool(t.early_success),
    )


def _safety(s: settings.Safety) -> spec.SafetySpec:
    return spec.SafetySpec(
        _fraction(s.probability_percent),
        parse_duration(s.check_interval),
        parse_duration(s.stale_after),
        s.pause_on_alerts,
        s.resource_guards != "Off",
    )


def _search(s: settings.Search, dimensions: int) -> spec.SearchSettings:
    initial, repair = s.initial_trials or spec.initial_trials_for(dimensions), s.infeasible_baseline == "Repair"
    return spec.SearchSettings(s.designer, s.acquisition, s.seed, initial, repair)


def _stopping(s: settings.Stopping) -> spec.Stopping:
    return spec.Stopping(
        max_trials=s.max_trials,
        max_duration=parse_duration(s.max_duration),
        max_infeasible=s.max_infeasible,
        max_inconclusive=s.max_inconclusive,
        patience=s.patience,
        min_improvement=_fraction(s.min_improvement_percent),
        max_cost=float(s.max_cost) if s.max_cost is not None else None,
    )


def _prices(p: settings.Prices, searched: space.SearchSpace) -> Prices:
    """Prices of resources; each value of the one nodeSelector parameter has its own.

    Raises:
        InvalidSpec: a node type has no price, a price no node type, or several parameters choose nodes.
    """
    choosing = [q for q in searched.parameters if isinstance(q.locus, space.NodeSelectorKey)]
    if len(choosing) > 1:
        names = " and ".join(q.name for q in choosing[:2])
        raise InvalidSpec("spec.parameters", f"{names} both choose nodes", "tune one nodeSelector at a time")
    domain = choosing[0].domain if choosing else None
    values = domain.values if isinstance(domain, space.Categorical) else ()
    known = [n.value for n in p.nodes]
    unpriced, unused = [v for v in values if v not in known], [v for v in known if v not in values]
    if unpriced:
        problem = f"has no price of {', '.join(unpriced)}, a value of {choosing[0].name}"
        raise InvalidSpec("spec.prices.nodes", problem, "add one for each value")
    if unused:
        problem = f"prices {', '.join(unused)}, which no nodeSelector parameter chooses"
        raise InvalidSpec("spec.prices.nodes", problem, "remove it, or add it to the parameter's values")
    nodes = tuple(NodePrice(n.value, float(n.cpu_core_hour), float(n.memory_gib_hour)) for n in p.nodes)
    return Prices(float(p.cpu_core_hour), float(p.memory_gib_hour), nodes)
