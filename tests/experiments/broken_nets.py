"""Nets as people write them, good ones and others with a fault: ``make_Name`` is the factory of ``Name``."""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def factory(kind):
    """Make the class a factory: its nets have 64 inputs and, as far as they want, the number of classes."""

    def make(shape, classes, config):
        return kind(classes)

    make.__qualname__ = make.__name__ = f"make_{kind.__name__}"
    return make


class Good(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.dropout, self.last = nn.Linear(64, 16), nn.Dropout(0.9), nn.Linear(16, classes)

    def forward(self, images):
        return self.last(self.dropout(self.first(images.flatten(1)).relu()))


class MadeInForward(Good):
    def forward(self, images):
        return self.last(nn.Dropout(0.3)(self.first(images.flatten(1))))


class AlwaysTraining(Good):
    def forward(self, images):
        return self.last(F.dropout(self.first(images.flatten(1)), 0.25))


class Functional(Good):
    def forward(self, images):
        return self.last(F.dropout(self.dropout(self.first(images.flatten(1))), 0.25, self.training))


class InAttention(Good):
    def forward(self, images):
        units = self.first(images.flatten(1))[:, None]
        p = 0.4 if self.training else 0.0
        units = F.scaled_dot_product_attention(units, units, units, dropout_p=p)
        return self.last(self.dropout(units[:, 0]))


class RandomInEvaluation(Good):
    def forward(self, images):
        return super().forward(images) + torch.rand(len(images), 1)


class NoisyTraining(Good):
    def forward(self, images):
        return super().forward(images) + (torch.rand(len(images), 1) if self.training else 0)


class Softmax(Good):
    def forward(self, images):
        return super().forward(images).softmax(1)


class LogSoftmax(Good):
    def forward(self, images):
        return super().forward(images).log_softmax(1)


class SevenOutputs(Good):
    def __init__(self, classes):
        super().__init__(7)


class Tuple(Good):
    def forward(self, images):
        return (super().forward(images),)


class AnotherInTraining(Good):
    def forward(self, images):
        outputs = super().forward(images)
        return {"main": outputs, "more": outputs} if self.training else outputs


class Squeezes(Good):
    def forward(self, images):
        return super().forward(images).squeeze()


class ColourImages(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.last, self.dropout = nn.Conv2d(3, 4, 3), nn.LazyLinear(classes), nn.Dropout()

    def forward(self, images):
        return self.last(self.dropout(self.conv(images).flatten(1)))


class Views(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.last, self.dropout = nn.Conv2d(1, 4, 3), nn.Linear(144, classes), nn.Dropout()

    def forward(self, images):
        return self.last(self.dropout(self.conv(images).view(len(images), -1)))


class NaNWeights(Good):
    def __init__(self, classes):
        super().__init__(classes)
        nn.init.constant_(self.first.bias, float("nan"))


class NaNOutputs(Good):
    def forward(self, images):
        return super().forward(images - 100).sqrt()


class UnusedLayer(Good):
    def __init__(self, classes):
        super().__init__(classes)
        self.second = nn.Linear(3, 4)


class Detached(Good):
    def forward(self, images):
        return super().forward(images).detach()


class Raises(Good):
    def forward(self, images):
        raise ValueError("no " + "o" * 1000)


class UnusedDropout(Good):
    def forward(self, images):
        return self.last(self.first(images.flatten(1)))


class OneUnusedDropout(Good):
    def __init__(self, classes):
        super().__init__(classes)
        self.other = nn.Dropout()


class NeverShaped(Good):
    def __init__(self, classes):
        super().__init__(classes)
        self.second = nn.LazyLinear(4)


class Lazy(Good):
    def __init__(self, classes):
        super().__init__(classes)
        self.first = nn.Sequential(nn.LazyLinear(16), nn.LazyBatchNorm1d())


class BatchNorm(Good):
    def __init__(self, classes):
        super().__init__(classes)
        self.first = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16))


class SpectralNorm(Good):
    def __init__(self, classes):
        super().__init__(classes)
        nn.utils.parametrizations.spectral_norm(self.first)


class WeightNorm(Good):
    def __init__(self, classes):
        super().__init__(classes)
        nn.utils.parametrizations.weight_norm(self.first)


class Shared(Good):
    def forward(self, images):
        return self.last(self.dropout(self.dropout(self.first(images.flatten(1))).relu()))


class TwoNames(Good):
    """One layer under two names."""

    def __init__(self, classes):
        super().__init__(classes)
        self.again = self.dropout

    def forward(self, images):
        return self.last(self.again(self.dropout(self.first(images.flatten(1))).relu()))


class InPlace(Good):
    def __init__(self, classes):
        super().__init__(classes)
        self.dropout = nn.Dropout(0.9, inplace=True)


class OwnForward(nn.Dropout):
    def forward(self, units):
        return F.dropout(units, self.p, self.training) if self.training else units


class OfMaps(Good):
    """Every dropout of torch's, and classes derived from it."""

    def __init__(self, classes):
        super().__init__(classes)
        self.dropout = nn.Sequential(
            OwnForward(0.9), type("Derived", (nn.Dropout,), {})(0.9), nn.AlphaDropout(0.9)
        )
        self.maps = nn.Sequential(nn.Dropout1d(0.9), nn.FeatureAlphaDropout(0.9))
        self.volumes = nn.Dropout3d(0.9)

    def forward(self, images):
        images = self.volumes(self.maps(images.flatten(2))[:, :, None, None])
        return super().forward(images)


class Attention(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, 0.9, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.9, batch_first=True)
        self.last = nn.Linear(8, classes)

    def forward(self, images):
        units = self.encoder(images.flatten(1, 2))
        units, _ = self.attention(units, units, units, need_weights=False)
        return self.last(units[:, -1])


class AttentionAlone(Attention):
    """Its only dropout is within its attention."""

    def __init__(self, classes):
        super().__init__(classes)
        self.encoder = nn.Identity()


class Recurrent(nn.Module):
    kind = nn.LSTM

    def __init__(self, classes):
        super().__init__()
        self.units = self.kind(8, 8, num_layers=2, dropout=0.9, batch_first=True)
        self.last = nn.Linear(8, classes)

    def forward(self, images):
        return self.last(self.units(images.flatten(1, 2))[0][:, -1])


class RecurrentGRU(Recurrent):
    kind = nn.GRU


class RecurrentRNN(Recurrent):
    kind = nn.RNN


class RecurrentPacked(Recurrent):
    def forward(self, images):
        rows = images.flatten(1, 2)
        lengths = [rows.shape[1]] * len(rows)
        packed = nn.utils.rnn.pack_padded_sequence(rows, lengths, batch_first=True)
        return self.last(self.units(packed)[1][0][-1])


class InEval(Good):
    def train(self, mode=True):
        return super().train(False)


class KeepsTensors(Good):
    kept = 0

    def forward(self, images):
        outputs = super().forward(images) + self.kept
        self.kept = outputs.mean() if self.training else 0
        return outputs


class ChangesWhatIsNeeded(Good):
    def forward(self, images):
        units = self.first(images.flatten(1)).sigmoid()
        units += 1
        return self.last(self.dropout(units))


class FunctionalOfMaps(Good):
    def forward(self, images):
        return super().forward(F.dropout2d(images, 0.25, self.training))


class NumpyNoise(Good):
    def forward(self, images):
        noise = float(np.random.rand()) if self.training else 0.5
        return super().forward(images) + noise


class Exits(Good):
    def forward(self, images):
        sys.exit(3)


class OneForAll(Good):
    """With a part that all nets have."""

    part = nn.Linear(16, 16)

    def __init__(self, classes):
        super().__init__(classes)
        self.first = nn.Sequential(self.first, nn.ReLU(), OneForAll.part)


class OneStatistics(Good):
    """With a part that all nets have, which is not trained, but has statistics of what it sees."""

    part = nn.BatchNorm1d(16, affine=False)

    def __init__(self, classes):
        super().__init__(classes)
        self.first = nn.Sequential(self.first, OneStatistics.part)


class OneFrozen(OneForAll):
    """With a part that all nets have, and none changes."""

    part = nn.Linear(16, 16).requires_grad_(False)

    def __init__(self, classes):
        super().__init__(classes)
        self.first[2] = OneFrozen.part


class OfTen(Good):
    """A net of a table of ten columns, with one number for an example."""

    def __init__(self, classes):
        super().__init__(classes)
        self.first = nn.Linear(10, 16)


class NumberOfTen(OfTen):
    """Without a second axis of its outputs."""

    def forward(self, rows):
        return super().forward(rows).squeeze(1)


class NumberSqueezed(OfTen):
    def forward(self, rows):
        return super().forward(rows).squeeze()


class TwoNumbers(OfTen):
    def __init__(self, classes):
        super().__init__(2)


for each in [
    each for each in list(vars().values()) if isinstance(each, type) and each.__module__ == __name__
]:
    if issubclass(each, nn.Module) and each is not OwnForward:
        vars()[f"make_{each.__name__}"] = factory(each)
