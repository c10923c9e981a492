"""Batches against a count of every request, and what they do to a pod."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from stack.paths import EXAMPLES
from trimtab.workload import Resources, WorkloadError, WorkloadSpec, evaluate, load_workload, parse_workload
from trimtab.workload.batching import SINGLE, batches, least_cpu
from trimtab.workload.effects import adapted
from trimtab.workload.model import asked_cores
from trimtab.workload.units import GIB

WEB = load_workload(EXAMPLES / "web-service" / "workload.yaml")
POD = Resources.equal(4.0, 6 * GIB)


def ranking(**batch: Any) -> WorkloadSpec:
    document = yaml.safe_load((EXAMPLES / "inference" / "workload.yaml").read_text())
    return parse_workload(yaml.safe_dump({**document, "batch": {**document["batch"], **batch}}))


def gathered(size: int, wait: float, rate: float, seed: int = 1) -> tuple[float, float]:
    """(requests of a batch, seconds that a request waits), on average over 200,000 Poisson arrivals."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, 200_000))
    at, sizes, waited = 0, [], 0.0
    while at < len(arrivals) - size:
        full, late = arrivals[at + size - 1], arrivals[at] + wait
        end = min(full, late)
        following = at + size if full <= late else int(np.searchsorted(arrivals, end, side="right"))
        waited += float((end - arrivals[at:following]).sum())
        sizes.append(following - at)
        at = following
    return float(np.mean(sizes)), waited / sum(sizes)


@pytest.mark.parametrize(
    ("size", "wait", "rate"),
    [
        (2, 0.04, 60.0),
        *(pytest.param(*each, marks=pytest.mark.thorough) for each in ((4, 0.04, 300.0), (8, 0.1, 20.0))),
    ],
)
def test_batches_are_as_large_as_a_count_says(size: int, wait: float, rate: float) -> None:
    found = batches(ranking(size=size, wait=f"{wait * 1000:g}ms"), rate)
    counted, waited = gathered(size, wait, rate)
    assert found.size == pytest.approx(counted, rel=0.01)
    assert found.wait_s == pytest.approx(waited, rel=0.01)


def test_the_law_of_waits_is_one() -> None:
    for size, rate in ((2, 1.0), (6, 50.0), (64, 1e4)):
        ((values, weights),) = batches(ranking(size=size), rate).delays
        assert weights.sum() == pytest.approx(1.0)
        assert values.min() >= 0
        assert values.max() <= ranking(size=size).batch.wait  # type: ignore[union-attr]


def test_without_batches_nothing_changes() -> None:
    assert batches(WEB, 800.0) is SINGLE
    assert batches(ranking(size=1), 60.0) is SINGLE
    assert batches(ranking(size=4), 0.0) is SINGLE
    assert least_cpu(WEB) == WEB.request.cpu


def test_larger_batches_take_less_cpu_and_more_time() -> None:
    pods = [evaluate(ranking(size=size), POD, 60.0) for size in (1, 2, 4, 6)]
    used, taken = [p.cpu_usage_cores for p in pods], [p.latency.mean_s for p in pods]
    assert used == sorted(used, reverse=True)
    assert taken == sorted(taken)
    assert used[-1] < 0.6 * used[0]


def test_fewer_requests_make_smaller_batches_that_wait_longer() -> None:
    few, many = (evaluate(ranking(size=4), POD, load) for load in (5.0, 60.0))
    assert few.cpu_usage_cores / 5 > many.cpu_usage_cores / 60
    assert batches(ranking(size=4), 5.0).wait_s > batches(ranking(size=4), 60.0).wait_s


def test_no_load_needs_less_than_the_least() -> None:
    made = ranking(size=6)
    for load in (5.0, 50.0, 120.0):
        used = evaluate(made, POD, load).cpu_usage_cores
        assert asked_cores(made, POD, load) >= used * (1 - 1e-9)
        assert used >= load * least_cpu(made)


def test_a_variable_sets_the_size() -> None:
    made = ranking(size=2)
    found = adapted(made, {"MAX_BATCH": "6"}, {})
    assert found.batch is not None
    assert (found.batch.size, found.batch.wait) == (6, 0.04)
    assert found.digest != made.digest


def test_a_size_of_no_batch_is_refused() -> None:
    document = yaml.safe_load((EXAMPLES / "web-service" / "workload.yaml").read_text())
    document["effects"] = {"env": [{"name": "B", "field": "batch"}]}
    with pytest.raises(WorkloadError, match=r"field batch, but there are no batches; add batch: \{wait"):
        parse_workload(yaml.safe_dump(document))


def test_a_workload_without_batches_has_the_digest_that_it_had() -> None:
    assert WEB.batch is None
    assert "batch" not in WEB.model_dump(exclude_none=True)
    assert parse_workload((EXAMPLES / "node-type" / "workload.yaml").read_text()).digest == "f80d54a1e6d78a8b"
