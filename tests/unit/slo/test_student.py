"""Student's t, and what is left to widen at another confidence."""

from __future__ import annotations

import pytest
from scipy.stats import t

from trimtab.slo.student import at_confidence, t_of, widening, z_of

PRINTED = [(0.95, 1, 6.314), (0.999, 2, 22.327), (0.95, 4, 2.132), (0.975, 8, 2.306), (0.99, 60, 2.390), (0.5, 3, 0.0)]


@pytest.mark.parametrize(("confidence", "degrees", "quantile"), PRINTED)
def test_quantiles_are_those_of_printed_tables(confidence: float, degrees: int, quantile: float) -> None:
    assert t_of(confidence, degrees) == pytest.approx(quantile, abs=6e-4)


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
