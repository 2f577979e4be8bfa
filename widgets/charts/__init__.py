"""Charts drawn from cells."""

from widgets.charts.series import Chart, Series, SeriesChart
from widgets.charts.sparkline import spark

__all__ = ["Chart", "Series", "SeriesChart", "spark"]
