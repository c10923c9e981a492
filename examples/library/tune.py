"""Tune a service without Kubernetes: `.venv/bin/python examples/library/tune.py`.

`measure` stands for whatever runs your service with an assignment and measures it: a load test, a model, a simulator.
"""

from __future__ import annotations

import random

from trimtab.optimize import Bound, Optimizer, Range

NOISE = 0.02
RANDOM = random.Random(7)


def cost(x: dict[str, float | int | str]) -> float:
    """$ per hour: known, so nothing has to be learned about it."""
    return 0.032 * float(x["cpu"]) + 0.004 * float(x["memory"])


def truth(x: dict[str, float | int | str]) -> float:
    """p95 latency in seconds: more CPU is faster; too little memory makes everything slow."""
    return 0.05 + 0.1 / max(float(x["cpu"]) - 0.2, 0.02) * (1 + (0.4 / float(x["memory"])) ** 4)


def measure(x: dict[str, float | int | str]) -> tuple[float, float]:
    """(value, standard error)."""
    value = truth(x)
    return value * (1 + NOISE * RANDOM.gauss(0, 1)), NOISE * value


def main() -> None:
    """Ask, measure, tell; then recommend."""
    optimizer = Optimizer(
        {
            "cpu": Range(0.2, 2.0, step=0.05, scale="Log", safer="Higher"),
            "memory": Range(0.25, 2.0, step=0.0625, scale="Log", safer="Higher"),
        },
        objective=cost,
        constraints={"p95": Bound(max=0.3, kind="Latency")},
        baseline={"cpu": 2.0, "memory": 2.0},
        seed=1,
        max_trials=16,
    )
    print(f"{'#':>2}  {'purpose':<9}  {'cpu':>5}  {'memory':>6}  {'$ / h':>7}  {'p95 s':>6}  safe by the model")
    while asked := optimizer.ask():
        for suggestion in asked:
            value, error = measure(suggestion.assignment)
            optimizer.tell(suggestion, {"p95": (value, error)})
            x, sure = suggestion.assignment, suggestion.safety_probability
            print(
                f"{suggestion.number:>2}  {suggestion.purpose:<9}  {x['cpu']:>5.2f}  {x['memory']:>6.3f}"
                f"  {cost(x):>7.4f}  {value:>6.3f}  {'' if sure is None else f'{100 * sure:.1f} %'}"
            )
    print(f"stopped: {optimizer.stopped}")
    found = optimizer.recommend()
    if found is None:
        print("keep the baseline")
        return
    x = found.assignment
    print(f"recommended: cpu {x['cpu']}, memory {x['memory']}: saves {100 * found.saving:.1f} %, {found.message}")
    print(f"in truth its p95 is {truth(x):.3f} s, at most 0.3 s")


if __name__ == "__main__":
    main()
