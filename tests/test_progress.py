"""Progress goes to standard error, redrawn on a terminal and rarely elsewhere."""

from __future__ import annotations

import sys

import pytest

from refimpl import _progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves: a list with the time in it."""
    now = [100.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_ten_seconds(clock, capsys):
    with _progress.Progress("radius", total=40) as progress:
        for _ in range(40):
            clock[0] += 1.0
            progress.advance()
    captured = capsys.readouterr()
    assert captured.err == "radius 10/40\nradius 20/40\nradius 30/40\nradius 40/40\n"
    assert captured.out == ""


def test_a_terminal_is_redrawn_and_cleared(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _progress.Progress("radius", total=2) as progress:
        progress.advance()  # too soon to say anything
        clock[0] += 0.25
        progress.advance()
    assert capsys.readouterr().err == "\r\x1b[Kradius 2/2\r\x1b[K"


def test_quick_work_says_nothing(clock, capsys):
    assert list(_progress.track("abc", "letters", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_disabled_progress_says_nothing(clock, capsys):
    for _ in _progress.track(range(3), "work", 3, enabled=False):
        clock[0] += 60.0
    assert capsys.readouterr().err == ""


def test_track_counts_an_item_once_it_is_finished(clock, capsys):
    for _ in _progress.track(range(2), "work", 2):
        clock[0] += 60.0
        assert "2/2" not in capsys.readouterr().err
    assert capsys.readouterr().err == "work 2/2\n"


def test_advance_by_several(clock, capsys):
    progress = _progress.Progress("work", total=10)
    clock[0] += 11.0
    progress.advance(7)
    assert capsys.readouterr().err == "work 7/10\n"
