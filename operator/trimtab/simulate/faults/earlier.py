"""What an earlier Experiment on the built-in service has taught: for one that begins warm."""

from __future__ import annotations

from typing import Any

from trimtab.api.history import experiment_history

EARLIER = "earlier-history"
_TAUGHT = (("2", "2Gi", 0.012), ("1500m", "1536Mi", 0.014), ("1", "1Gi", 0.02), ("350m", "640Mi", 0.4))
"""cpu, memory, and the fraction of slow requests."""
_TOTAL, _ERROR = 3600.0, 0.004
_TIMES = ("01:00:00Z", "01:00:02Z", "01:00:04Z", "01:00:05Z", "01:00:11Z", "01:00:12Z", "01:00:13Z")
_DAY = "2026-03-01T"


def earlier() -> dict[str, Any]:
    """The ConfigMap, as `trimtab export-history` prints it; of the day before a simulated world begins."""
    trials = [_trial(index, *taught) for index, taught in enumerate(_TAUGHT)]
    return experiment_history("earlier", "shop", trials)


def _trial(index: int, cpu: str, memory: str, slow: float) -> dict[str, Any]:
    created, deploying, warming, measuring, ended, draining, finished = (_DAY + time for time in _TIMES)
    window = {"start": measuring, "end": ended}
    phase = "Infeasible" if slow > 0.05 else "Succeeded"
    readings = [_reading(sli, arm, window, value) for sli, value in (("slow", slow), ("errors", 0.0)) for arm in _ARMS]
    times = {
        "deploying": deploying, "warmingUp": warming, "measuring": measuring, "draining": draining,
        "finished": finished,
    }  # fmt: skip
    spec = {
        "assignment": [{"name": "cpu", "value": cpu}, {"name": "memory", "value": memory}],
        "cost": 0.5,
        "environment": {
            "image": "web:1", "kubernetesVersion": "v1.36.3", "targetReplicas": 8, "targetUID": "earlier",
            "templateHash": "earlier",
        },
        "experiment": {"name": "earlier", "uid": "earlier"},
        "index": index,
        "purpose": "Baseline" if index == 0 else "Search",
        "seed": index,
        "specDigest": "earlier",
        "suggestion": {"byModel": False, "modelDigest": "earlier", "predictions": [], "reason": "it was"},
        "summary": f"cpu={cpu} memory={memory}",
    }  # fmt: skip
    return {
        "metadata": {
            "name": f"earlier-{index}",
            "namespace": "shop",
            "uid": f"u-{index}",
            "creationTimestamp": created,
        },
        "spec": spec,
        "status": {
            "phase": phase,
            "times": times,
            "window": window,
            "deadline": _DAY + "01:01:30Z",
            "load": [{"arm": arm, "rpsPerPod": 600.0} for arm in _ARMS],
            "measurements": readings,
            "outcome": {"phase": phase, "reason": "Measured", "message": "it was measured"},
        },
    }


_ARMS = ("canary", "control")


def _reading(sli: str, arm: str, window: dict[str, str], value: float) -> dict[str, Any]:
    sample = {"value": value, "standardError": _ERROR, "total": _TOTAL, "bad": value * _TOTAL}
    return {"sli": sli, "arm": arm, "window": window, "sample": sample}


__all__ = ["EARLIER", "earlier"]
