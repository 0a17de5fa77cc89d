"""Jobs that threads take turns at: order, number of threads, errors, the end of all by one."""

from __future__ import annotations

import threading

import pytest

from fastdense.engine.turns import Turns, turns_on


def test_the_job_that_is_least_far_goes_first() -> None:
    far, seen = [0.0, 0.0, 0.0], []

    def turn(job: int, threads: int) -> float | None:
        seen.append(job)
        far[job] += job + 1
        return far[job] if far[job] < 4 else None

    Turns(1).run(3, turn, None)
    assert seen == [0, 1, 2, 0, 0, 1, 0, 2]


@pytest.mark.parametrize("threads", [2, 3])
def test_no_thread_waits_for_a_long_turn(threads: int) -> None:
    """The long turn of one job ends only when the others have done all of theirs."""
    rest, done = threading.Event(), [0] * 4

    def turn(job: int, share: int) -> float | None:
        done[job] += 1
        if job == 0:
            assert rest.wait(60)
            return None
        if sum(done[1:]) == 30:
            rest.set()
        return done[job] if done[job] < 10 else None

    Turns(threads).run(4, turn, None)
    assert done == [1, 10, 10, 10]


def test_the_last_job_gets_all_threads() -> None:
    shares: list[list[int]] = [[], []]
    first = threading.Event()

    def turn(job: int, share: int) -> float | None:
        shares[job].append(share)
        if job == 0:
            first.set()
            return None
        assert first.wait(60)
        return len(shares[1]) if len(shares[1]) < 50 else None

    Turns(4).run(2, turn, None)
    assert shares[0] == [2] and set(shares[1]) <= {2, 4} and shares[1][-1] == 4
    alone: list[int] = []
    Turns(4).run(1, lambda job, share: alone.append(share), None)
    Turns(4, at_once=1).run(2, lambda job, share: alone.append(share), None)
    assert alone == [4, 4, 4]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_ends_all(threads: int) -> None:
    turns = Turns(threads)

    def turn(job: int, share: int) -> float | None:
        if job == 1:
            raise ArithmeticError("of job 1")
        while not turns.stop.wait(0.001) and threads > 1:
            pass
        return 1.0

    with pytest.raises(ArithmeticError, match="of job 1"):
        turns.run(3, turn, None)
    assert turns.stop.is_set() and not any(thread.name == "fastdense" for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_of_the_caller_ends_all(threads: int) -> None:
    turns, seen = Turns(threads), []

    def look() -> None:
        if seen:
            raise KeyboardInterrupt

    def turn(job: int, share: int) -> float | None:
        seen.append(job)
        if threads > 1:
            assert turns.stop.wait(60)
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        turns.run(3, turn, look)
    assert len(seen) <= threads


def test_nothing_to_do() -> None:
    Turns(2).run(0, lambda job, share: 1 / 0, None)


def test_threads_of_a_device() -> None:
    assert (turns_on("cpu", 3).at_once, turns_on("cuda", 3).at_once, turns_on("reference", 3).threads) == (3, 1, 1)
