"""Charts drawn from cells."""

from widgets.charts.course import draw_course
from widgets.charts.gauge import gauge
from widgets.charts.ratio import Ratio, draw_ratio
from widgets.charts.series import Chart, Series, SeriesChart
from widgets.charts.sparkline import spark

__all__ = ["Chart", "Ratio", "Series", "SeriesChart", "draw_course", "draw_ratio", "gauge", "spark"]
