"""A confirmation is for one plan, typed exactly; a form field says at once what is accepted."""

import pytest
from support.consoles import until
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Input

from services.model.errors import Rejected
from widgets.confirm import TypedConfirmation
from widgets.form import Field, Validity


def words(widget) -> str:
    return "\n".join("".join(text for text, _ in line) for line in widget.value)


class Confirming(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.confirmed: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        yield TypedConfirmation()

    def on_typed_confirmation_confirmed(self, event: TypedConfirmation.Confirmed) -> None:
        self.confirmed.append((event.digest, event.typed))

    @property
    def field(self) -> TypedConfirmation:
        return self.query_one(TypedConfirmation)

    @property
    def status(self) -> str:
        return words(list(self.field.query("Note"))[-1])

    def ready(self) -> None:
        self.field.ask("production", "digest-1")
        self.field.block("")
        self.field.focus_input()


async def test_only_the_exact_name_and_enter_confirm():
    app = Confirming()
    async with app.run_test() as pilot:
        app.ready()
        await pilot.press(*"production")
        assert app.confirmed == []
        assert app.field.matches
        await pilot.press("enter")
        await until(pilot, lambda: app.confirmed == [("digest-1", "production")])


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("productio", "9 of 10"),
        ("Production", "upper and lower case"),
        ("production ", "blank"),
        (" production", "blank"),
        ("staging", "not production"),
        ("productiоn", "not production"),  # a Cyrillic о
        ("", "waiting"),
    ],
)
async def test_anything_else_does_not(typed, says):
    app = Confirming()
    async with app.run_test() as pilot:
        app.ready()
        await pilot.pause()
        app.field.query_one(Input).post_message(events.Paste(typed))
        await pilot.pause()
        await pilot.press("enter")
        assert app.confirmed == []
        assert says in app.status


async def test_a_changed_plan_voids_what_was_typed():
    app = Confirming()
    async with app.run_test() as pilot:
        app.ready()
        await pilot.press(*"production")
        app.field.ask("production", "digest-2")
        assert app.field.query_one(Input).value == ""
        await pilot.pause()
        assert "the plan changed: type it again" in app.status
        await pilot.press("enter")
        assert app.confirmed == []
        await pilot.press(*"production", "enter")
        await until(pilot, lambda: app.confirmed == [("digest-2", "production")])


async def test_an_enter_under_way_while_the_plan_changes_confirms_neither_plan():
    app = Confirming()
    async with app.run_test() as pilot:
        app.ready()
        await pilot.press(*"production")
        field = app.field.query_one(Input)
        field.post_message(Input.Submitted(field, "production"))
        app.field.ask("production", "digest-2")
        await pilot.pause()
        assert app.confirmed == []


async def test_the_same_plan_again_keeps_what_was_typed():
    app = Confirming()
    async with app.run_test() as pilot:
        app.ready()
        await pilot.press(*"produ")
        app.field.ask("production", "digest-1")
        assert app.field.query_one(Input).value == "produ"


async def test_while_blocked_it_says_why_and_does_nothing():
    app = Confirming()
    async with app.run_test() as pilot:
        app.ready()
        await pilot.press(*"production")
        app.field.block("approval: one of two people has signed off")
        await pilot.pause()
        assert "one of two people" in app.status
        field = app.field.query_one(Input)
        assert field.has_focus, "the next letters are not for keys of the screen"
        await pilot.press("backspace", "x", "enter")
        assert field.value == "production"
        assert "one of two people has signed off; no key counts until then" in app.status
        field.post_message(Input.Submitted(field, "production"))
        await pilot.pause()
        assert app.confirmed == []
        assert not app.field.matches


@pytest.mark.parametrize("paste", [False, True], ids=["typed", "pasted"])
async def test_what_comes_before_it_can_be_confirmed_is_dropped_and_said_to_be(paste):
    app = Confirming()
    async with app.run_test() as pilot:
        app.field.block("the checklist is not complete", waits=True)
        app.field.focus_input()
        app.field.ask("production", "digest-1")
        if paste:
            app.field.query_one(Input).post_message(events.Paste("production"))
        else:
            await pilot.press(*"production")
        await pilot.press("enter")
        await pilot.pause()
        assert app.status == "· can't be confirmed: the checklist is not complete; wait: no key counts yet"
        app.field.block("")
        await pilot.press("enter")
        assert app.field.query_one(Input).value == ""
        assert app.confirmed == []
        await pilot.press(*"production", "enter")
        await until(pilot, lambda: app.confirmed == [("digest-1", "production")])


async def test_it_keeps_the_keys_while_it_is_blocked_and_over_a_look_at_another_window():
    app = Confirming()
    async with app.run_test() as pilot:
        app.ready()
        await pilot.pause()
        app.field.block("asking again", waits=True)
        app.post_message(events.AppBlur())
        await pilot.pause()
        app.post_message(events.AppFocus())
        await until(pilot, lambda: app.focused is app.field.query_one(Input))
        app.set_focus(None)
        await until(pilot, lambda: app.field.query_one(Input).disabled)


async def test_without_a_plan_nothing_can_be_confirmed():
    app = Confirming()
    async with app.run_test() as pilot:
        app.field.block("")
        app.field.focus_input()
        await pilot.press("enter")
        assert app.confirmed == []
        assert not app.field.matches


def check(value: str) -> Validity:
    if value == "later":
        return Validity(None, "not known yet")
    if not value.startswith("v"):
        raise Rejected("version", value, "must be a semantic version", "v1.2.3")
    return Validity(True, "a release")


class Form(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, bool | None]] = []

    def compose(self) -> ComposeResult:
        yield Field("version", "Version", accepted="a semantic version, e.g. v1.2.3", check=check)
        yield Field("environment", "Environment", choices=("dev", "staging"))

    def on_field_changed(self, event: Field.Changed) -> None:
        self.said.append((event.value, event.validity.ok))

    def field(self, name: str) -> Field:
        return next(field for field in self.query(Field) if field.name == name)

    def below(self, name: str) -> str:
        return words(list(self.field(name).query("Note"))[-1])


async def test_a_field_says_at_once_what_is_accepted_and_what_is_wrong():
    app = Form()
    async with app.run_test() as pilot:
        await pilot.pause()
        assert app.below("version") == "a semantic version, e.g. v1.2.3"
        assert app.below("environment") == "dev, staging"
        app.field("version").focus_input()
        await pilot.press("1")
        assert app.below("version") == "✖ must be a semantic version; accepted: v1.2.3"
        await pilot.press("backspace", "v", "1")
        assert app.below("version") == "✔ a release"
        assert app.said[-1] == ("v1", True)


async def test_a_field_that_nobody_can_judge_yet_says_what_it_waits_for():
    app = Form()
    async with app.run_test() as pilot:
        app.field("version").set_value("later")
        await pilot.pause()
        assert app.below("version") == "◌ not known yet"
        assert app.said[-1] == ("later", None)


async def test_another_plan_asks_again_only_for_what_was_typed():
    app = Confirming()
    async with app.run_test() as pilot:
        app.ready()
        app.field.ask("production", "digest-2")
        await pilot.pause()
        assert "type it again" not in app.status
        await pilot.press(*"prod")
        app.field.ask("production", "digest-3")
        await pilot.pause()
        assert "the plan changed: type it again" in app.status


async def test_what_is_still_to_come_is_no_alarm():
    app = Confirming()
    async with app.run_test() as pilot:
        app.field.block("the checklist is not complete", waits=True)
        await pilot.pause()
        assert app.status.startswith("·")
        app.field.block("approval: 1 of 2")
        await pilot.pause()
        assert app.status.startswith("✖")


async def test_white_space_is_part_of_the_value():
    app = Form()
    async with app.run_test() as pilot:
        app.field("version").set_value(" v1")
        await pilot.pause()
        assert app.field("version").value == " v1"
        assert app.field("version").validity.ok is False
