"""Reduces a failing plan to the shortest that still fails: first its faults, then their times and parameters.

Delta debugging after Zeller and Hildebrandt (Simplifying and Isolating Failure-Inducing Input, IEEE TSE 28(2), 2002,
algorithm ddmin). Nothing is drawn, so the same plan and the same world give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trimtab.simulate.faults.plan import Fault, FaultPlan

Fails = Callable[[FaultPlan], bool]
"""Plays a plan; True when it still breaks something."""

SHORTEST = 1.0  # seconds: a shorter duration is not simpler


class _Budget:
    """Asks at most so many times, and never the same question twice."""

    def __init__(self, fails: Fails, most: int) -> None:
        self._fails, self._left = fails, most
        self._known: dict[str, bool] = {}

    def __call__(self, plan: FaultPlan) -> bool:
        key = repr(plan.wire())
        if key not in self._known:
            if self._left <= 0:
                return False
            self._left -= 1
            self._known[key] = self._fails(plan)
        return self._known[key]


def shrink(plan: FaultPlan, fails: Fails, *, most: int = 200) -> FaultPlan:
    """The shortest plan found with at most `most` plays; `plan` itself must fail."""
    ask = _Budget(fails, most)
    plan = _fewer(plan, ask)
    while True:
        simpler = _simpler(plan, ask)
        if simpler is None:
            return plan
        plan = simpler


def _fewer(plan: FaultPlan, ask: _Budget) -> FaultPlan:
    """ddmin: leave out ever smaller parts, as long as the rest fails."""
    if ask(plan.with_faults(())):
        return plan.with_faults(())
    parts = 2
    while len(plan.faults) >= 2:
        size = -(-len(plan.faults) // parts)
        rest = (plan.faults[:i] + plan.faults[i + size :] for i in range(0, len(plan.faults), size))
        smaller = next((p for p in map(plan.with_faults, rest) if ask(p)), None)
        if smaller is not None:
            plan, parts = smaller, max(parts - 1, 2)
        elif parts < len(plan.faults):
            parts = min(2 * parts, len(plan.faults))
        else:
            break
    return plan


def _simpler(plan: FaultPlan, ask: _Budget) -> FaultPlan | None:
    """The first change of one fault that makes it simpler and still fails."""
    for index, fault in enumerate(plan.faults):
        for candidate in _candidates(fault):
            changed = plan.with_faults((*plan.faults[:index], candidate, *plan.faults[index + 1 :]))
            if ask(changed):
                return changed
    return None


def _candidates(fault: Fault) -> Iterator[Fault]:
    """Simpler forms of one fault, the simplest first."""
    if fault.duration is not None and fault.duration > SHORTEST:
        for duration in (SHORTEST, round(fault.duration / 2, 1)):
            if duration < fault.duration:
                yield fault.model_copy(update={"duration": duration})
    if fault.when is not None and fault.when.after > 0:
        for after in (0.0, float(int(fault.when.after))):
            if after < fault.when.after:
                yield fault.model_copy(update={"when": fault.when.model_copy(update={"after": after})})
    if fault.when is not None and fault.when.effect is not None and fault.when.nth > 1:
        yield fault.model_copy(update={"when": fault.when.model_copy(update={"nth": 1})})
    if fault.at is not None and fault.at > int(fault.at):
        yield fault.model_copy(update={"at": float(int(fault.at))})
    for parameter in fault.row.parameters:
        if fault.parameters[parameter.name] != parameter.default:
            yield fault.model_copy(update={"parameters": {**fault.parameters, parameter.name: parameter.default}})


__all__ = ["Fails", "shrink"]
