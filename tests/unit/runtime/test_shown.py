"""Until when a live trial is shown to be good."""

from __future__ import annotations

from trimtab.runtime.shown import ShownGood


def test_it_is_told_taken_back_and_forgotten() -> None:
    shown = ShownGood()
    assert shown.until("a") is None
    shown.tell("a", 10.0)
    shown.tell("b", 20.0)
    assert (shown.until("a"), shown.until("b")) == (10.0, 20.0)
    shown.tell("a", None)
    shown.tell("c", None)
    assert (shown.until("a"), shown.until("c")) == (None, None)
    shown.keep_only({"a"})
    assert shown.until("b") is None
