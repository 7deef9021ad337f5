"""Code that draws from torch's generators: what it draws is a function of the draw alone."""

import torch
from torch import nn

from dropbench.dropout.lending import as_default, own_draws, torch_generator_of
from dropbench.dropout.own import OwnDropout
from dropbench.dropout.stream import Stream
from dropbench.kernels.draws import Draw
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")
OWN = RunConfig(dropout="torch.nn:Dropout", p_drop=0.5, seed=3)


def test_the_default_generator_is_lent_and_has_its_state_again():
    before = torch.get_rng_state()
    numbers = []
    for draw in (Draw(1, 0, 0), Draw(1, 1, 0), Draw(1, 0, 1), Draw(2, 0, 0), Draw(1, 0, 0)):
        with as_default(draw, CPU):
            numbers.append(torch.rand(4).tolist())
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.rand(4, generator=torch_generator_of(draw, CPU)).tolist() == numbers[-1]
    assert numbers[0] == numbers[-1]
    assert len({tuple(drawn) for drawn in numbers}) == 4


def test_a_loan_goes_on_where_it_ended_whatever_was_drawn_in_between():
    whole, parts = own_draws(OWN, CPU), own_draws(OWN, CPU)
    with whole.lent():
        expected = torch.rand(4)
    drawn = []
    for _ in range(2):
        with parts.lent():
            drawn.append(torch.rand(2))
        torch.rand(3)
    assert torch.equal(torch.cat(drawn), expected)


def test_a_run_without_code_of_the_users_own_is_lent_nothing():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with own_draws(RunConfig(), CPU).lent():
        assert torch.equal(torch.rand(4), expected)


def test_the_default_generator_is_given_back_after_an_error():
    before = torch.get_rng_state()
    try:
        with as_default(Draw(1, 0, 0), CPU):
            torch.rand(1)
            raise ValueError
    except ValueError:
        assert torch.equal(torch.get_rng_state(), before)


def test_of_two_gpus_only_that_of_the_run_draws_what_belongs_to_the_run(monkeypatch):
    """Generators of the CPU stand for those of the GPUs, whose states are in host memory as well."""
    others, own = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    monkeypatch.setattr(torch.cuda, "default_generators", (others, own))
    device, before = torch.device("cuda", 1), [each.get_state() for each in (others, own)]
    for lent in (own_draws(OWN, device).lent(), as_default(Draw(1, 0, 0), device)):
        with lent:
            assert torch.equal(torch.rand(4, generator=own), torch.rand(4))
            assert torch.equal(others.get_state(), before[0])
        assert torch.equal(own.get_state(), before[1])


def test_a_run_on_the_cpu_leaves_gpus_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "default_generators", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with own_draws(OWN, CPU).lent():
        first = torch.rand(4)
        assert not torch.cuda.is_initialized()
    with own_draws(OWN, CPU).lent():
        assert torch.equal(torch.rand(4), first)


def test_a_dropout_of_the_users_own_goes_on_in_the_middle_as_in_the_whole_run():
    whole, late, units = OwnDropout(0.5, nn.Dropout), OwnDropout(0.5, nn.Dropout), torch.ones(30, 30)
    whole.stream, late.stream = Stream(3), Stream(3, position=2)
    masks = [whole(units) for _ in range(4)]
    assert not torch.equal(masks[0], masks[1])
    assert torch.equal(late(units), masks[2])
    assert torch.equal(late(units), masks[3])
