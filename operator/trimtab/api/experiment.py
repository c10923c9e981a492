"""Wire model of the Experiment: its spec, and the rules that look across the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from trimtab.api.base import Keyed, Rule, WireModel, section
from trimtab.api.experiment_status import ExperimentStatus
from trimtab.api.goals import Constraint, ErrorBudget, Objective
from trimtab.api.parameters import Parameter
from trimtab.api.relations import ParameterConstraint
from trimtab.api.scalars import DURATION_PATTERN, Text, unless_malformed
from trimtab.api.scaling_rules import SPEC_RULES
from trimtab.api.settings import (
    Canary,
    Prices,
    Promotion,
    Safety,
    Schedule,
    Search,
    Stopping,
    TargetRef,
    Traffic,
    TrialTiming,
    Verification,
    WarmStart,
)
from trimtab.api.slis import Sli, Telemetry
from trimtab.domain.quantity import parse_duration
from trimtab.domain.space import Apply
from trimtab.domain.spec import Mode

FROZEN = ("parameters", "parameterConstraints", "slis", "objectives", "prices", "traffic", "canary", "telemetry")


def _missing(found: Callable[[ExperimentSpec], list[str]], known: Callable[[ExperimentSpec], set[str]]) -> Any:
    return lambda spec: [name for name in found(spec) if name not in known(spec)]


def _refers(
    cel_list: str, cel_known: str, words: str, remedy: str, missing: Callable[[ExperimentSpec], list[str]]
) -> Rule:
    """Every name in `cel_list` (a CEL list of strings) is the name of an item of `cel_known`."""
    absent = f"{cel_list}.filter(n, !self.{cel_known}.exists(s, s.name == n))"
    return Rule(
        cel=f"{absent}.size() == 0",
        message=f"{words} refer to something that does not exist; {remedy}",
        holds=lambda spec: not missing(spec),
        field=f".{words}",
        explain_cel=f"'{words} refer to ' + {absent}[0] + ', which does not exist; {remedy}'",
        explain=lambda spec: f"{words} refer to {missing(spec)[0]}, which does not exist; {remedy}",
    )


def _parameter_names(spec: ExperimentSpec) -> set[str]:
    return {p.name for p in spec.parameters}


def _sli_names(spec: ExperimentSpec) -> set[str]:
    return {s.name for s in spec.slis}


def _constrained(spec: ExperimentSpec) -> list[str]:
    return [name for rule in spec.parameter_constraints for name in rule.parameters()]


def _one_place(spec: ExperimentSpec) -> bool:
    seen: dict[tuple[str, str], list[Apply]] = {}
    for parameter in spec.parameters:
        if parameter.container is not None:
            place = parameter.container
            apply = place.apply or (Apply.BOTH if place.resource == "memory" else Apply.REQUESTS)
            seen.setdefault((place.name, place.resource), []).append(apply)
    return all(len(sides) == 1 or sorted(sides) == [Apply.LIMITS, Apply.REQUESTS] for sides in seen.values())


def _conditions_hold(spec: ExperimentSpec) -> bool:
    categories = {p.name: p.categorical.values for p in spec.parameters if p.categorical is not None}
    return all(
        p.when is None or (p.when.parameter != p.name and set(p.when.in_) <= set(categories.get(p.when.parameter, ())))
        for p in spec.parameters
    )


def _measured(spec: ExperimentSpec) -> bool:
    return any(objective.slis() for objective in spec.objectives)


def _sequential_counts(spec: ExperimentSpec) -> bool:
    counting = {sli.name for sli in spec.slis if sli.counts_events()}
    return all(c.sequential is None or c.sli in counting for c in spec.constraints)


def _scaling_is_counted(spec: ExperimentSpec) -> bool:
    counting = [sli.name for sli in spec.slis if sli.counts_events()]
    wanted = [sli.scaling for sli in spec.slis if sli.scaling is not None]
    return all(s.sli in counting if s.sli is not None else bool(counting) for s in wanted)


def _scaling_is_whole(spec: ExperimentSpec) -> bool:
    scaling = {sli.name for sli in spec.slis if sli.scaling is not None}
    return not scaling & {c.sli for c in spec.constraints}


def _early_can_be_shown(spec: ExperimentSpec) -> bool:
    if not spec.trial.early_success:
        return True
    bounds = [c for c in spec.constraints if c.builtin is None and c.errors != "GuardOnly"]
    alone = all(c.max is not None and c.min is None and c.relative_to_control is None for c in bounds)
    return alone and all(c.sequential is not None for c in bounds) and not _measured(spec)


def _verification_fits(spec: ExperimentSpec) -> bool:
    needed = parse_duration(spec.trial.warm_up) + parse_duration(spec.verification.duration)
    return spec.verification.replicates == 0 or needed < parse_duration(spec.trial.deadline)


def _limits(p: str) -> str:
    return f"(has({p}.container.apply) && {p}.container.apply == 'Limits')"


def _requests(p: str) -> str:
    given = f"{p}.container.apply == 'Requests'"
    return f"(has({p}.container.apply) ? {given} : {p}.container.resource == 'cpu')"


_CROSS_RULES = (
    Rule(
        "self.parameters.all(p, !has(p.container) || self.parameters.all(q, q.name == p.name || !has(q.container) || "
        "q.container.name != p.container.name || q.container.resource != p.container.resource || "
        f"{_limits('p')} && {_requests('q')} || {_requests('p')} && {_limits('q')}))",
        "parameters: two of them set the same resource of the same container; remove one, or let one apply to Requests "
        "and the other to Limits",
        _one_place,
        field=".parameters",
    ),
    Rule(
        "self.parameters.all(p, !has(p.when) || p.when.parameter != p.name && self.parameters.exists(q, "
        "q.name == p.when.parameter && has(q.categorical) && p.when.__in__.all(v, v in q.categorical.values)))",
        "parameters: when must name another, categorical parameter and values that it has; correct when",
        _conditions_hold,
        field=".parameters",
    ),
    Rule(
        "self.traffic.mode == 'HTTPRoute' || self.parameters.all(p, !has(p.autoscaler))",
        "parameters: an autoscaler parameter cannot be identified while traffic follows pod counts; "
        "set traffic.mode: HTTPRoute or remove the parameter",
        lambda spec: spec.traffic.mode == "HTTPRoute" or all(p.autoscaler is None for p in spec.parameters),
        field=".parameters",
    ),
    Rule(
        "self.traffic.mode == 'HTTPRoute' || self.parameters.all(p, !has(p.replicas))",
        "parameters: replicas cannot be identified while traffic follows pod counts; set traffic.mode: HTTPRoute or "
        "remove the parameter",
        lambda spec: spec.traffic.mode == "HTTPRoute" or all(p.replicas is None for p in spec.parameters),
        field=".parameters",
    ),
    *SPEC_RULES,
    _refers(
        "self.parameterConstraints.map(c, has(c.order) ? [c.order.lower, c.order.upper] : "
        "has(c.sum) ? c.sum.terms.map(t, t.parameter) : has(c.ratio) ? [c.ratio.of, c.ratio.to] : [])"
        ".map(l, l.filter(n, !self.parameters.exists(p, p.name == n))).filter(l, l.size() > 0).map(l, l[0])",
        "parameters",
        "parameterConstraints",
        "correct the name or add the parameter",
        _missing(_constrained, _parameter_names),
    ),
    Rule(
        "self.parameters.all(p, !has(p.categorical) || self.parameterConstraints.all(c, "
        "(!has(c.order) || c.order.lower != p.name && c.order.upper != p.name) && "
        "(!has(c.sum) || c.sum.terms.all(t, t.parameter != p.name)) && "
        "(!has(c.ratio) || c.ratio.of != p.name && c.ratio.to != p.name)))",
        "parameterConstraints: a categorical parameter has no order; remove it from the constraint",
        lambda spec: not {p.name for p in spec.parameters if p.categorical is not None} & set(_constrained(spec)),
        field=".parameterConstraints",
    ),
    _refers(
        "self.constraints.filter(c, has(c.sli)).map(c, c.sli)",
        "slis",
        "constraints",
        "correct sli or add it to slis",
        _missing(lambda spec: [c.sli for c in spec.constraints if c.sli is not None], _sli_names),
    ),
    _refers(
        "self.errorBudgets.map(b, b.sli)",
        "slis",
        "errorBudgets",
        "correct sli or add it to slis",
        _missing(lambda spec: [b.sli for b in spec.error_budgets], _sli_names),
    ),
    _refers(
        "self.objectives.filter(o, has(o.sli)).map(o, o.sli)",
        "slis",
        "objectives",
        "correct sli or add it to slis",
        _missing(lambda spec: [o.sli for o in spec.objectives if o.sli is not None], _sli_names),
    ),
    Rule(
        "self.objectives.all(o, self.objectives.exists_one(p, p.name == o.name))",
        "objectives: names must differ from each other; rename one",
        lambda spec: len({o.name for o in spec.objectives}) == len(spec.objectives),
        field=".objectives",
    ),
    Rule(
        "self.objectives.all(o, !has(o.terms) || o.terms.all(t, !has(t.sli) || self.slis.exists(s, s.name == t.sli)))",
        "objectives: a term names an SLI that does not exist; correct sli or add it to slis",
        lambda spec: all(
            term.sli is None or term.sli in _sli_names(spec) for o in spec.objectives for term in o.terms or ()
        ),
        field=".objectives",
    ),
    Rule(
        "self.search.acquisition != 'HypervolumeEI' || self.objectives.size() == 2",
        "search.acquisition: HypervolumeEI needs two objectives; add one or use ConstrainedEI",
        lambda spec: spec.search.acquisition != "HypervolumeEI" or len(spec.objectives) == 2,
        field=".search.acquisition",
    ),
    Rule(
        "self.search.acquisition != 'NoisyEI' || self.objectives.size() == 1 && "
        "self.objectives.all(o, has(o.sli) || has(o.terms) && o.terms.exists(t, has(t.sli)))",
        "search.acquisition: NoisyEI needs one objective that names an SLI; use ConstrainedEI",
        lambda spec: spec.search.acquisition != "NoisyEI" or (len(spec.objectives) == 1 and _measured(spec)),
        field=".search.acquisition",
    ),
    Rule(
        "!(self.search.acquisition in ['UCB', 'PI', 'Thompson']) || self.objectives.size() == 1 && "
        "self.objectives.all(o, !has(o.sli) && (!has(o.terms) || o.terms.all(t, !has(t.sli))))",
        "search.acquisition: UCB, PI and Thompson need one objective without an SLI; use ConstrainedEI",
        lambda spec: (
            spec.search.acquisition not in ("UCB", "PI", "Thompson")
            or (len(spec.objectives) == 1 and not _measured(spec))
        ),
        field=".search.acquisition",
    ),
    Rule(
        "self.constraints.exists(c, has(c.sli))",
        "constraints: none bounds an SLI, so every saving would look safe; let at least one bound an SLI",
        lambda spec: any(c.sli is not None for c in spec.constraints),
        field=".constraints",
    ),
    Rule(
        "!self.constraints.exists(c, has(c.sli)) || self.constraints.exists(c, has(c.sli) && c.errors != 'GuardOnly')",
        "constraints: every bound is GuardOnly, so nothing tells which assignments are safe; let one be Modelled, for "
        "example on the fraction of slow requests",
        lambda spec: (
            not any(c.sli is not None for c in spec.constraints)
            or any(c.sli is not None and c.errors != "GuardOnly" for c in spec.constraints)
        ),
        field=".constraints",
    ),
    Rule(
        "self.errorBudgets.all(b, self.slis.all(s, s.name != b.sli || has(s.ratio) || "
        "has(s.latency) && has(s.latency.threshold) || has(s.preset) && s.preset.sli != 'LatencyQuantile'))",
        "errorBudgets: a budget needs an SLI that counts events; use ratio, latency with threshold, or a preset "
        "ErrorRatio or SlowRatio",
        lambda spec: all(sli.counts_events() for b in spec.error_budgets for sli in spec.slis if sli.name == b.sli),
        field=".errorBudgets",
    ),
    Rule(
        "self.constraints.all(c, !has(c.sequential) || has(c.sli) && "
        "self.slis.all(s, s.name != c.sli || has(s.ratio) || "
        "has(s.latency) && has(s.latency.threshold) || has(s.preset) && s.preset.sli != 'LatencyQuantile'))",
        "constraints: sequential needs an SLI that counts events; use ratio, latency with threshold, or a preset "
        "ErrorRatio or SlowRatio, or remove sequential",
        _sequential_counts,
        field=".constraints",
    ),
    Rule(
        "self.slis.all(s, !has(s.scaling) || self.slis.exists(t, (!has(s.scaling.sli) || t.name == s.scaling.sli) && "
        "(has(t.ratio) || has(t.latency) && has(t.latency.threshold) || "
        "has(t.preset) && t.preset.sli != 'LatencyQuantile')))",
        "slis: scaling counts by an SLI that counts events, and there is none of that name; add a ratio, latency with "
        "threshold, or a preset ErrorRatio or SlowRatio, or correct scaling.sli",
        _scaling_is_counted,
        field=".slis",
    ),
    Rule(
        "self.constraints.all(c, !has(c.sli) || self.slis.all(s, s.name != c.sli || !has(s.scaling)))",
        "constraints: scaling describes a whole trial and cannot withdraw a canary in time; bound the SLI behind it, "
        "and let an objective name the scaling",
        _scaling_is_whole,
        field=".constraints",
    ),
    Rule(
        "!has(self.trial.earlySuccess) || !self.trial.earlySuccess || "
        "self.constraints.all(c, has(c.builtin) || c.errors == 'GuardOnly' || has(c.sequential) && "
        "has(c.max) && !has(c.min) && !has(c.relativeToControl)) && "
        "self.objectives.all(o, !has(o.sli) && (!has(o.terms) || o.terms.all(t, !has(t.sli))))",
        "trial.earlySuccess: only a bound with max and sequential, without min and relativeToControl, can be shown "
        "early, and a measured objective needs the whole trial; change constraints and objectives, or remove "
        "earlySuccess",
        _early_can_be_shown,
        field=".trial.earlySuccess",
    ),
    Rule(
        "self.verification.replicates == 0 || "
        + unless_malformed(DURATION_PATTERN, "self.trial.warmUp", "self.verification.duration", "self.trial.deadline")
        + "duration(self.trial.warmUp) + duration(self.verification.duration) < duration(self.trial.deadline)",
        "trial.deadline must be longer than trial.warmUp + verification.duration; raise trial.deadline or shorten "
        "verification.duration",
        _verification_fits,
        field=".trial.deadline",
    ),
    Rule(
        "self.parameters.all(p, !has(p.nodeSelector)) || self.prices.nodes.size() > 0",
        "prices.nodes: a nodeSelector parameter needs the price of each node type; add prices.nodes",
        lambda spec: all(p.node_selector is None for p in spec.parameters) or len(spec.prices.nodes) > 0,
        field=".prices.nodes",
    ),
)


class ExperimentSpec(WireModel):
    """What is tuned, what must hold, and how far trials may go."""

    mode: Mode = Field(
        Mode.RECOMMEND,
        description="Observe: measure the present settings only. Recommend: search and recommend. Promote: also act.",
    )
    paused: bool = Field(False, description="No new trials, and a live trial is withdrawn.")
    target_ref: TargetRef = Field(description="The workload under tuning; immutable.")
    parameters: Annotated[tuple[Parameter, ...], Keyed("name")] = Field(
        description="What may be changed; frozen once a trial exists.", min_length=1, max_length=12
    )
    parameter_constraints: Annotated[tuple[ParameterConstraint, ...], Keyed("name")] = Field(
        (), description="Relations between parameters; frozen once a trial exists.", max_length=12
    )
    slis: Annotated[tuple[Sli, ...], Keyed("name")] = Field(
        description="What is measured; frozen once a trial exists.", min_length=1, max_length=12
    )
    telemetry: Telemetry | None = Field(
        None,
        description="Which metrics store answers; frozen once a trial exists. Unset: the store `default`.",
    )
    # no list-map: server-side apply would merge the default objective with those of the user
    objectives: tuple[Objective, ...] = Field(
        (Objective(name="cost", builtin="ResourceCost"),),
        description="What is improved; frozen once a trial exists. Two make a Pareto front. Default: the lowest "
        "ResourceCost.",
        min_length=1,
        max_length=2,
        json_schema_extra={"default": [{"name": "cost", "goal": "Minimize", "builtin": "ResourceCost"}]},
    )
    constraints: Annotated[tuple[Constraint, ...], Keyed("name")] = Field(
        description="Bounds that every assignment must keep.", min_length=1, max_length=12
    )
    error_budgets: Annotated[tuple[ErrorBudget, ...], Keyed("name")] = Field(
        (), description="SLOs, and what the experiments may spend of them.", max_length=8
    )
    trial: TrialTiming = section(TrialTiming, "The course of one trial.")
    canary: Canary = section(Canary, "The arms of a trial; frozen once a trial exists.")
    traffic: Traffic = section(Traffic, "How the arms get traffic; frozen once a trial exists.")
    safety: Safety = section(Safety, "The safety monitor.")
    owner: Text = Field(
        "",
        description="Team or person. Events carry it as the annotation trimtab.dev/owner, alerts get it by a join with "
        "trimtab_experiment_owner.",
    )
    search: Search = section(Search, "The optimizer.")
    stopping: Stopping = section(Stopping, "When the Experiment ends.")
    verification: Verification = section(Verification, "Fresh trials of the recommendation, judged alone.")
    promotion: Promotion = section(Promotion, "What happens with a verified recommendation.")
    warm_start: WarmStart | None = Field(None, description="Where earlier knowledge comes from.")
    schedule: Schedule | None = Field(None, description="When trials may run. Unset: at any time.")
    prices: Prices = section(Prices, "What resources cost; frozen once a trial exists.")

    RULES = _CROSS_RULES


def _frozen(field: str) -> Rule:
    same = f"has(self.spec.{field}) == has(oldSelf.spec.{field}) && "
    equal = f"(!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})"
    return Rule(
        f"oldSelf.?status.trialsCreated.orValue(0) == 0 || {same}{equal}",
        f"spec.{field} is frozen once a trial exists; create a new Experiment with warmStart.experimentRef instead",
        field=f".spec.{field}",
    )


class Experiment(WireModel):
    """Tunes a production workload by small, guarded trials, and recommends what it found."""

    spec: ExperimentSpec = Field(description="What is tuned, what must hold, and how far trials may go.")
    status: ExperimentStatus | None = Field(None, description="Written by the operator.")

    RULES = (
        Rule(
            "self.metadata.name.size() <= 63",
            "metadata.name may have at most 63 characters, as it becomes a label's value; choose a shorter one",
        ),
        *(_frozen(field) for field in FROZEN),
        Rule(
            "oldSelf.?status.trialsCreated.orValue(0) <= self.?status.trialsCreated.orValue(0)",
            "status.trialsCreated never shrinks: it says which Trials must exist; restore status instead",
        ),
    )
