"""Two operators: the standby takes over a live trial, after a crash in the middle of a breach and after SIGTERM."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import groupby

import pytest
from benchmarks.operator.live import CANARY, TERMINAL, Live, live_stack
from benchmarks.operator.witness import Witness

from controlplane import ControlPlane, wait_for
from stack import OperatorProcess
from trimtab.simulate.history import serving, views
from trimtab.simulate.invariants import check_history

LEASE = 6.0  # what the stack's operators are told
LEASE_NAME = "trimtab-operator"
RETRY = 1.0  # a candidate looks again after a 7.5th of the lease, and a fifth more
CHECK_INTERVAL = 1.0


@pytest.fixture(scope="module")
def live(controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One stack for both tests."""
    with live_stack(controlplane, tmp_path_factory.mktemp("leadership"), "lead") as found:
        yield found


def pair(live: Live, **environment: str) -> tuple[OperatorProcess, OperatorProcess]:
    """A leader, in this environment, and a standby that waits for its turn."""
    leader, standby = live.operator(environment), live.operator(ready=False)
    wait_for(lambda: standby.get("/readyz"), "the standby to answer")
    wait_for(leader.is_leading, "the leader to say that it leads")
    assert not standby.is_leading()
    return leader, standby


def test_the_standby_withdraws_when_the_leader_dies_in_a_breach(live: Live) -> None:
    name = "breach"
    leader, standby = pair(live, TRIMTAB_FAIL_POINT="safety/before:delete:Deployment:1")
    with live.explained(name), Witness(live.stack.plane, live.namespace) as witness:
        live.create(name, trial={"warmUp": "1s", "duration": "40s", "deadline": "90s"})
        live.wait_trial(name, frozenset({"Measuring"}))
        live.stack.playground.fault(name=name, kind="SlowDependency", factor=6.0, selector=CANARY)
        leader.wait_dead(60.0)  # it had decided to withdraw, and had deleted nothing
        died = time.time()
        (trial,) = live.trials(name)
        assert trial["status"]["phase"] == "Measuring"

        trial = live.wait_trial(name, frozenset({"Draining", *TERMINAL}))
        live.stack.playground.clear(name)
        assert trial["status"]["outcome"]["reason"] == "AbortRule"
        wait_for(standby.is_leading, "the standby to say that it leads")
        live.wait_ended(name)
        live.wait_nothing_left()
        changes = witness.changes()
        check_history(changes)
        silent = next(c.at for c, world in views(changes) if c.at > died and not serving(world))
        print(f"\nno ready canary endpoint {silent - died:.1f} s after the leader's death")
        assert silent - died <= LEASE + 2 * RETRY + CHECK_INTERVAL + 5.0
    live.kill_operators()
    live.remove(name)


def test_sigterm_hands_over_and_leaves_the_live_trial_to_the_standby(live: Live) -> None:
    name = "handover"
    leader, standby = pair(live)
    with live.explained(name), Witness(live.stack.plane, live.namespace) as witness:
        live.create(name, trial={"warmUp": "1s", "duration": "30s", "deadline": "90s"})
        live.wait_trial(name, frozenset({"Measuring"}))
        arms = live.arms()
        leader.stop()
        wait_for(standby.is_leading, "the standby to lead")
        assert any(line["event"] == "operator.stopped" for line in leader.log_lines()), "it did not end gracefully"
        assert live.arms() == arms
        leaders = [c.object["spec"]["holderIdentity"] for c in witness.changes() if c.name == LEASE_NAME]
        assert [identity for identity, _ in groupby(leaders)][1] == "", "the lease ran out instead of being released"

        ended = live.wait_ended(name)
        live.wait_nothing_left()
        (trial,) = live.trials(name)
        assert trial["status"]["phase"] == "Succeeded"
        assert ended["status"]["phase"] == "Completed"
        check_history(witness.changes())
    live.kill_operators()
    live.remove(name)
