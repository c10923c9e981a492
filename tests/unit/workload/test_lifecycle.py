"""A container's life, step by step, without a clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trimtab.workload.lifecycle import Acting, ContainerLife, Phase, advance, born, evicted, killed

FAIR = Acting()
STARTUP = 2.0


def running(at: float = 100.0) -> ContainerLife:
    life = advance(born(at - 1.0, "10.244.0.1", 0.5), FAIR, STARTUP, at)
    assert life.phase is Phase.RUNNING
    return life


def test_a_pod_is_created_started_and_ready_in_that_order() -> None:
    life = born(100.0, "10.244.0.1", 0.5)
    assert advance(life, FAIR, STARTUP, 100.4) is life
    started = advance(life, FAIR, STARTUP, 100.5)
    assert (started.phase, started.ready, started.running_since) == (Phase.RUNNING, False, 100.5)
    assert advance(started, FAIR, STARTUP, 102.4) is started
    ready = advance(started, FAIR, STARTUP, 102.5)
    assert (ready.ready, ready.ready_since) == (True, 102.5)
    assert advance(ready, FAIR, STARTUP, 110.0) is ready


def test_the_image_must_come_first() -> None:
    waiting = advance(born(100.0, "ip", 0.5), Acting(image_pull=True), STARTUP, 101.0)
    assert waiting.phase is Phase.IMAGE_PULL
    assert advance(waiting, Acting(image_pull=True), STARTUP, 200.0) is waiting
    assert advance(waiting, FAIR, STARTUP, 201.0).phase is Phase.RUNNING


def test_readiness_is_lost_and_found_without_a_restart() -> None:
    ready = advance(running(), FAIR, STARTUP, 110.0)
    lost = advance(ready, Acting(not_ready=True), STARTUP, 120.0)
    assert (lost.phase, lost.ready, lost.ready_since, lost.restarts) == (Phase.RUNNING, False, 120.0, 0)
    assert advance(lost, FAIR, STARTUP, 130.0).ready


def test_the_first_kill_restarts_soon_and_counts() -> None:
    dead = killed(advance(running(), FAIR, STARTUP, 110.0), "OOMKilled", 137, 111.0)
    assert (dead.phase, dead.ready, dead.restarts) == (Phase.TERMINATED, False, 0)
    assert dead.last is not None
    assert (dead.last.reason, dead.last.exit_code, dead.last.finished) == ("OOMKilled", 137, 111.0)
    again = advance(dead, FAIR, STARTUP, 112.0)
    assert (again.phase, again.restarts, again.running_since) == (Phase.RUNNING, 1, 112.0)


def test_further_kills_back_off_ever_longer() -> None:
    life, now, delays = running(), 100.0, []
    for _ in range(8):
        now += 1.0
        life = killed(life, "Error", 1, now)
        delays.append(life.until - now)
        now = life.until
        life = advance(life, FAIR, STARTUP, now)
    assert delays == [1.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert life.restarts == 8


def test_ten_good_minutes_are_forgiving() -> None:
    life = replace(running(), crashes=5)
    assert killed(life, "Error", 1, 800.0).until == 801.0


def test_a_crash_loop_never_gets_ready() -> None:
    life, looping = running(), Acting(crash_loop=True)
    life = advance(life, looping, STARTUP, 100.1)
    assert life.phase is Phase.TERMINATED
    life = advance(advance(life, looping, STARTUP, 101.1), looping, STARTUP, 101.2)
    assert (life.phase, life.restarts) == (Phase.BACK_OFF, 1)
    assert advance(life, looping, STARTUP, 105.0) is life


@pytest.mark.parametrize("now", [100.0, 1000.0])
def test_an_evicted_pod_never_runs_again(now: float) -> None:
    gone = evicted(running(), now)
    assert advance(gone, FAIR, STARTUP, now + 1000.0) is gone
    assert not gone.ready


def test_only_what_runs_can_be_killed() -> None:
    life = born(100.0, "ip", 0.5)
    assert killed(life, "Error", 1, 100.1) is life
