"""The small service and the short Experiment that fault plans are played on: windows of seconds, a few trials."""

from __future__ import annotations

from typing import Any

from trimtab.domain.kinds import HORIZONTAL_POD_AUTOSCALERS, HTTP_ROUTES, VERTICAL_POD_AUTOSCALERS
from trimtab.domain.names import GROUP, VERSION
from trimtab.simulate.faults.earlier import EARLIER, earlier
from trimtab.simulate.faults.kinds import BESIDE
from trimtab.simulate.faults.plan import Scenario
from trimtab.simulate.manifests import manifests_for
from trimtab.simulate.objects import SERVED
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting
from trimtab.workload import WorkloadSpec, parse_workload

NAME, NAMESPACE = "tune", "shop"
REPLICAS = 8
SCRAPE_SECONDS = 1.0
SIZED = ("2", "2Gi")
SCARCE, UNDERSIZED = ("600m", "1Gi"), ("400m", "768Mi")  # there is something to gain; a bound is broken
MAX_COST = "0.01"  # $: reckoned with their deadlines two trials fit
BEHIND = ("Route", "Replicas", "Scaled")  # what gets its traffic by a route
ARMS = 3  # pods of each arm of a wide one
SHARE_PERCENT = "10"  # as much for an arm as a pod of the target has
SLOW = {"name": "slow-share", "goal": "Minimize", "sli": "slow"}

WORKLOAD = """
name: web-service
seed: 7
target: {deployment: web, service: web, container: web, selector: {app.kubernetes.io/name: web}}
load: {requestsPerSecond: 6000}
request:
  cpu: 375us
  cpuCv: 1
  burstiness: 20
  dependency: {mean: 30ms, cv: 0.7}
  concurrency: 256
  queue: 1024
  timeout: 5s
  errorPercent: 0.01
cpu: {background: 20m, contendedPercent: 10, nodeCores: "16"}
memory:
  runtime: 160Mi
  liveSet: 224Mi
  perRequest: 512Ki
  allocatedPerRequest: 100Ki
  gcPercent: 100
  usablePercent: 92
  tracePerGib: 600ms
  pausePerGib: 150ms
  spikePercent: 5
  spikeInterval: 1m
startup: {base: 1s, cpu: 500ms, coldPercent: 20, coldFor: 2s, shutdown: 500ms}
slo: {latencyThreshold: 100ms, maxSlowPercent: 5, maxErrorPercent: 0.1}
effects:
  env:
  - {name: GOGC, field: gcPercent}
  nodes:
    key: node.kubernetes.io/instance-type
    types: [{value: m5.large, cpuFactor: 1}, {value: c5.large, cpuFactor: 0.8}]
buckets: [5ms, 10ms, 25ms, 50ms, 75ms, 100ms, 150ms, 250ms, 500ms, 1s, 2500ms]
"""


def experiment(scenario: Scenario) -> dict[str, Any]:
    """The Experiment's manifest."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Experiment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": _spec(scenario) | _asked(scenario),
    }


def _asked(scenario: Scenario) -> dict[str, Any]:
    """What the spec says beyond the usual."""
    usual = _spec(scenario)
    return {
        "Plain": {},
        "Screen": {"trial": usual["trial"] | {"fidelity": {"screen": "4s"}}},
        "MaxCost": {"stopping": usual["stopping"] | {"maxCost": MAX_COST}},
        "Repair": {"search": usual["search"] | {"infeasibleBaseline": "Repair"}},
        "Measured": {"objectives": [SLOW]},
        "Front": {"objectives": [*usual["objectives"], SLOW]},
        "Early": {
            "trial": usual["trial"] | {"duration": "12s", "earlySuccess": True},
            "constraints": [EASY, usual["constraints"][1]],
            "errorBudgets": [_BUDGET | {"objectivePercent": "99"}],
        },
        "Route": {"traffic": _BY_ROUTE},
        "Replicas": {"traffic": _BY_ROUTE, "parameters": [usual["parameters"][0], PODS]},
        "Scaled": {
            "traffic": {**_BY_ROUTE, "httpRoute": _ROUTE | {"canaryPercent": "16"}},
            "parameters": [usual["parameters"][0], AIM],
            "trial": usual["trial"] | {"duration": "40s", "deadline": "180s"},
            "verification": usual["verification"] | {"duration": "40s"},
        },
        "Namespaces": {},
        "Values": {
            "slis": [*usual["slis"], *VALUES],
            "constraints": [*usual["constraints"], *BOUNDS],
            "objectives": [{"name": "both", "terms": [{"builtin": "ResourceCost"}, {"sli": "tail", "weight": "2"}]}],
        },
        "Variables": {"parameters": [*usual["parameters"], *VARIABLES], "prices": {"nodes": NODE_PRICES}},
        "WarmStart": {"warmStart": {"historyRef": {"name": EARLIER}, "maxAge": "24h", "assignments": [GIVEN]}},
        "Wide": {"canary": usual["canary"] | {"replicas": ARMS}},
    }[scenario.asks]


def _spec(scenario: Scenario) -> dict[str, Any]:
    cpu = {"min": "250m", "max": "2", "step": "50m", "scale": "Log"}
    memory = {"min": "384Mi", "max": "2Gi", "step": "64Mi", "scale": "Log"}
    return {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "owner": "team-web",
        "parameters": [
            {"name": "cpu", "container": {"name": "web", "resource": "cpu", "apply": "Both"}, "quantity": cpu},
            {"name": "memory", "container": {"name": "web", "resource": "memory", "apply": "Both"}, "quantity": memory},
        ],
        "slis": [
            {
                "name": "slow",
                "latency": {"histogram": "http_request_duration_seconds", "threshold": "0.1", "unit": "s"},
                "minSamples": 200,
            },
            {"name": "errors", "preset": {"source": "PlainHTTP", "sli": "ErrorRatio"}, "minSamples": 200},
        ],
        "objectives": [{"name": "cost", "goal": "Minimize", "builtin": "ResourceCost"}],
        "constraints": [
            {"name": "p95", "sli": "slow", "max": "0.05", "abort": {"breaches": 3, "outOf": 4}},
            {"name": "errors", "sli": "errors", "max": "0.002", "errors": "GuardOnly", "abort": _ABORT},
        ],
        "errorBudgets": [_BUDGET],
        "trial": {"warmUp": "1s", "duration": "6s", "deadline": "90s"} | _at_a_time(scenario),
        "canary": {"replicas": 1, "control": "Clone", "maxSharePercent": "50"},
        "safety": {"probabilityPercent": "95", "checkInterval": "1s", "staleAfter": "8s", "pauseOnAlerts": ALERTS},
        "search": {"designer": scenario.designer, "seed": 1, "initialTrials": 2},
        "stopping": {"maxTrials": scenario.trials, "maxDuration": "12h", "maxInconclusive": 30, "maxInfeasible": 8},
        "verification": {"duration": "10s", "replicates": scenario.replicates},
    }


def _at_a_time(scenario: Scenario) -> dict[str, Any]:
    return {"parallel": scenario.parallel} if scenario.parallel > 1 else {}


_ROUTE = {"name": "shop", "ruleName": "pages", "backendService": "web", "canaryPercent": SHARE_PERCENT}
_BY_ROUTE = {"mode": "HTTPRoute", "httpRoute": _ROUTE}
AIM = {"name": "aim", "autoscaler": {"field": "CPUUtilization"}, "integer": {"min": 40, "max": 80, "step": 5}}
PODS = {"name": "pods", "replicas": {}, "integer": {"min": 4, "max": 10}}
_REQUESTS = "http_requests_total{$selector}"
VALUES: list[dict[str, Any]] = [
    {"name": "tail", "latency": {"histogram": "http_request_duration_seconds", "quantile": "0.95"}, "minSamples": 200},
    {
        "name": "served",
        "value": {
            "query": f"avg(rate({_REQUESTS}[10s]))", "samplesQuery": f"sum(increase({_REQUESTS}[10s]))", "unit": "rps",
        },
    },
    {"name": "memory", "value": {"query": "max(container_memory_working_set_bytes{$selector})", "unit": "B"}},
    {
        "name": "answered",
        "preset": {"source": "PlainHTTP", "sli": "ErrorRatio"},
        "segment": 'container="web"',
        "minSamples": 200,
    },
]  # fmt: skip
"""SLIs that count no events, or only some of them."""
BOUNDS: list[dict[str, Any]] = [
    {"name": "slower", "sli": "slow", "relativeToControl": {"maxIncrease": "0.1"}},
    {"name": "hungrier", "sli": "memory", "relativeToControl": {"maxIncreasePercent": "300"}},
    {"name": "served", "sli": "served", "min": "100"},
    {"name": "memory", "sli": "memory", "min": "1000000", "max": "3000000000"},
    {"name": "answered", "sli": "answered", "max": "0.05", "errors": "GuardOnly"},
]
"""From below, from both sides, and against the control."""
NODE_TYPE = "node.kubernetes.io/instance-type"
ENVIRONMENT = [{"name": "GOGC", "value": "100"}, {"name": "MODE", "value": "safe"}]
VARIABLES: list[dict[str, Any]] = [
    {"name": "gc", "env": {"container": "web", "name": "GOGC"}, "integer": {"min": 50, "max": 200, "step": 25}},
    {"name": "mode", "env": {"container": "web", "name": "MODE"}, "categorical": {"values": ["safe", "fast"]}},
    {"name": "node", "nodeSelector": {"key": NODE_TYPE}, "categorical": {"values": ["m5.large", "c5.large"]}},
]
NODE_PRICES = [
    {"value": "m5.large", "cpuCoreHour": "0.031611", "memoryGiBHour": "0.004237"},
    {"value": "c5.large", "cpuCoreHour": "0.034", "memoryGiBHour": "0.0048"},
]
GIVEN = {"values": [{"name": "cpu", "value": "1500m"}]}
ALERTS = ["ServiceDown", "ErrorsHigh"]
_ABORT = {"breaches": 3, "outOf": 4}
EASY = {"name": "p95", "sli": "slow", "max": "0.3", "sequential": {"maxErrorRatio": "5"}, "abort": _ABORT}
"""Far enough away to be shown within seconds."""
_BUDGET = {
    "name": "availability",
    "sli": "errors",
    "objectivePercent": "99.9",
    "window": "24h",
    "experimentSharePercent": "50",
    "startAbovePercent": "40",
    "rollbackOnBurnRate": [{"short": "30s", "long": "5m", "factor": "14.4"}],
}


def setting(scenario: Scenario = Scenario()) -> Setting:  # noqa: B008 - it is frozen
    """The service, as it stands before anybody tunes it."""
    workload = parse_workload(WORKLOAD)
    cpu, memory = {"Repair": UNDERSIZED, "Measured": SCARCE, "Scaled": SCARCE}.get(scenario.asks, SIZED)
    made = manifests_for(workload, replicas=REPLICAS, cpu=cpu, memory=memory)
    if scenario.asks == "Variables":
        pods = made[0]["spec"]["template"]["spec"]
        pods["nodeSelector"] = {NODE_TYPE: "m5.large"}
        pods["containers"][0]["env"] = ENVIRONMENT
    also = {"Scaled": [autoscaler(workload)], "WarmStart": [earlier()]}.get(scenario.asks, [])
    behind = [route(workload)] if scenario.asks in BEHIND else []
    return Setting(workload, (*made, *behind, *also), NAMESPACE)


def route(workload: WorkloadSpec) -> dict[str, Any]:
    """The route that leads to the service."""
    backend = {"name": workload.target.service, "port": 80}
    spec = {"parentRefs": [{"name": "gateway"}], "rules": [{"name": "pages", "backendRefs": [backend]}]}
    kind = HTTP_ROUTES
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": "shop"}, "spec": spec}


def autoscaler(workload: WorkloadSpec) -> dict[str, Any]:
    """The target's autoscaler, which is content with the pods that there are, and quick."""
    kind, name = HORIZONTAL_POD_AUTOSCALERS, workload.target.deployment
    target = {"type": "Utilization", "averageUtilization": 50}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": 4,
        "maxReplicas": 16,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "tolerance": "0.4"}},
    }
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": spec}


def options(seed: int, scenario: Scenario = Scenario()) -> Options:  # noqa: B008 - it is frozen
    """Its world."""
    scraping = Scraping(interval=SCRAPE_SECONDS, past_days=1.0)
    served = SERVED | {VERTICAL_POD_AUTOSCALERS}
    return Options(seed=seed, scraping=scraping, served=served, beside=beside(scenario))


def beside(scenario: Scenario) -> tuple[str, ...]:
    """The further namespaces of its install."""
    return (BESIDE,) if scenario.asks == "Namespaces" else ()


__all__ = [
    "NAME",
    "NAMESPACE",
    "WORKLOAD",
    "Scenario",
    "autoscaler",
    "beside",
    "experiment",
    "options",
    "route",
    "setting",
]
