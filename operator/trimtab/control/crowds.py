"""No trial starts into a flash crowd. Pure."""

from __future__ import annotations

from trimtab.control.actions import Decision
from trimtab.control.arms import cost_model
from trimtab.control.context import BLOCKED, Context, Held
from trimtab.control.forecast import CROWD, service_peak
from trimtab.control.snapshot import AskPresent
from trimtab.domain.kube import Target


def in_crowd(context: Context) -> Decision | Held | None:
    """Why no trial starts into a load that the days before never had: no trial can be safe for what nothing foresees,
    and what it would teach is of no use. Whoever has an autoscaler has the same load per pod."""
    record, target = context.state.target, context.seen.target
    assert record is not None
    assert isinstance(target, Target)
    peak = service_peak(context.seen.trials, cost_model(context.spec, target, record).fixed)
    if peak is None or record.scaled is not None:
        return None
    present = context.seen.present()
    if present is None:
        return context.ask(AskPresent())
    if present.least is None or present.least <= CROWD * peak:
        return None
    why = f"waiting: the load is over {CROWD:g} times the peak of the days before, {peak:,.0f} requests/s"
    return Held(why, BLOCKED)


__all__ = ["in_crowd"]
