"""How long a canary can have gone unseen, whatever is done to the wall clock."""

from __future__ import annotations

from trimtab.domain.trial import Spent
from trimtab.runtime.lived import KEPT_SECONDS, Lived

NOON = 1_772_409_600.0


class Hands:
    """A clock whose monotonic hand is set by the test; nobody may read the other."""

    monotonic_now = 100.0

    def now(self) -> float:
        raise AssertionError("wall time is no measure of what has passed")

    def monotonic(self) -> float:
        return self.monotonic_now

    async def sleep(self, seconds: float) -> None:
        self.monotonic_now += seconds


def until(moment: float | None) -> tuple[Spent, ...]:
    return (Spent("errors", 1.0, 100.0, until=moment),)


def test_nothing_is_known_of_what_was_not_lived_through() -> None:
    lived = Lived(Hands())
    assert lived.at_most("t1", "errors") is None
    lived.counted("t1", until(None), NOON, 100.0)
    assert lived.at_most("t1", "errors") is None


def test_what_has_passed_since_the_newest_sample() -> None:
    clock = Hands()
    lived = Lived(clock)
    lived.counted("t1", until(NOON - 3), NOON, 100.0)
    clock.monotonic_now = 107.0
    assert lived.at_most("t1", "errors") == 10.0
    lived.counted("t1", until(NOON - 3), NOON + 7200, 107.0)  # the clock jumped, and no sample is new
    assert lived.at_most("t1", "errors") == 10.0
    lived.counted("t1", until(NOON + 6), NOON + 7, 107.0)
    assert lived.at_most("t1", "errors") == 1.0
    assert lived.at_most("t2", "errors") is None
    assert lived.at_most("t1", "other") is None


def test_a_sample_from_the_future_is_no_measure() -> None:
    """The clock was set back: how old the sample is cannot be told."""
    lived = Lived(Hands())
    lived.counted("t1", until(NOON + 600), NOON, 100.0)
    assert lived.at_most("t1", "errors") is None


def test_a_canary_that_never_served_until_then() -> None:
    clock = Hands()
    lived = Lived(clock)
    lived.unserved("t1", 100.0)
    clock.monotonic_now = 104.0
    assert lived.at_most("t1", "errors") == 4.0
    lived.counted("t1", until(NOON - 7200), NOON, 104.0)  # ready before the clock jumped
    lived.unserved("t1", 104.0)  # it was counted: what it served before is not forgotten
    assert lived.at_most("t1", "errors") == 4.0


def test_old_trials_are_forgotten() -> None:
    clock = Hands()
    lived = Lived(clock)
    lived.counted("t1", until(NOON), NOON, 100.0)
    clock.monotonic_now += KEPT_SECONDS + 1
    lived.unserved("t2", clock.monotonic_now)
    assert lived.at_most("t1", "errors") is None
    assert lived.at_most("t2", "errors") == 0.0
