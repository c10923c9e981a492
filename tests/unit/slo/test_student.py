"""Student's t beside scipy's, and what is left to widen at another confidence."""

from __future__ import annotations

import pytest
from scipy.stats import t

from trimtab.slo.student import at_confidence, t_of, widening, z_of


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 8, 15, 60, 199])
def test_quantiles(degrees: int) -> None:
    for confidence in (0.5, 0.51, 0.6, 0.8, 0.9, 0.95, 0.975, 0.99, 0.999, 0.9999):
        assert t_of(confidence, degrees) == pytest.approx(t.ppf(confidence, degrees), rel=1e-3, abs=1e-6)


def test_what_is_widened_for_95_percent_becomes_students_at_any_confidence() -> None:
    for confidence in (0.9, 0.95, 0.99, 0.999):
        whole = z_of(confidence) * widening(4) * at_confidence(confidence, 4)
        assert whole == pytest.approx(t.ppf(confidence, 4), rel=1e-3)
    assert at_confidence(0.95, 4) == pytest.approx(1.0)


@pytest.mark.parametrize("degrees", [None, 0, 1000])
def test_what_is_known_well_needs_no_widening(degrees: int | None) -> None:
    assert at_confidence(0.999, degrees) == 1.0
    assert widening(1000) == 1.0


def test_at_even_odds_there_is_nothing_to_widen() -> None:
    assert at_confidence(0.5, 4) == 1.0
