"""The words of the screens, drawn without a screen; and what the terminal is told to show."""

import os
import pty
from dataclasses import replace

import msgspec
import pytest
from support.consoles import (
    ENTRIES,
    FLEET,
    NOW,
    PACE,
    TestConsole,
    card,
    entry,
    environment,
    picture,
    rollout,
    service,
    until,
    words_on,
)
from support.judgements import errors, judgement

from console import theme
from console.actions import BY_ID, Situation, label_for, whole_label_for
from console.screens.evidence import judged_of
from console.screens.headline import Headline, head_of
from console.screens.status import attention, status_parts
from console.screens.vitals import draw_figures, figures_of
from console.screens.words import (
    entry_line,
    environment_row,
    is_trouble,
    next_line,
    rollout_row,
    service_row,
    telling,
    urgent_first,
)
from console.tailing import LogsOf
from console.terminal import is_gone, signs_for
from console.view import Selection
from services.model.fleet import FleetView, Health, ServiceFigures
from services.model.rollout import Arm, Phase, Reason, StepOutcome, StepState, TriggerName, TriggerReading
from widgets import glyphs, ink
from widgets.evidence.judgement import draw_judgement
from widgets.grid.model import as_line
from widgets.keybar import Key, draw_keys
from widgets.statusbar import Part, draw_status
from widgets.text import width


def said(shown):
    return " | ".join(part.text for part in attention(shown))


def test_the_most_urgent_comes_first():
    shown = picture(
        rollouts=(
            card(rollout("a", service="cart", phase=Phase.PAUSED)),
            card(rollout("b", service="checkout", phase=Phase.NEEDS_ATTENTION)),
            card(rollout("c", service="search"), watched=False),
        ),
        journal_ok=False,
        journal_detail="disk full",
    )
    text = said(shown)
    order = [
        "journal: disk full",
        "nobody watches search",
        "checkout in production needs a person",
        "dev 1 failed",
        "cart in production paused",
    ]
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)


def test_what_is_not_reached_is_not_called_safe():
    asked = environment("production", reachable=False, age_seconds=None)
    assert said(picture(fleet=FleetView(environments=(asked,)), rollouts=())) == ""
    answered = replace(picture(), fleet=FleetView(environments=(environment("production"),)), rollouts=())
    assert "nothing unsafe" in said(answered)


def test_clusters_that_are_gone_are_named_in_one_breath():
    gone = tuple(environment(name, reachable=False, age_seconds=44.0, problem="refused") for name in ("dev", "staging"))
    assert "staging, dev unreachable" in said(picture(fleet=FleetView(environments=gone), rollouts=()))
    assert "dev unreachable, seen 44s ago" in said(picture(fleet=FleetView(environments=gone[:1]), rollouts=()))


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (FLEET.environments[0], "1 failed"),
        (FLEET.environments[2], "1 degraded"),
        (FLEET.environments[1], "2 ok"),
        (environment("dev", (service("a", health=Health.PROGRESSING),)), "1 rolling"),
        (environment("dev", reachable=False, age_seconds=125.0), "2m old"),
        (environment("dev", reachable=False, age_seconds=None), "asking"),
        (environment("dev", reachable=False, age_seconds=None, problem="refused"), "no answer"),
    ],
)
def test_an_environment_says_its_worst(view, words):
    assert words in environment_row(view).cells[1][0]


def test_a_service_of_an_unreachable_cluster_is_grey():
    known = ServiceFigures(errors=0.5, p99=0.04, trend=(0.04, 0.05))
    row = service_row(service("a", health=Health.FAILED, ready=0), reachable=False, now=0.0, figures=known, limit=0.05)
    assert {tone for _, tone in row.cells} == {"muted"}


@pytest.mark.parametrize(
    ("figures", "errors", "latency", "reason"),
    [
        (None, "–", "–", ""),
        (ServiceFigures(errors=0.0, p99=0.0412, trend=(0.04, 0.041)), "0%", "41ms       ▄▄", ""),
        (ServiceFigures(errors=0.00002, p99=0.0412, trend=(0.02, 0.04, 0.04)), "<.01%", "41ms      ▂▄▄", ""),
        (ServiceFigures(errors=0.062, p99=1.5, trend=(0.1, None, 1.5)), "6.2%!", "1.50s      ▁·█", ""),
        (ServiceFigures(errors=1.0), "100%!", "–", ""),
        (ServiceFigures(problem="answered 404"), "–", "–", "answered 404"),
        (ServiceFigures(age=90.0, errors=0.5, p99=0.04), "50%", "40ms", "errors and P99 1m old"),
        (ServiceFigures(age=600.0, errors=0.5, p99=0.04), "–", "–", "errors and P99 10m old"),
    ],
)
def test_what_is_known_of_the_requests_of_a_service(figures, errors, latency, reason):
    row = service_row(service("a"), reachable=True, now=0.0, figures=figures, limit=0.05)
    cells = [ink.plain(as_line(cell)).strip() for cell in row.cells]
    assert (cells[4], cells[5], cells[-1]) == (errors, latency, reason)
    assert row.faulty is ("!" in errors)


def test_a_figure_over_its_limit_is_loud_and_marked():
    fired = TriggerReading(name=TriggerName.ERROR_RATE, value=0.08, limit=0.05, unit="share", fired=True)
    cells = rollout_row(card(rollout(triggers=(fired,))), PACE).cells
    assert cells[5][0][1] == "bad"
    assert "!" in cells[5][0][0]


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (card(rollout()), "01:48"),
        (card(rollout(), watched=False), "its triggers are off"),
        (card(rollout(phase=Phase.SUCCEEDED), window_left=3500.0), "for another 58m"),
        (card(rollout(phase=Phase.SUCCEEDED)), "nothing follows"),
    ],
)
def test_what_comes_next(shown, words):
    assert words in ink.plain(next_line(shown, PACE))


def test_looks_that_found_nothing_and_answered_intents_are_left_out():
    assert [found["seq"] for found in telling(ENTRIES)] == [1, 2, 4]
    lost = entry(9, "deployment.executed", phase="intent", outcome="")
    assert telling([lost]) == [lost]  # its outcome is unknown: that is worth a line
    bad = entry(10, "deployment.health_check", outcome="unknown")
    assert telling([bad]) == [bad]


def test_an_entry_says_its_reason_in_words():
    line = entry_line(entry(1, "deployment.rollback", data={"reason": {"name": "error-rate", "detail": "8 % failed"}}))
    assert line.text.endswith("deployment.rollback error-rate: 8 % failed")


def test_orphans_come_before_everything():
    cards = (card(rollout("live")), card(rollout("done", phase=Phase.SUCCEEDED)), card(rollout("alone"), watched=False))
    assert [found.key for found in urgent_first(cards)] == ["alone", "live", "done"]


@pytest.mark.parametrize("columns", [40, 60, 78, 118, 198])
@pytest.mark.parametrize("samples", [True, False])
def test_figures_fit_whatever_the_width(columns, samples):
    shown = rollout() if samples else rollout(samples=(), baseline=None)
    lines = draw_figures(figures_of(shown, PACE, live=True), columns)
    assert all(sum(width(text) for text, _ in line) <= columns for line in lines)


def test_a_finished_rollout_shows_no_traffic_that_nobody_looks_at_any_more():
    lines = draw_figures(figures_of(rollout(phase=Phase.ROLLED_BACK), PACE, live=False), 100)
    assert not any("TRAFFIC" in ink.plain(line) for line in lines)


@pytest.mark.parametrize("columns", [71, 78, 130])
def test_what_an_analysis_still_needs_is_counted_over_the_step_not_over_the_last_minute(columns):
    few = rollout(samples=tuple(_few(sample) for sample in rollout().samples))
    steps = list(few.steps)
    steps[few.step] = msgspec.structs.replace(steps[few.step], requests=66.0)
    shown = msgspec.structs.replace(few, steps=tuple(steps))
    lines = [" ".join(ink.plain(line).split()) for line in draw_figures(figures_of(shown, PACE, live=True), columns)]
    line = next(line for line in lines if line.startswith("REQUESTS"))
    assert "canary 12 " in line
    assert "step 66/500" in line
    assert line.endswith("s ago")
    steps[few.step] = msgspec.structs.replace(steps[few.step], requests=500.0)
    enough = draw_figures(figures_of(msgspec.structs.replace(few, steps=tuple(steps)), PACE, live=True), columns)
    assert not any("/500" in ink.plain(line) for line in enough)
    over = msgspec.structs.replace(shown, phase=Phase.ROLLING_BACK)
    assert not any("/500" in ink.plain(line) for line in draw_figures(figures_of(over, PACE, live=True), columns))


def _few(sample):
    return msgspec.structs.replace(sample, canary=msgspec.structs.replace(sample.canary, requests=12.0))


def test_the_headline_takes_one_line_where_it_fits_and_never_more_than_two_an_urgency():
    head = head_of(card(rollout(phase=Phase.PAUSED, pause_reason="long " * 100)), picture())
    assert len(Headline().draw(head, 200, None)) == 3
    assert len(Headline().draw(head, 60, None)) == 4
    reason = Reason(kind="trigger", name="error-rate", detail="8 % failed")
    text = "\n".join(ink.plain(line) for line in Headline().draw(head_of(card(rollout(reason=reason)), picture()), 100, None))
    assert "error-rate fired: 8 % failed" in text


@pytest.mark.parametrize(
    ("term", "encoding", "mode"),
    [
        ("xterm-256color", "UTF-8", "unicode"),
        ("xterm-256color", "utf8", "unicode"),
        ("xterm-256color", "ANSI_X3.4-1968", "ascii"),
        ("linux", "UTF-8", "ascii"),
        ("dumb", "UTF-8", "ascii"),
    ],
)
def test_signs_fit_the_terminal(term, encoding, mode):
    assert signs_for({"TERM": term}, encoding) == mode


def test_the_theme_to_start_with():
    assert theme.chosen({}, "truecolor") == "dark"
    assert theme.chosen({}, "standard") == "16"
    assert theme.chosen({}, None) == "mono"
    assert theme.chosen({"NO_COLOR": ""}, "truecolor", remembered="light") == "mono"
    assert theme.chosen({"QUARTERDECK_THEME": "light"}, "standard") == "light"
    assert theme.chosen({"QUARTERDECK_THEME": "neon"}, "256") == "dark"


def test_the_theme_that_was_chosen_last_is_worn_again_where_the_terminal_can_show_it():
    assert theme.chosen({}, "truecolor", remembered="contrast") == "contrast"
    assert theme.chosen({}, "truecolor", remembered="no longer there") == "dark"
    assert theme.chosen({}, "standard", remembered="contrast") == "16"
    assert theme.chosen({"QUARTERDECK_THEME": "mono"}, "truecolor", remembered="contrast") == "mono"


@pytest.mark.parametrize(("color_system", "left_out"), [("truecolor", "16"), ("256", "16"), ("standard", "dark")])
def test_the_switch_goes_through_every_theme_of_the_terminal_and_round(color_system, left_out):
    seen = [theme.chosen({}, color_system)]
    while (name := theme.following(seen[-1], color_system)) != seen[0]:
        seen.append(name)
    assert set(seen) == set(theme.NAMES) - {left_out}


def test_a_terminal_that_hung_up_is_noticed():
    master, slave = pty.openpty()
    assert not is_gone(slave)
    os.close(master)
    assert is_gone(slave)
    os.close(slave)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_state_of_the_journal_is_told_however_many_warnings_there_are(width):
    views = tuple(
        environment(name, (service("a", name, health=Health.FAILED), service("b", name, health=Health.DEGRADED)))
        for name in ("dev", "staging", "canary", "production")
    )
    shown = picture(fleet=FleetView(environments=views), rollouts=(card(rollout(phase=Phase.PAUSED)),), speed=5.0)
    assert "✔ journal" in ink.plain(draw_status(*status_parts(shown, "fleet"), width))
    cut_off = replace(shown, failure="a long story " * 9, journal_ok=False, journal_detail="disk full")
    assert ink.plain(draw_status(*status_parts(cut_off, "fleet"), width)).startswith("✖ journal: disk full")


@pytest.mark.parametrize("unreachable", [0, 4])
@pytest.mark.parametrize("screen", ["service", "logs"])
async def test_at_80_columns_a_crowded_status_line_still_says_which_environment_it_is_about(screen, unreachable):
    away = [environment(f"region-{place}", (), reachable=False, age_seconds=70.0, problem="no answer") for place in "abcd"]
    shown = picture(fleet=FleetView(environments=(*FLEET.environments, *away[:unreachable])), speed=5.0)
    app = TestConsole(shown)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.results.add(NOW, "x", "y", "error")
        app.open_service("staging", "checkout") if screen == "service" else app.open_logs(LogsOf("staging", "checkout"))
        await until(pilot, lambda: getattr(app.screen, "where", "") == screen and app.screen.entered)
        app.new_picture(shown)
        first, rest = words_on(app).split("\n", 1)
        assert "1 error: ctrl+l" in first
        assert "checkout · staging" in first
        assert "checkout · staging" in rest


@pytest.mark.parametrize("width", [80, 120, 200])
def test_rollback_names_what_it_rolls_back_where_there_is_room(width):
    situation = Situation(picture(), Selection("production", "payment-service"), "service")
    whole = whole_label_for(BY_ID["rollback"], situation)
    assert whole == "ROLL BACK payment-service in production now (about 2 s to v2.14.1)"
    others = [Key(str(number), "another key", priority=number) for number in (10, 20, 30, 60, 62, 63, 70)]
    key = Key("R", label_for(BY_ID["rollback"], situation), whole=whole)
    lines = [ink.plain(line) for line in draw_keys([key, *others], width, 2)]
    assert lines[0].startswith("R ROLL BACK payment-service in production now")
    assert "30 another key" in "".join(lines)
    crowded = [key, *others]
    plain = [replace(key, whole=""), *others]
    assert draw_keys(crowded, 60, 2) == draw_keys(plain, 60, 2), "nothing is lost for a label that does not fit"
    assert ink.plain(draw_keys(crowded, 60, 2)[0]).startswith("R ROLL BACK now (about 2 s to v2.14.1)")


def test_of_several_warnings_the_last_gives_way_first():
    parts = [Part("worst", priority=0), Part("second", priority=1), Part("third", priority=3), Part("fourth", priority=3)]
    assert ink.plain(draw_status(parts, [], 25)).strip() == "worst · second · third"


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({"phase": "intent", "outcome": "", "rollback_triggered": True}, False),
        ({"outcome": "started", "rollback_triggered": True}, False),
        ({"outcome": "not_restored"}, True),
        ({"outcome": "failed"}, True),
        ({"event": "rollout.refused", "outcome": "gate_unmet"}, True),
    ],
)
def test_only_what_failed_is_red(changes, trouble):
    assert is_trouble(entry(1, **{"event": "deployment.executed", **changes})) is trouble


@pytest.mark.parametrize("columns", [78, 120])
def test_a_rollout_that_succeeded_tells_its_verdicts_and_no_figure_that_has_gone_stale(columns):
    last = rollout().samples[-1]
    alone = msgspec.structs.replace(last, stable=Arm(pods=3, ready=3, requests=0.0, errors=0.0, p50=None, p99=None))
    verdicts = ("healthy", "holds", "promoted")
    shown = rollout(
        phase=Phase.SUCCEEDED,
        samples=(last, alone),
        steps=tuple(StepState(outcome=StepOutcome.DONE, verdict=verdict) for verdict in ("", *verdicts)),
        judgement=judgement(verdict="no_data", quiet=2400.0, health=25.0),
    )
    lines = [" ".join(ink.plain(line).split()) for line in draw_figures(figures_of(shown, PACE + 2460.0, live=False), columns)]
    text = "\n".join(lines)
    assert lines[0] == (f"VERDICT {glyphs.current().unknown} 3 analyses: 1 healthy, 1 nothing wrong, 1 ended by a person")
    for alarming in ("EVIDENCE", "health 25", "ago", "stable ?", "TRIGGERS", "REQUESTS"):
        assert alarming not in text
    assert "× stable" in text, "how they compared is kept"
    assert lines[-1].startswith("BEFORE errors 0.19%")
    proven = msgspec.structs.replace(shown, steps=(StepState(verdict="healthy"), StepState(verdict="healthy")))
    assert "2 analyses: healthy" in ink.plain(draw_figures(figures_of(proven, PACE, live=False), columns)[0])
    found = judged_of(shown)
    assert found is not None
    assert "NO DATA" not in "".join(ink.plain(line) for line in draw_judgement(found, columns))


def test_a_rollout_without_an_analysis_says_so_when_it_is_over():
    shown = rollout(phase=Phase.SUCCEEDED, steps=(), judgement=None, baseline=None, samples=())
    (line,) = draw_figures(figures_of(shown, PACE, live=False), 100)
    assert "no analysis: nothing compared the versions" in ink.plain(line)


def test_much_noise_is_told_as_a_number():
    found = judged_of(rollout(judgement=judgement(metrics=(errors(noise=110.0),))))
    assert found is not None
    assert "noise 110 × Poisson" in " ".join(ink.plain(line) for line in draw_judgement(found, 120))
