"""Why there are no series of the target's pods: the metric has another name, its pods another label, or it is counted
by a proxy, which cannot tell arms apart.

Asked in preflight only, once nothing was found. Whatever the store does not answer is left out of the explanation.
"""

from __future__ import annotations

import asyncio

from trimtab.adapters.series_store import QueryFailed, SeriesStore
from trimtab.domain.names import pod_pattern
from trimtab.domain.placeholder import fill
from trimtab.ports import PodSet
from trimtab.slo.promql import quoted
from trimtab.slo.series import Series

EMPTY = "check the metric's name and that its pods are scraped with labels namespace and pod"
POD_LABELS = ("pod_name", "kubernetes_pod_name", "k8s_pod_name", "exported_pod")
OWN_PODS = (
    "scrape the target's own pods: PlainHTTP, OpenTelemetry or GRPC metrics, or a sidecar's (Istio, Linkerd, Envoy)"
)
ANYWHERE = '__trimtab__=""'  # a matcher in place of $selector that every series matches


async def why_absent(
    client: SeriesStore, selectors: tuple[str, ...], pods: PodSet, now: float, timeout: float
) -> tuple[str, str]:
    """(problem, remedy) in words.

    Args:
        selectors: PromQL vector selectors with `$selector`, none of which has series of these pods.
    """
    names = " or ".join(dict.fromkeys(s.replace("{$selector}", "") for s in selectors))
    for selector in selectors:
        found = await _elsewhere(client, selector, pods, now, timeout)
        if found is not None:
            return found
    return f"no series of {names} for the target's pods", EMPTY


async def _elsewhere(
    client: SeriesStore, selector: str, pods: PodSet, now: float, timeout: float
) -> tuple[str, str] | None:
    metric, pattern = selector.partition("{")[0], quoted(pod_pattern(pods.workloads))
    asked = [f"count({fill(selector, f'{label}=~{pattern}')})" for label in POD_LABELS]
    asked.append(f"count by (namespace) ({fill(selector, f'pod=~{pattern}')})")
    asked.append(f"count by (namespace, pod) ({fill(selector, ANYWHERE)})")
    try:
        *others, alike, everywhere = await asyncio.gather(*(client.vector(a, now, timeout) for a in asked))
    except QueryFailed:
        return None
    for label, rows in zip(POD_LABELS, others, strict=True):
        if rows:
            problem = f"{metric} names the target's pods in the label {label}, arms are told apart by pod"
            return problem, "relabel when scraping: __meta_kubernetes_pod_name to pod, and the namespace to namespace"
    if alike:
        spaces = " and ".join(sorted(r.label("namespace") or '""' for r in alike))
        problem = f"{metric} of pods named like the target's has the namespace {spaces}, not {pods.namespace}"
        return problem, "scrape the target's pods, and relabel __meta_kubernetes_namespace to namespace"
    return _of_others(metric, everywhere)


def _of_others(metric: str, rows: tuple[Series, ...]) -> tuple[str, str] | None:
    if not rows:
        return None
    named = sorted((r.label("namespace"), r.label("pod")) for r in rows if r.label("pod"))
    if not named:
        problem = f"{metric} has no label pod, by which arms are told apart"
        return problem, "relabel when scraping: __meta_kubernetes_pod_name to pod, and the namespace to namespace"
    example = "/".join(part for part in named[0] if part)
    problem = (
        f"{metric} is there for other pods only (such as {example}): the target's are not scraped, or a proxy in front "
        "counts for them, and all arms share its Service"
    )
    return problem, OWN_PODS


__all__ = ["EMPTY", "why_absent"]
