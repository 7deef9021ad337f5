"""Work in turns, and training runs side by side: each gives what it gives alone."""

from collections.abc import Iterable
from contextlib import contextmanager

import pytest
import torch

from dropbench.engine.train import train, training
from dropbench.engine.turns import (
    Result,
    Take,
    Turns,
    late,
    side_by_side,
    to_its_end,
    until_halted,
    with_lent,
)
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")


def work(name: str, turns: int, log: list[str]) -> Turns[str]:
    try:
        for _ in range(turns):
            log.append(name)
            yield
        return name
    finally:
        log.append(f"{name} ends")


def from_these(works: Iterable[Turns[Result]]) -> Take[Result]:
    rest = iter(works)
    return lambda may_wait: next(rest, None)


def test_a_work_is_done_to_its_end():
    log: list[str] = []
    assert to_its_end(work("a", 3, log)) == "a"
    assert log == ["a", "a", "a", "a ends"]


def test_works_take_turns_and_the_next_begins_when_one_has_ended():
    log: list[str] = []
    works = (work(name, turns, log) for name, turns in (("a", 3), ("b", 1), ("c", 2)))
    assert list(side_by_side(from_these(works), 2)) == ["b", "a", "c"]
    assert log == ["a", "b", "a", "b ends", "a", "c", "a ends", "c", "c ends"]


@pytest.mark.parametrize("abreast", [1, 2, 5])
def test_each_work_gives_its_result_however_many_are_abreast(abreast):
    works = [work(str(number), number % 4, []) for number in range(9)]
    assert sorted(side_by_side(from_these(works), abreast)) == [str(number) for number in range(9)]


def test_no_more_works_are_begun_than_are_abreast():
    log: list[str] = []
    results = side_by_side(from_these(work(name, 1, log) for name in "abc"), 2)
    assert next(results) == "a"
    assert "c" not in log


def test_a_work_that_comes_later_is_done_too_and_nothing_waits_for_it():
    log: list[str] = []
    coming = [work("a", 3, log), None, None, work("b", 1, log), None]
    waits = []

    def take(may_wait: bool) -> Turns[str] | None:
        waits.append(may_wait)
        return coming.pop(0)

    assert list(side_by_side(take, 2)) == ["a", "b"]
    assert log == ["a", "a", "a", "b", "a ends", "b ends"]
    assert waits == [True, False, False, False, True]


def test_what_is_in_progress_is_closed_with_the_iterator():
    log: list[str] = []
    results = side_by_side(from_these(work(name, turns, log) for name, turns in (("a", 1), ("b", 9))), 2)
    next(results)
    results.close()  # type: ignore[attr-defined]  # a generator
    assert log[-1] == "b ends"


@pytest.mark.parametrize("turns", range(8))
def test_once_it_halts_no_turn_is_begun_and_all_are_closed(turns):
    log: list[str] = []

    def halts() -> bool:
        return len([entry for entry in log if "ends" not in entry]) >= turns

    works = from_these(work(name, 3, log) for name in "abc")
    ended = list(side_by_side(works, 2, halts))
    done = [entry for entry in log if "ends" not in entry]
    assert len(done) == turns
    assert {name for name in "abc" if done.count(name) and f"{name} ends" not in log} == set()
    assert all(done.count(name) == 3 for name in ended)


def test_works_are_closed_whatever_the_closing_of_another_raises():
    log: list[str] = []

    def stubborn() -> Turns[str]:
        try:
            yield
            return "stubborn"
        finally:
            raise OSError("no space")

    works = from_these([work("a", 9, log), stubborn(), work("b", 9, log)])
    results = side_by_side(works, 3, lambda: len(log) > 1)
    with pytest.raises(OSError, match="no space"):
        list(results)
    assert {"a ends", "b ends"} <= set(log)


def test_a_work_that_halts_has_no_result():
    log: list[str] = []
    assert until_halted(work("a", 3, log), lambda: len(log) == 2) is None
    assert log == ["a", "a", "a ends"]
    assert until_halted(work("b", 3, log), lambda: False) == "b"


def test_late_is_so_long_after_what_was_seen(monkeypatch):
    now, seen = [10.0], [False]
    monkeypatch.setattr("dropbench.engine.turns.monotonic", lambda: now[0])
    is_late = late(lambda: seen[0], 2.0)
    assert not is_late()
    now[0], seen[0] = 13.0, True
    assert not is_late(), "it is seen just now"
    now[0], seen[0] = 14.9, False
    assert not is_late()
    now[0] = 15.0
    assert is_late()


class Lender:
    def __init__(self) -> None:
        self.is_lent = False

    @contextmanager
    def lent(self):
        self.is_lent = True
        try:
            yield
        finally:
            self.is_lent = False


def test_a_work_has_what_it_is_lent_in_its_turns_only():
    lender, seen = Lender(), []

    def borrowing() -> Turns[str]:
        for _ in range(2):
            seen.append(lender.is_lent)
            yield
        seen.append(lender.is_lent)
        return "done"

    for _ in (turns := with_lent(lender, borrowing())):
        assert not lender.is_lent
    assert seen == [True, True, True]
    assert not lender.is_lent
    with pytest.raises(StopIteration):
        next(turns)


CONFIGS = [
    RunConfig(model="mlp", layers=(16,), epochs=2, batch_size=50, p_drop=0.5, seed=0),
    RunConfig(model="mlp", layers=(16,), epochs=3, batch_size=50, p_drop=0.2, seed=1, dropout="gaussian"),
    RunConfig(model="lecture-cnn", width=0.1, epochs=1, batch_size=80, p_drop=0.3, dropout_schedule="ramp"),
    RunConfig(model="mlp", layers=(16,), epochs=2, p_drop=0.5, dropout="torch.nn:Dropout"),
    RunConfig(model="mlp", layers=(16,), epochs=3, patience=1, learning_rate=2.0, mc_samples=4, p_drop=0.5),
]


def test_runs_side_by_side_have_the_numbers_that_each_has_alone(blobs):
    alone = {config.run_id: train(config, blobs) for config in CONFIGS}
    before = torch.get_rng_state()
    together = list(side_by_side(from_these(training(config, blobs) for config in CONFIGS), 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(together) == len(CONFIGS)
    for result in together:
        expected = alone[result.config.run_id]
        assert result.metrics == expected.metrics
        assert [
            (record.train_loss, record.val_loss, record.train_error_percent) for record in result.epochs
        ] == [(record.train_loss, record.val_loss, record.train_error_percent) for record in expected.epochs]
        for name, array in expected.predictions.items():
            assert (result.predictions[name] == array).all()
