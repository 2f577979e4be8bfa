"""Charts drawn from cells."""

from widgets.charts.series import Chart, Series, SeriesChart
from widgets.charts.sparkline import Sparkline, Trend, spark

__all__ = ["Chart", "Series", "SeriesChart", "Sparkline", "Trend", "spark"]
