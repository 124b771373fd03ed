"""The queue of threads at the throttle."""

from __future__ import annotations

import threading
import time

from sesmail.sending.turnstile import Turnstile


def wait_for(count: int, turnstile: Turnstile) -> None:
    while len(turnstile._waiting) < count:
        time.sleep(0.001)


def test_threads_pass_in_the_order_in_which_they_came() -> None:
    turnstile, passed = Turnstile("t"), []
    assert turnstile.enter(0)

    def go(number: int) -> None:
        assert turnstile.enter(30)
        passed.append(number)
        turnstile.leave()

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=go, args=(number,)))
        threads[-1].start()
        wait_for(number + 1, turnstile)
    turnstile.leave()
    for thread in threads:
        thread.join(5)
    assert passed == list(range(8))


def test_who_loses_patience_leaves_the_queue_to_the_others() -> None:
    turnstile = Turnstile("t")
    assert turnstile.enter(0)
    assert not turnstile.enter(0.001)
    turnstile.leave()
    assert turnstile.enter(0)


def test_calling_off_wakes_all_and_lets_none_through() -> None:
    turnstile, answers = Turnstile("t"), []
    assert turnstile.enter(0)
    threads = [threading.Thread(target=lambda: answers.append(turnstile.enter(30))) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(4, turnstile)
    turnstile.call_off()
    for thread in threads:
        thread.join(5)
    assert answers == [False] * 4
