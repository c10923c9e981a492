"""Lives of an Experiment on the real control plane: what happens in each, and what must be true at its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.operator.live import API, CANARY, ENDED, Live, phase_of

from controlplane import wait_for
from trimtab.domain.names import ANNOTATION_PAUSE, ANNOTATION_ROLLBACK

LONG_TRIAL = {"warmUp": "1s", "duration": "40s", "deadline": "90s"}
MEASURING = frozenset({"Measuring"})
RECONCILE, SAFETY, ELECTION = "reconcile", "safety", "lease"
EITHER = ""  # whichever part it is: once a Trial drains, the reconciler and the safety loop both take its arms away
SECONDS = 180.0  # for a life that shares two cores with others


@dataclass(frozen=True)
class Point:
    """Before or after the nth time that a part of the operator has an effect; EITHER is whichever comes first."""

    part: str
    moment: str
    effect: str
    nth: int

    @property
    def kind(self) -> tuple[str, str]:
        """Whose effect it is, and which."""
        return self.part, self.effect

    @property
    def line(self) -> str:
        """As the effect log and TRIMTAB_FAIL_POINT have it."""
        point = f"{self.moment}:{self.effect}"
        return point if self.part == EITHER else f"{self.part}/{point}"

    def __str__(self) -> str:
        return f"{self.line}:{self.nth}"

    def stands_for(self, other: Point) -> bool:
        """Whether an operator that dies here may have died there."""
        return self.part in (EITHER, other.part) and (self.moment, self.effect) == (other.moment, other.effect)


def read_points(log: Path) -> tuple[Point, ...]:
    """All points of an effect log, in order."""
    found: list[Point] = []
    seen: dict[str, int] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        part, _, rest = line.partition("/")
        moment, _, effect = rest.partition(":")
        seen[line] = seen.get(line, 0) + 1
        found.append(Point(part, moment, effect, seen[line]))
    return tuple(found)


Step = Callable[[Live, str], None]
Points = tuple[Point, ...]


def of(own: Callable[[Point], bool]) -> Callable[[Points], Points]:
    """Those points of a life that are like this."""
    return lambda points: tuple(point for point in points if own(point))


def between(first: str, last: str) -> Callable[[Points], Points]:
    """Those of a life from the first time of one effect to the last time of another, of all that changes something."""

    def chosen(points: Points) -> Points:
        effects = [point.effect for point in points]
        until = len(effects) - effects[::-1].index(last)
        return tuple(point for point in points[effects.index(first) : until] if _does(point))

    return chosen


def since_last(effect: str) -> Callable[[Points], Points]:
    """Those of a life from the last time of an effect to the end, of all that changes something."""

    def chosen(points: Points) -> Points:
        begin = max(number for number, point in enumerate(points) if (point.moment, point.effect) == ("before", effect))
        return tuple(point for point in points[begin:] if _does(point))

    return chosen


def _does(point: Point) -> bool:
    return point.part != ELECTION and not point.effect.endswith(":Event")


def nothing(live: Live, name: str) -> None:
    """A step of a story in which nothing happens."""


@dataclass(frozen=True)
class Story:
    """A life of an Experiment.

    Attributes:
        name: part of its Experiments' names.
        over: whether it has come to its end.
        check: what must be true then, besides what is true for all.
        trial: the trial's windows, {} for the short ones.
        provoke: what happens to the first trial while it measures; None: nothing.
        settle: what is done once the first trial has ended.
        tells: which points of a life are this story's own; the others are told by another one.
        sections: what else its Experiments' specs have.
    """

    name: str
    over: Callable[[Live, str], bool]
    check: Step
    trial: Mapping[str, str] = field(default_factory=dict)
    provoke: Step | None = None
    settle: Step = nothing
    tells: Callable[[Points], Points] = tuple
    sections: Mapping[str, Any] = field(default_factory=dict)


def ended(live: Live, name: str) -> bool:
    """The Experiment is over."""
    return (live.find(name).get("status") or {}).get("phase") in ENDED


def succeeded(live: Live, name: str) -> None:
    """One trial was measured, and none is missing."""
    found, trials = live.find(name), live.trials(name)
    assert found["status"]["phase"] == "Completed"
    assert [t["spec"]["index"] for t in trials] == list(range(found["status"]["trialsCreated"]))
    assert [phase_of(t) for t in trials].count("Succeeded") == 1


def recommended(live: Live, name: str) -> None:
    """What is recommended is cheaper, confirmed by a fresh trial of the same values, and published as recorded."""
    found, trials = live.find(name), live.trials(name)
    assert found["status"]["phase"] == "Completed"
    assert [t["spec"]["index"] for t in trials] == list(range(found["status"]["trialsCreated"]))
    said = found["status"]["recommendation"]
    assert (said["verified"], said["keepBaseline"]) == (True, False), said
    assert said["saving"] > 0.0
    fresh = [t for t in trials if t["spec"]["purpose"] == "Verification" and phase_of(t) == "Succeeded"]
    assert [t["spec"]["assignment"] for t in fresh] == [said["assignment"]]
    published = live.client.get("v1", "ConfigMap", said["configMap"], live.namespace)["data"]
    assert json.loads(published["recommendation.json"])["digest"] == said["digest"]


def _ask(annotation: str, value: str | None) -> Step:
    """A person writes an annotation on the Experiment; None: takes it away."""
    patch = {"metadata": {"annotations": {annotation: value}}}

    def ask(live: Live, name: str) -> None:
        live.client.patch(API, "Experiment", name, patch, live.namespace)

    return ask


def _let_go_on(annotation: str) -> Step:
    """The person is content once it stands still."""

    def go_on(live: Live, name: str) -> None:
        paused = lambda: live.find(name)["status"]["phase"] == "Paused"  # noqa: E731
        wait_for(paused, f"{name} to stand still", seconds=SECONDS)
        _ask(annotation, None)(live, name)

    return go_on


def _asked(reason: str) -> Step:
    """What a person asked for ended the first trial, and another one was measured."""

    def check(live: Live, name: str) -> None:
        succeeded(live, name)
        outcome = live.trials(name)[0]["status"]["outcome"]
        assert outcome["reason"] == reason, outcome

    return check


def _slow_canary(live: Live, name: str) -> None:
    fault = {"kind": "SlowDependency", "factor": 6.0, "selector": CANARY, "namespace": live.namespace}
    live.stack.playground.fault(name=name, **fault)


def _withdrawn(live: Live, name: str) -> None:
    outcome = live.trials(name)[0]["status"]["outcome"]
    assert outcome["phase"] in {"Infeasible", "Aborted"}, outcome


def _gone(live: Live, name: str) -> bool:
    return not live.find(name) and not live.trials(name)


TUNE = Story("tune", ended, succeeded, tells=of(lambda point: point.part != SAFETY))
WITHDRAW = Story(
    "withdraw",
    ended,
    _withdrawn,
    LONG_TRIAL,
    provoke=_slow_canary,
    settle=lambda live, name: live.stack.playground.clear(name),
    tells=of(lambda point: point.part == SAFETY),
)
DELETE = Story(
    "delete",
    _gone,
    nothing,
    LONG_TRIAL,
    provoke=lambda live, name: live.delete(name),
    tells=of(lambda point: point.part == RECONCILE and point.effect.startswith("delete:")),
)
RECOMMEND = Story(
    "recommend",
    ended,
    recommended,
    tells=since_last("create:Trial"),
    sections={
        "search": {"designer": "Sobol", "initialTrials": 2},
        "stopping": {"maxTrials": 3},
        "verification": {"duration": "5s", "replicates": 1},
        "constraints": [
            {"name": "slow", "sli": "slow", "max": "0.3"},
            {"name": "errors", "sli": "errors", "max": "0.02", "errors": "GuardOnly"},
        ],
        "errorBudgets": [{"name": "availability", "sli": "errors", "objectivePercent": "99"}],
    },
)
"""Two baselines, a cheaper assignment, and its verification: the story's own points begin with that."""


def _person(name: str, annotation: str, reason: str) -> Story:
    """A person stops the first trial in its measurement, and lets the Experiment go on: from the withdrawal to the next
    Trial the points are this story's own."""
    return Story(
        name,
        ended,
        _asked(reason),
        {"warmUp": "1s", "duration": "10s", "deadline": "90s"},
        provoke=_ask(annotation, "it hurts"),
        settle=_let_go_on(annotation),
        tells=between("delete:Deployment", "create:Trial"),
    )


PAUSE = _person("pause", ANNOTATION_PAUSE, "OnCallPause")
ROLLBACK = _person("rollback", ANNOTATION_ROLLBACK, "OnCallRollback")
STORIES = (TUNE, WITHDRAW, DELETE)
ALL_STORIES = (*STORIES, RECOMMEND, PAUSE, ROLLBACK)  # some of them last a minute
