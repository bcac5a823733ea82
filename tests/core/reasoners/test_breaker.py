"""Leaving a failing server alone: when it begins, how it grows, and how it ends. The clock is the test's."""

from __future__ import annotations

from core.reasoners._breaker import Breaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(most=5, cool_down=10, longest=300, clock=clock)
    for _ in range(5):
        assert breaker.refused_for() == 0
        breaker.failed()
    return breaker


def test_five_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    clock = Clock()
    breaker = Breaker(most=5, cool_down=10, clock=clock)
    for _ in range(4):
        breaker.failed()
    breaker.succeeded()
    for _ in range(4):
        breaker.failed()
    assert breaker.refused_for() == 0
    breaker.failed()
    assert breaker.refused_for() == 10 and breaker.failures == 5


def test_after_the_cool_down_one_alone_is_let_through() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 9.9
    assert 0 < breaker.refused_for() < 0.2
    clock.now += 0.1
    assert breaker.refused_for() == 0, "the probe"
    assert breaker.refused_for() > 0, "the others wait for its answer"
    breaker.succeeded()
    assert breaker.refused_for() == 0 == breaker.failures


def test_the_cool_down_doubles_up_to_five_minutes_and_starts_small_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    waits = []
    for _ in range(8):
        waits.append(breaker.refused_for())
        clock.now += waits[-1]
        assert breaker.refused_for() == 0
        breaker.failed()
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    clock.now += 300
    assert breaker.refused_for() == 0
    breaker.succeeded()
    for _ in range(5):
        breaker.failed()
    assert breaker.refused_for() == 10


def test_failures_of_calls_that_began_before_do_not_prolong_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 5
    breaker.failed()
    assert breaker.refused_for() == 5 and breaker.failures == 5


def test_a_late_success_of_a_call_that_began_before_closes_it() -> None:
    breaker = opened(Clock())
    breaker.succeeded()
    assert breaker.refused_for() == 0
