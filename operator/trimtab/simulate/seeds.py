"""The same Experiment under several seeds: medians and extremes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

from trimtab import __version__
from trimtab.simulate.results import Absent, Number, Peer, PeerSpread, Run, Simulation, SimulationSet, Spread, Summary


def gathered(simulations: Iterable[Simulation]) -> SimulationSet:
    """The set of these simulations, in their order; there must be at least one."""
    all_of = tuple(simulations)
    summaries = [s.summary for s in all_of]
    return SimulationSet(
        trimtab_version=__version__,
        inputs=all_of[0].inputs,
        seeds=len(all_of),
        recommended=sum(
            not isinstance(s.recommendation, Absent) and not s.recommendation.keep_baseline for s in summaries
        ),
        truly_feasible=sum(s.truly_feasible is True for s in summaries),
        without_unsafe_trials=sum(s.unsafe_trials == 0 for s in summaries),
        saving_percent=_over(summaries, lambda s: s.saving_percent),
        saving_of_optimum_percent=_over(summaries, lambda s: s.saving_of_optimum_percent),
        trials=_over(summaries, lambda s: s.trials),
        unsafe_trials=_over(summaries, lambda s: s.unsafe_trials),
        gross_trials=_over(summaries, lambda s: s.gross_trials),
        budget_spent_percent=_over(summaries, lambda s: s.budget_spent_percent),
        rollbacks=_over(summaries, lambda s: s.rollbacks),
        promises_broken=sum(len(s.promises.broken) for s in all_of),
        comparison=_peers([s.comparison for s in all_of]),
        runs=tuple(
            Run(seed=s.inputs.seed, summary=s.summary, promises=s.promises, comparison=s.comparison) for s in all_of
        ),
    )


def _over(summaries: list[Summary], field: Callable[[Summary], Number]) -> Spread:
    return spread([field(s) for s in summaries])


def spread(numbers: Iterable[Number]) -> Spread:
    """Median, least and most of those that are known."""
    given = list(numbers)
    known = [n for n in given if not isinstance(n, Absent)]
    if not known:
        none = next((n for n in given if isinstance(n, Absent)), Absent(absent="NoRuns"))
        return Spread(median=none, min=none, max=none, absent=len(given))
    return Spread(median=float(median(known)), min=min(known), max=max(known), absent=len(given) - len(known))


def _peers(comparisons: list[tuple[Peer, ...]]) -> tuple[PeerSpread, ...]:
    names = [peer.name for peer in comparisons[0]]
    return tuple(_peer(name, [next(p for p in each if p.name == name) for each in comparisons]) for name in names)


def _peer(name: str, peers: list[Peer]) -> PeerSpread:
    return PeerSpread(
        name=name,
        final_cost_per_hour=spread(p.final_cost_per_hour for p in peers),
        mean_cost_per_hour=spread(p.mean_cost_per_hour for p in peers),
        violation_minutes=spread(p.violation_minutes for p in peers),
        unsafe_canary_minutes=spread(p.unsafe_canary_minutes for p in peers),
    )
