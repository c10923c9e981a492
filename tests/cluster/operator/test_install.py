"""An operator installed in one namespace: a right that is missing, its kill switch, and a standby that takes over."""

from __future__ import annotations

from typing import Any

from tests.cluster.operator.support import NAME, experiment

from controlplane import ApiClient, binaries, wait_for
from stack import Place, Stack
from stack.chart import render
from stack.place import API

RBAC = "rbac.authorization.k8s.io/v1"


def without(rules: list[dict[str, Any]], resource: str, verb: str) -> list[dict[str, Any]]:
    """The rules of a Role without one verb of one resource."""
    found = []
    for rule in rules:
        if resource in rule["resources"] and verb in rule["verbs"]:
            found.append({**rule, "resources": [resource], "verbs": [v for v in rule["verbs"] if v != verb]})
            rule = {**rule, "resources": [r for r in rule["resources"] if r != resource]}
        found.append(rule)
    return [rule for rule in found if rule["resources"] and rule["verbs"]]


def role_with(client: ApiClient, namespace: str, resource: str, verb: str) -> dict[str, Any]:
    """The operator's Role that grants this."""
    roles = client.list(RBAC, "Role", namespace)
    granting = (r for r in roles for one in r["rules"] if resource in one["resources"] and verb in one["verbs"])
    return next(granting)


def test_a_missing_right_is_named_and_work_goes_on_when_it_is_granted(own_stack: Stack, own_place: Place) -> None:
    place, client = own_place, own_stack.plane.client
    role = role_with(client, place.namespace, "services", "list")
    rules = {"rules": without(role["rules"], "services", "list")}
    client.patch(RBAC, "Role", role["metadata"]["name"], rules, place.namespace)
    place.create(experiment())
    message = place.wait_condition(NAME, "Stalled", reason="RBACDenied")
    assert "services" in message
    assert "list" in message
    assert "grant the right in the chart's Role" in message
    assert place.trials(NAME) == []
    assert place.arms() == []
    client.patch(RBAC, "Role", role["metadata"]["name"], {"rules": role["rules"]}, place.namespace)
    place.wait_condition(NAME, "Stalled", "False", seconds=90)
    place.wait_live(NAME)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_a_right_taken_away_in_the_middle_of_a_trial_hangs_no_delete(own_stack: Stack, own_place: Place) -> None:
    """What is around the target cannot be read any more: people are answered and what is live is undone."""
    place, client = own_place, own_stack.plane.client
    place.create(experiment())
    trial = place.wait_live(NAME, {"Measuring"})
    role = role_with(client, place.namespace, "limitranges", "list")
    rules = {"rules": without(role["rules"], "limitranges", "list")}
    client.patch(RBAC, "Role", role["metadata"]["name"], rules, place.namespace)
    message = place.wait_condition(NAME, "Stalled", reason="RBACDenied", seconds=90)
    assert "limitranges" in message
    place.annotate(NAME, "skip", str(trial["spec"]["index"]))
    assert "withdrawn" in place.wait_handled(NAME, "skip")
    assert place.wait_outcome(trial)["reason"] == "Skipped"
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_a_namespace_without_rights_keeps_no_canary_elsewhere(own_stack: Stack, own_place: Place) -> None:
    """One of an install's namespaces is gone, or somebody took its Role away: the others are served all the same."""
    place, operator = own_place, own_stack.operator
    operator.stop()
    operator.environment["TRIMTAB_NAMESPACE"] = f"{place.namespace},{place.namespace}-gone"
    operator.start()
    place.create(experiment())
    trial = place.wait_live(NAME, {"Measuring"})
    assert "trimtab_unread_namespaces 1.0" in operator.get("/metrics").splitlines()
    place.annotate(NAME, "skip", str(trial["spec"]["index"]))
    assert place.wait_outcome(trial)["reason"] == "Skipped"
    assert operator.is_leading()
    place.delete(NAME)
    place.wait_deleted(NAME)
    assert operator.get("/healthz").splitlines() == ["safety: ok", "watch: ok"]
    log = operator.component.tail(2000).splitlines()
    assert sum("watch.restarted" in line for line in log) <= 1, "it is not watched for again and again"


def namespace_gone(place: Place) -> None:
    gone = lambda: place.client.find("v1", "Namespace", place.namespace) is None  # noqa: E731
    wait_for(gone, f"namespace {place.namespace} to be gone", seconds=60)


def test_its_own_namespace_deleted_in_the_middle_of_a_trial(own_stack: Stack, own_place: Place) -> None:
    """The rights go with the namespace; what they are needed for must have happened before."""
    place = own_place
    place.create(experiment())
    place.wait_live(NAME, {"Measuring"})
    place.client.delete("v1", "Namespace", place.namespace)
    namespace_gone(place)


def test_its_own_namespace_deleted_while_it_was_away(own_stack: Stack, own_place: Place) -> None:
    """Nobody has the rights any more, so the runbook's way out must work for an administrator."""
    place = own_place
    place.create(experiment())
    place.wait_live(NAME, {"Measuring"})
    own_stack.operator.kill()
    place.client.delete("v1", "Namespace", place.namespace)
    wait_for(lambda: not place.arms(), "the namespace controller to have taken the arms", seconds=60)
    wait_for(lambda: not place.client.list(RBAC, "Role", place.namespace), "the Roles to be gone", seconds=60)
    for kind in ("Trial", "Experiment"):
        (left,) = place.client.list(API, kind, place.namespace)
        assert left["metadata"]["finalizers"] == ["trimtab.dev/undo"]
        body = {"metadata": {"finalizers": None}}
        place.client.patch(API, kind, left["metadata"]["name"], body, place.namespace)
    namespace_gone(place)


def own_deployment(stack: Stack) -> str:
    """The operator's Deployment as the chart renders it, without pods: the process of the test stands for them. Returns
    its name, which the process is told in the variable that its pods are told."""
    namespace = stack.options.namespace
    values = {"scope": "Namespace", "prometheus": {"url": stack.prometheus.url}}
    rendered = render(binaries(["helm"])["helm"], namespace, values)
    deployment = next(d for d in rendered if d["kind"] == "Deployment")
    deployment["spec"]["replicas"] = 0
    deployment["metadata"]["namespace"] = namespace
    stack.plane.client.create(deployment)
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    name = next(v["value"] for v in variables if v["name"] == "TRIMTAB_DEPLOYMENT_NAME")
    assert name == deployment["metadata"]["name"]
    return str(name)


def test_the_kill_switch_on_the_operators_own_deployment(own_stack: Stack, own_place: Place) -> None:
    place, operator = own_place, own_stack.operator
    name = own_deployment(own_stack)
    operator.stop()
    operator.environment["TRIMTAB_DEPLOYMENT_NAME"] = name
    operator.start()
    place.create(experiment())
    trial = place.wait_live(NAME, {"Measuring"})

    def switch(words: str | None) -> None:
        body = {"metadata": {"annotations": {"trimtab.dev/pause": words}}}
        place.client.patch("apps/v1", "Deployment", name, body, place.namespace)

    switch("frank: nothing anywhere until I am back")
    outcome = place.wait_outcome(trial, seconds=90)
    assert (outcome["phase"], outcome["reason"]) == ("Aborted", "OperatorPaused"), outcome
    assert "frank" in outcome["message"]
    assert "frank" in place.wait_condition(NAME, "Paused", reason="OperatorPaused")
    place.wait_clean_but_locked()
    switch(None)
    place.wait_condition(NAME, "Paused", "False", "Resumed", seconds=90)
    place.wait_live(NAME, after=int(trial["spec"]["index"]), seconds=90)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_a_standby_takes_over_from_a_killed_leader(own_stack: Stack, own_place: Place) -> None:
    place = own_place
    standby = own_stack.new_operator("standby")
    standby.start(ready=False)
    wait_for(lambda: standby.get("/healthz"), "the standby to answer", seconds=60)
    assert not standby.is_leading()
    place.create(experiment(trial={"duration": "20s"}))
    trial = place.wait_live(NAME, {"Measuring"})
    own_stack.operator.kill()
    wait_for(standby.is_leading, "the standby to lead", seconds=60)
    outcome = place.wait_outcome(trial, seconds=90)
    assert outcome["phase"] == "Succeeded", outcome
    assert place.trials(NAME)[0]["metadata"]["uid"] == trial["metadata"]["uid"]
    own_stack.operator.start(ready=False)
    wait_for(lambda: own_stack.operator.get("/healthz"), "the first operator to be back as a standby", seconds=60)
    assert not own_stack.operator.is_leading()
    place.delete(NAME)
    place.wait_deleted(NAME)
