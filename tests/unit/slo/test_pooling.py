"""What is left of a trial that was withdrawn: several windows as one sample."""

from __future__ import annotations

import pytest

from trimtab.domain.measurement import Sample
from trimtab.slo.estimate import ratio_sample
from trimtab.slo.pooling import pooled_sample


def counted(bad: float, total: float) -> Sample:
    found = ratio_sample([bad], [total])
    assert isinstance(found, Sample)
    return found


def test_counts_add_up() -> None:
    found = pooled_sample([counted(3, 100), counted(5, 300)])
    assert found is not None
    assert (found.bad, found.total, found.value) == (8, 400, 0.02)
    assert found.standard_error == pytest.approx((0.0212 * (1 - 0.0212) / 400) ** 0.5, rel=0.01)


def test_values_are_averaged_and_as_wide_as_they_differ() -> None:
    calm = pooled_sample([Sample(v, 0.001, 10.0) for v in (0.30, 0.31, 0.29, 0.30, 0.31, 0.30)])
    wild = pooled_sample([Sample(v, 0.001, 10.0) for v in (0.10, 0.50, 0.20, 0.40, 0.60, 0.01)])
    assert calm is not None
    assert wild is not None
    assert (calm.value, calm.total, calm.bad) == (pytest.approx(0.3017, abs=1e-4), 60.0, None)
    assert calm.standard_error < 0.02 < wild.standard_error


def test_the_mean_of_lower_limits_is_a_lower_limit() -> None:
    found = pooled_sample([Sample(10.0, 10.0, 50.0, below=0.2), Sample(10.0, 10.0, 50.0, below=0.0)])
    assert found is not None
    assert (found.value, found.standard_error, found.below) == (10.0, 10.0, 0.2)


def test_one_window_is_as_wide_as_it_was_itself() -> None:
    (one, vague) = (pooled_sample([Sample(0.3, se, 10.0)] * 4) for se in (0.001, 0.2))
    assert one is not None
    assert vague is not None
    assert vague.standard_error == 0.2
    alone = pooled_sample([Sample(0.3, 0.01, 10.0)])
    assert alone is not None
    assert alone.standard_error >= 0.3  # a single value says little


def test_what_cannot_be_added_up_is_nothing() -> None:
    assert pooled_sample([]) is None
    assert pooled_sample([counted(1, 100), Sample(0.3, 0.01, 10.0)]) is None
    assert pooled_sample([Sample(0.0, 0.0, 0.0, 0.0)]) is None
