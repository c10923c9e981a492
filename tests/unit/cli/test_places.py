"""Where in a file a field is written."""

from __future__ import annotations

import pytest
import yaml

from trimtab.cli.places import line_of

TEXT = """\
metadata: {name: web}
spec:
  parameters:
  - name: cpu
    quantity:
      min: 1
      max: 2
  slis:
  - {name: slow,
     value: {query: up}}
  plain: [a,
    b]
"""


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("", 1),
        ("metadata.name", 1),
        ("spec", 2),
        ("spec.parameters[0].quantity.max", 7),
        ("spec.parameters[cpu].quantity.max", 7),
        ("spec.slis[slow].value.query", 10),
        ("spec.slis[0]", 9),
        ("spec.plain[1]", 12),
        ("spec.targetRef.name", 2),
        ("spec.parameters[0].quantity.step", 5),
        ("spec.parameters[7].quantity", 3),
        ("spec.parameters[memory]", 3),
        ("spec.plain.min", 11),
        ("status.phase", 1),
    ],
)
def test_a_field_is_found_or_what_is_around_it(field: str, line: int) -> None:
    node = yaml.compose(TEXT, Loader=yaml.SafeLoader)
    assert node is not None
    assert line_of(node, field) == line
