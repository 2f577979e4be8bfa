"""The virtual table that every long list uses."""

from widgets.grid.columns import Column
from widgets.grid.model import Cell, Row
from widgets.grid.view import Grid

__all__ = ["Cell", "Column", "Grid", "Row"]
