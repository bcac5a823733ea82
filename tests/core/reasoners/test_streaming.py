"""An explanation while it is written: seldom enough, fit to show, and harmless."""

from __future__ import annotations

from core.reasoners._streaming import Telling


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_nobody_is_told_more_than_ten_times_a_second() -> None:
    clock, told = Clock(), []
    telling = Telling(told.append, clock=clock)
    for step in range(1000):  # one second, a thousand tokens
        clock.now = step / 1000
        telling("x" * (step + 1))
    assert 9 <= len(told) <= 10 and told[0] == "x"


def test_the_same_text_is_told_once_and_an_empty_one_never() -> None:
    clock, told = Clock(), []
    telling = Telling(told.append, clock=clock)
    for text in ("", " \n", "Mud", "Mud ", "Mud\x1b[31m [E1]"):
        clock.now += 1
        telling(text)
    assert told == ["Mud", "Mud�[31m [E1]"]


def test_without_a_listener_nothing_is_due() -> None:
    telling = Telling(None)
    telling("Mud")
    assert not telling.wanted and not telling.due
