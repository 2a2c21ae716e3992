"""The benchmarks' arithmetic; the benchmarks themselves are run by `make bench`."""

import pytest

from benchmarks import page
from benchmarks.goals import GOALS, Goal
from benchmarks.scenes import PEERS, SCENES
from benchmarks.tables import UNITS, goal_table, middle, number, ratio, reached, scene_table

ROUNDS = [
    {"websockify": {"p50_us": 100.0}, "rfbproxy": {"p50_us": 50.0}},
    {"websockify": {"p50_us": 10.0}, "rfbproxy": {"p50_us": 9.0}},
    {"websockify": {"p50_us": 200.0}, "rfbproxy": {"p50_us": 120.0}},
]


def test_a_ratio_is_the_median_within_rounds_and_not_the_ratio_of_medians():
    assert middle(ROUNDS, "rfbproxy", "p50_us") == 50
    assert ratio(ROUNDS, "rfbproxy", "p50_us", "websockify") == pytest.approx(0.6)


def test_runs_that_failed_count_for_nothing():
    rounds = [*ROUNDS, {"websockify": {"p50_us": 1.0}}, {"rfbproxy": {"p50_us": 1.0}}]
    assert ratio(rounds, "rfbproxy", "p50_us", "websockify") == pytest.approx(0.6)
    assert ratio(rounds, "haproxy", "p50_us", "websockify") is None
    assert middle(rounds, "haproxy", "p50_us") is None


def test_a_scene_is_a_table_of_medians_and_ratios():
    assert scene_table(ROUNDS).splitlines() == [
        "| peer | n | p50 µs | p50 µs ÷ websockify |",
        "| --- | --- | --- | --- |",
        "| websockify | 3 | 100 | 1 |",
        "| rfbproxy | 3 | 50 | 0.600 |",
    ]


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (Goal("keys", "p50_us", 0.7), "0.600", "met"),
        (Goal("keys", "p50_us", 0.5), "0.600", "**missed**"),
        (Goal("keys", "p50_us", 0.6, at_most=False), "0.600", "met"),
        (Goal("keys", "p50_us", 60, None), "50", "met"),
        (Goal("keys", "p50_us", 1, "haproxy"), "-", "not measured"),
    ],
)
def test_a_goal_is_met_missed_or_not_measured(goal, value, verdict):
    line = goal_table([goal], {"keys": ROUNDS}, {"keys": "Keystroke"}).splitlines()[-1]
    assert line.startswith("| Keystroke | p50 µs")
    assert line.endswith(f"| {value} | {verdict} |")


def test_goals_of_scenes_that_were_not_played_are_left_out():
    assert len(goal_table(GOALS, {}, {}).splitlines()) == 2


def test_goals_and_scenes_name_what_there_is():
    scenes = {scene.name: scene for scene in SCENES}
    assert len(scenes) == len(SCENES)
    for goal in GOALS:
        assert goal.figure in UNITS
        assert {goal.peer, goal.against or goal.peer} <= set(scenes[goal.scene].peers)
        assert reached(goal, []) is None
    assert {peer for scene in SCENES for peer in scene.peers} == set(PEERS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.0456, "0.046"),
        (1.234, "1.23"),
        (34.56, "34.6"),
        (1234.5, "1,234"),
        (4000.0, "4,000"),
    ],
)
def test_three_digits_count(value, text):
    assert number(value) == text


def test_figures_go_between_their_marks(tmp_path, monkeypatch):
    files = [tmp_path / "page.md", tmp_path / "readme.md"]
    for file in files:
        file.write_text("before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
    monkeypatch.setattr(page, "PAGE", files[0])
    monkeypatch.setattr(page, "README", files[1])
    visits = {"websockify": {"visits_per_s": 2.0}, "rfbproxy-workers": {"visits_per_s": 10.0}}
    page.write("new", {"connect": [visits]})
    assert files[0].read_text() == "before\n<!-- figures -->\nnew\n<!-- end of figures -->\nafter\n"
    assert "- 5 times websockify's visits a second" in files[1].read_text()


def test_the_page_and_the_readme_have_a_place_for_figures():
    for file in (page.PAGE, page.README):
        text = file.read_text()
        assert text.count("<!-- figures -->") == text.count("<!-- end of figures -->") == 1
