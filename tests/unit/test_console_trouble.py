"""What nobody expected, and what is none of that."""

import logging

import pytest
from support.consoles import TestConsole, picture
from textual.app import ScreenStackError


async def test_what_is_cut_short_as_the_console_is_left_is_no_error(caplog):
    app = TestConsole(picture())
    async with app.run_test():
        with caplog.at_level(logging.ERROR):
            app.trouble.tell(app, "A screen", ScreenStackError("not now"))
        assert [record.levelname for record in caplog.records] == ["ERROR"], "there is a screen: somebody asked wrongly"
    caplog.clear()
    with pytest.raises(ScreenStackError) as raised:
        _ = app.screen
    app.trouble.tell(app, "A screen", raised.value)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    app.trouble.tell(app, "A screen", RuntimeError("a defect"))
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["ERROR"]
