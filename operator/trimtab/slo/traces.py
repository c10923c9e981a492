"""What a withdrawal leaves in its Trial, so that somebody can see later why it had to be. Pure.

Each kind has room of its own: with many bounds their windows would leave none for the tests or the pods. They come
last, and take what the others leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from trimtab.domain.kube import ArmView, ContainerStatus, PodView
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.texts import printable
from trimtab.slo.aborting import overdispersion, window_check
from trimtab.slo.evidence import level
from trimtab.slo.watching import WatchState

MOST, LENGTH = 32, 300  # lines, and characters of one
READINGS, TESTS, PODS = 8, 6, 6  # lines of each kind, at most
WINDOWS = 4  # newest ones of the bound that decided; of every other bound as many as there is room for
LAST_WORDS = 200  # characters of what a container wrote at its end


def traces(
    spec: ExperimentSpec,
    watch: WatchState,
    arms: Sequence[ArmView | None],
    subject: str = "",
    readings: Sequence[str] = (),
) -> tuple[str, ...]:
    """At most `MOST` lines: what the rule read, the tests, the pods, the last windows of the bounds.

    Args:
        subject: name of the bound that decided, "" when none did.
        readings: of the rule that decided, in words.
    """
    known = [*readings[:READINGS], *_tests(spec, watch)[:TESTS], *_pods(arms)[:PODS]]
    lines = [*known, *_windows(spec, watch, subject, MOST - len(known))]
    return tuple(line[:LENGTH] for line in lines)


def _tests(spec: ExperimentSpec, watch: WatchState) -> list[str]:
    """The most telling first."""
    found, limit = sorted(watch.tests, key=lambda named: -named[1].value), f"{1 / level(spec):.3g} withdraws"
    return [f"{name}: e-value {test.value:.3g} ({limit}), overdispersion {test.ratio.phi:.2g}" for name, test in found]


def _pods(arms: Sequence[ArmView | None]) -> list[str]:
    """Those with something to tell first, the canary's before the control's."""
    pods = [pod for arm in arms if arm is not None for pod in arm.pods]
    return [line for pod in sorted(pods, key=_calm) for line in _of_pod(pod)]


def _calm(pod: PodView) -> bool:
    ended = any(c.restarts or c.waiting_reason or c.last_terminated_reason for c in _containers(pod))
    return pod.ready and not pod.reason and not ended


def _containers(pod: PodView) -> tuple[ContainerStatus, ...]:
    return (*pod.init_containers, *pod.containers)


def _of_pod(pod: PodView) -> Iterator[str]:
    states = ", ".join(
        f"{c.name} ready={c.ready} restarts={c.restarts} {c.waiting_reason or c.last_terminated_reason}".strip()
        for c in _containers(pod)
    )
    yield f"pod {pod.name} {pod.phase} {pod.reason} {states}".replace("  ", " ")
    for container in _containers(pod):
        if container.last_words:
            words = printable(container.last_words[-LAST_WORDS:])
            yield f"container {container.name} of pod {pod.name} wrote at its end: {words}"


def _windows(spec: ExperimentSpec, watch: WatchState, subject: str, room: int) -> list[str]:
    """Those of the bound that decided, and then the newest of the others; told from the oldest on."""
    recent = range(len(watch.windows))[-WINDOWS:]
    places = [(at, number) for at in reversed(recent) for number in range(len(spec.constraints))]
    places.sort(key=lambda place: spec.constraints[place[1]].name != subject)
    lines = ((place, _window(spec, watch, *place)) for place in places)
    return [line for _, line in sorted([*islice((pair for pair in lines if pair[1]), room)])]


def _window(spec: ExperimentSpec, watch: WatchState, at: int, number: int) -> str:
    """One window against one bound; "" where the canary was not measured."""
    window, bound = watch.windows[at], spec.constraints[number]
    checked = window_check(spec, bound, window, overdispersion(watch, bound.sli))
    if checked is None:
        return ""
    return f"{window.window.start:.0f}..{window.window.end:.0f} {checked.words} ({checked.standing})"


__all__ = ["MOST", "PODS", "READINGS", "TESTS", "WINDOWS", "traces"]
