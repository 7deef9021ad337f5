"""Streams: what tells draws apart makes them independent, and nothing else matters."""

import itertools

import numpy as np
import torch

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.control import set_streams
from dropbench.dropout.stream import Counters, Stream
from dropbench.kernels.philox import words
from dropbench.run.streams import key_of

CPU = torch.device("cpu")


def test_sites_members_seeds_draws_and_parts_are_independent():
    """Any two of the draws differ in one thing; the bits of their words agree as often as not."""
    base = Stream.of(3, "mask", 0)
    of_site, of_member, of_seed = (
        Stream.of(3, "mask", 0, site=1),
        Stream.of(3, "mask", 1),
        Stream.of(4, "mask", 0),
    )
    of_mc = Stream.of(3, "mc", 0)
    draws = [stream.draw() for stream in (base, of_site, of_member, of_seed, of_mc)]
    draws += [base.draw(), draws[0].of_part(1)]
    count = 4096
    bits = [np.unpackbits(words(count, draw, CPU).numpy().view(np.uint8)) for draw in draws]
    for one, other in itertools.combinations(bits, 2):
        agree = (one == other).mean()
        assert abs(agree - 0.5) < 5 * 0.5 / np.sqrt(32 * count)


def test_a_stream_that_goes_on_in_the_middle_draws_what_the_whole_one_would():
    whole = Stream(key_of(1, "mask", 0), site=2)
    draws = [whole.draw() for _ in range(6)]
    late = Stream(key_of(1, "mask", 0), site=2, position=4)
    assert [late.draw(), late.draw()] == draws[4:]
    assert late.position == whole.position == 6
    assert len({draw.number for draw in draws}) == 6


def test_a_stream_that_counts_on_the_device_draws_the_same():
    """Also when its steps are no longer done here, as in a graph, and only their end is known."""
    key = key_of(1, "mask", 0)
    plain, counted, still = Stream(key, position=5), Stream(key, position=5), Stream(key, site=1)
    counters = Counters((counted, still), CPU)

    def same() -> bool:
        return bool((words(64, counted.draw(), CPU) == words(64, plain.draw(), CPU)).all())

    assert same()
    assert same()
    drawn = counters.move_on()
    assert drawn == [2, 0]
    counters.follow(drawn)
    assert same()
    counters.begin()
    plain.position = 7
    assert same()
    assert same()
    counted.base += 2  # a replay
    counters.follow(drawn)
    assert (counted.position, still.position) == (9, 0)
    assert same()
    assert counted.draw().number == 1
    assert still.base == 0


def test_each_layer_of_a_net_draws_from_its_own_site_of_the_runs_stream():
    net = torch.nn.Sequential(*(BernoulliDropout(0.5) for _ in range(3)))
    set_streams(net, "mask", 7, 2)
    draws = [layer.stream.draw() for layer in net]
    assert {draw.key for draw in draws} == {key_of(7, "mask", 2)}
    assert [draw.site for draw in draws] == [0, 1, 2]
    set_streams(net, "mc", 7, 2)
    assert net[0].stream.draw().key != draws[0].key


def test_dropping_units_at_one_site_does_not_change_the_masks_of_another():
    units, masks = torch.ones(20, 20), []
    for p_first in (0.0, 0.5):
        net = torch.nn.Sequential(BernoulliDropout(p_first), BernoulliDropout(0.5))
        set_streams(net, "mask", 0, 0)
        masks.append([net[0](units), net[1](units)][1])
    assert torch.equal(*masks)
