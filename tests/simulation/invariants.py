"""What must hold after every single change of a cluster, real or simulated, whatever died in between."""

from __future__ import annotations

from benchmarks.operator.live import FINALIZER, TERMINAL, phase_of

from trimtab.simulate.history import Change, Existing, states


def check_history(changes: list[Change]) -> None:
    """All invariants over a history in the API server's order."""
    for change, world in states(changes):
        _check_world(f"version {change.version} ({change.type} {change.kind} {change.name})", world)
    _check_creations(changes)
    _check_ledger(changes)


def _check_world(when: str, world: Existing) -> None:
    """Never two canaries, and no arm that nobody has to undo."""
    trials = {t["metadata"]["uid"]: t for t in world["trials"].values()}
    canaries = [name for name in world["deployments"] if name.endswith("-c")]
    assert len(canaries) <= 1, f"{when}: canaries {canaries}"
    pods = [n for n, p in world["pods"].items() if "-c-" in n and "deletionTimestamp" not in p["metadata"]]
    assert len(pods) <= 1, f"{when}: canary pods {pods}"
    for name, deployment in world["deployments"].items():
        trial = trials.get(deployment["metadata"]["labels"]["trimtab.dev/trial"])
        assert trial is not None, f"{when}: {name} without its Trial"
        assert phase_of(trial) not in TERMINAL | {"Pending"}, f"{when}: {name} while its Trial is {phase_of(trial)}"
        assert FINALIZER in trial["metadata"]["finalizers"], f"{when}: nobody has to undo {name}"
    for trial in trials.values():
        if phase_of(trial) not in TERMINAL:
            owner = world["experiments"][trial["spec"]["experiment"]["name"]]
            assert FINALIZER in owner["metadata"].get("finalizers", []), f"{when}: a live Trial, an Experiment let go"


def _check_creations(changes: list[Change]) -> None:
    """No arm and no Trial is made a second time."""
    made = [(c.kind, c.name) for c in changes if c.type == "ADDED" and c.kind in {"deployments", "trials"}]
    assert len(made) == len(set(made)), f"made twice: {sorted(m for m in made if made.count(m) > 1)}"


def _check_ledger(changes: list[Change]) -> None:
    """What a Trial taught never changes: its status is final once it is terminal."""
    final: dict[str, object] = {}
    for change in changes:
        if change.kind == "trials" and phase_of(change.object) in TERMINAL:
            status = final.setdefault(change.name, change.object["status"])
            assert change.object["status"] == status, f"{change.name} was changed after its end"
