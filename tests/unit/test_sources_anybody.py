"""A query asked for whatever service there is, to see whether its names exist."""

import pytest

from services.analysis.sources.promql import of_anybody


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ('x{v="{{version}}"}', 'x{v=~".+"}'),
        ("x{v = '{{version}}',code=\"5\"}", "x{v =~'.+',code=\"5\"}"),
        ('x{pod=~"{{pods}}"}', 'x{pod=~".*"}'),
        ('x{pod=~"a-{{workload}}-.*"}', 'x{pod=~"a-.*-.*"}'),
        ('increase(x{a="{{arm}}"}[{{window}}])', 'increase(x{a=~".+"}[300s])'),
        ('x{job="{{namespace}}/{{service}}"}', None),
        ('x{v="{{version}}-1"}', None),
        ('x{v!="{{version}}"}', None),
    ],
)
def test_a_query_of_anybody(query: str, asked: str | None) -> None:
    assert of_anybody(query) == asked
