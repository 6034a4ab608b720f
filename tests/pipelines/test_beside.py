"""What is carried to full size while the model goes on: in order, nothing lost, nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from realmaster.pipelines.beside import Beside
from realmaster.pipelines.stopwatch import Stopwatch


def test_results_come_in_order_one_call_later() -> None:
    with Beside[int](Stopwatch(), "transfer") as beside:
        given = [beside.go_on(iter(range(number, number + 3))) for number in range(4)]
        given.append(beside.finish())
        assert given == [[], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
        assert beside.finish() == []


def test_it_works_while_its_caller_does_something_else() -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    def items() -> Iterator[str]:
        begun.set()
        assert may_go_on.wait(10)
        yield threading.current_thread().name

    with Beside[str](Stopwatch(), "transfer") as beside:
        beside.go_on(items())
        assert begun.wait(10)  # and we are here
        may_go_on.set()
        (name,) = beside.finish()
    assert name != threading.current_thread().name


def test_only_what_is_waited_for_counts() -> None:
    watch = Stopwatch()
    with Beside[int](watch, "transfer") as beside:
        beside.go_on(iter([1]))
        assert watch.seconds == {}
        beside.finish()
        assert watch.seconds["transfer"] >= 0


def test_what_fails_there_is_raised_here_and_the_thread_is_gone() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("a mask that cannot be read")

    with Beside[int](Stopwatch(), "carried") as beside:
        beside.go_on(items())
        with pytest.raises(ValueError, match="a mask"):
            beside.go_on(iter([2]))
    assert not [thread for thread in threading.enumerate() if "carried" in thread.name]


def test_when_the_caller_fails_no_further_item_is_worked_out() -> None:
    done, may_go_on = [], threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            may_go_on.wait(10)
            done.append(number)
            yield number

    def interrupted() -> None:
        with Beside[int](Stopwatch(), "carried") as beside:
            beside.go_on(items())
            threading.Timer(0.2, may_go_on.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(done) <= 1
    assert not [thread for thread in threading.enumerate() if "carried" in thread.name]
