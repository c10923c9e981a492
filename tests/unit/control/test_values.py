"""Environment variables and node selectors: today's value as the Deployment has it, and what an arm gets."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.control import builders
from tests.unit.control.builders import BASELINE

from trimtab.control.arms import baseline_assignment, cost_model, plan_arms, pod_changes
from trimtab.control.values import BaselineError
from trimtab.domain.cost import NodePrice, Prices
from trimtab.domain.kube import EnvSetting, Target
from trimtab.domain.space import (
    Assignment,
    Categorical,
    EnvValue,
    NodeSelectorKey,
    Numeric,
    Parameter,
    Scale,
    SearchSpace,
)
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import Trial, TrialPhase

D = Decimal
KEY = "node.kubernetes.io/instance-type"
HEAP = Parameter(
    "heap", EnvValue("web", "JAVA_OPTS", "-Xmx{}m -server"), Numeric(D(128), D(1024), D(64), Scale.LOG, True)
)
RATIO = Parameter("ratio", EnvValue("web", "RATIO"), Numeric(D("0.1"), D(2), D("0.1"), Scale.LINEAR))
GC = Parameter("gc", EnvValue("web", "GC_POLICY"), Categorical(("serial", "parallel")))
NODE = Parameter("node", NodeSelectorKey(KEY), Categorical(("m5.large", "c5.large")))


def spec_of(*parameters: Parameter) -> ExperimentSpec:
    return builders.spec(space=SearchSpace(parameters))


def target_with(env: dict[str, str | None], node: str | None = "m5.large", **changes: Any) -> Target:
    made = builders.target(node_selector=((KEY, node),) if node is not None else (), **changes)
    return replace(made, containers=tuple(replace(c, env=tuple(env.items())) for c in made.containers))


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (HEAP, "-Xmx512m -server", D(512)),
        (HEAP, "-Xmx500m -server", D(500)),  # between two steps of the grid
        (RATIO, "0.5", D("0.5")),
        (GC, "parallel", "parallel"),
    ],
)
def test_what_a_variable_holds_today(parameter: Parameter, text: str, value: Decimal | str) -> None:
    locus = parameter.locus
    assert isinstance(locus, EnvValue)
    target = target_with({"OTHER": "x", locus.name: text})
    baseline = baseline_assignment(spec_of(parameter), target, builders.surroundings())
    assert baseline[parameter.name] == value
    (setting,) = pod_changes(spec_of(parameter), target, baseline).env
    assert setting == EnvSetting("web", locus.name, text)


def test_the_node_of_today() -> None:
    baseline = baseline_assignment(spec_of(NODE), target_with({}), builders.surroundings())
    assert baseline == Assignment.of({"node": "m5.large"})
    assert pod_changes(spec_of(NODE), target_with({}), baseline.replace("node", "c5.large")).node_selector == (
        (KEY, "c5.large"),
    )


@pytest.mark.parametrize(
    ("parameter", "env", "node", "reason", "field", "words"),
    [
        (HEAP, {}, None, "NoBaseline", "env", "JAVA_OPTS of container web is not set"),
        (HEAP, {"JAVA_OPTS": None}, None, "NoBaseline", "env", "comes from a ConfigMap, a Secret or the pod itself"),
        (HEAP, {"JAVA_OPTS": "-Xms1g"}, None, "NoBaseline", "env.format", "does not read -Xmx{}m -server"),
        (HEAP, {"JAVA_OPTS": "-Xmx1gm -server"}, None, "NoBaseline", "env", "'1g' at present, which is not a whole"),
        (HEAP, {"JAVA_OPTS": "-Xmxm -server"}, None, "NoBaseline", "env", "'' at present"),
        (HEAP, {"JAVA_OPTS": "-Xmxnanm -server"}, None, "NoBaseline", "env", "'nan' at present"),
        (HEAP, {"JAVA_OPTS": "-Xmx512.5m -server"}, None, "NoBaseline", "env", "not a whole number"),
        (RATIO, {"RATIO": "0.50"}, None, "NoBaseline", "env", "0.50 at present, which trials would write 0.5"),
        (RATIO, {"RATIO": "1e0"}, None, "NoBaseline", "env", "which trials would write 1"),
        (HEAP, {"JAVA_OPTS": "-Xmx64m -server"}, None, "BaselineOutsideSpace", "integer", "is 64 at present"),
        (RATIO, {"RATIO": "3"}, None, "BaselineOutsideSpace", "decimal", "is 3 at present, outside 0.1 to 2"),
        (GC, {"GC_POLICY": "zgc"}, None, "BaselineOutsideSpace", "categorical", "is zgc at present, which is none"),
        (NODE, {}, None, "NoBaseline", "nodeSelector", f"has no nodeSelector {KEY}"),
        (NODE, {}, "t3.large", "BaselineOutsideSpace", "categorical", "is t3.large at present"),
    ],
)  # fmt: skip
def test_what_is_no_baseline(
    parameter: Parameter, env: dict[str, str | None], node: str | None, reason: str, field: str, words: str
) -> None:
    with pytest.raises(BaselineError) as caught:
        baseline_assignment(spec_of(parameter), target_with(env, node), builders.surroundings())
    assert caught.value.reason == reason
    assert caught.value.field == f"spec.parameters[{parameter.name}].{field}"
    assert words in caught.value.problem
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_container_that_is_not_there() -> None:
    elsewhere = replace(HEAP, locus=EnvValue("api", "JAVA_OPTS"))
    with pytest.raises(BaselineError) as caught:
        baseline_assignment(spec_of(elsewhere), target_with({}), builders.surroundings())
    assert caught.value.reason == "ContainerNotFound"
    assert caught.value.remedy == "use one of its containers: web"


def test_values_do_not_show_in_what_is_logged() -> None:
    assert "s3cret" not in repr(target_with({"TOKEN": "s3cret"}))


def trial_of(**values: Any) -> Trial:
    made = builders.trial(TrialPhase.DEPLOYING)
    assignment = Assignment.of({**BASELINE, **values})
    return replace(made, suggestion=replace(made.suggestion, assignment=assignment))


class TestPlans:
    def digests(self, *parameters: Parameter, **values: Any) -> set[str]:
        usual = builders.spec().space.parameters
        of = trial_of(**values)
        target = target_with({"GC_POLICY": "serial"})
        return {p.spec_digest for p in plan_arms(spec_of(*usual, *parameters), target, builders.surroundings(), of)}

    def test_only_the_canary_gets_the_other_value(self) -> None:
        spec = spec_of(*builders.spec().space.parameters, GC, NODE)
        of = trial_of(gc="parallel", node="c5.large")
        canary, control = plan_arms(spec, target_with({"GC_POLICY": "serial"}), builders.surroundings(), of)
        assert [e.value for e in (*canary.env, *control.env)] == ["parallel", "serial"]
        assert (canary.node_selector, control.node_selector) == (((KEY, "c5.large"),), ((KEY, "m5.large"),))
        assert canary.spec_digest != control.spec_digest

    def test_a_value_changes_the_digest_of_the_canary_alone(self) -> None:
        one, two = self.digests(GC, gc="serial"), self.digests(GC, gc="parallel")
        assert len(one & two) == 1

    def test_a_plan_without_them_has_the_digest_it_always_had(self) -> None:
        """An operator that is upgraded in the middle of a trial knows its arms again."""
        canary, _ = plan_arms(builders.spec(), target_with({}, None), builders.surroundings(), trial_of())
        fields = repr(replace(canary, spec_digest=""))
        assert canary.spec_digest == hashlib.sha256(fields.encode()).hexdigest()[:16]
        assert "env" not in fields
        assert "node_selector" not in fields


def test_a_node_type_has_its_own_price() -> None:
    prices = Prices(0.03, 0.004, (NodePrice("m5.large", 0.03, 0.004), NodePrice("c5.large", 0.06, 0.008)))
    spec = builders.spec(prices=prices, space=SearchSpace((*builders.spec().space.parameters, NODE)))
    cost = cost_model(spec, target_with({}))
    cheap, dear = (Assignment.of({**BASELINE, "node": node}) for node in ("m5.large", "c5.large"))
    assert cost.hourly(dear) == pytest.approx(2 * cost.hourly(cheap))
