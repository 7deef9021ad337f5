"""Calibration by temperature scaling, and detection of out-of-distribution images."""

import math

import torch
import torch.nn.functional as F

MAX_TEMPERATURE = 10.0
"""Bounds the search to 1/10 … 10."""
TRUE_POSITIVE_RATE = 0.95
"""The share of out-of-distribution images to be found, at which false positives are counted."""


def at_temperature(log_probabilities: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities ``(examples, classes)`` of softmax(log P / T); the ranking of the classes stays.

    All are NaN where T is.
    """
    return F.log_softmax(log_probabilities.double() / temperature, dim=1)


def fit_temperature(log_probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    """The temperature with the lowest negative log-likelihood (Guo et al. 2017).

    It is 1 where no other temperature does better, and NaN where every image is classified correctly: there
    the lowest is always the best, however bad it is for other images. Ensembles are compared fairly only
    after this scaling, fitted for each of them on validation images (Ashukha et al. 2020).
    """
    from scipy.optimize import minimize_scalar

    if bool((log_probabilities.argmax(1) == labels).all()):
        return math.nan

    def nll(log_temperature: float) -> float:
        return F.nll_loss(at_temperature(log_probabilities, math.exp(log_temperature)), labels).item()

    reach = math.log(MAX_TEMPERATURE)
    # The likelihood is concave in 1/T, so there is one optimum.
    found = minimize_scalar(nll, bounds=(-reach, reach), method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x) if found.fun < nll(0.0) else 1.0


def entropy(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Entropy of each prediction in nats ``(examples,)``, from log-probabilities ``(examples, classes)``."""
    terms: torch.Tensor = torch.special.entr(log_probabilities.double().exp())
    return terms.sum(1)


def detection(test: torch.Tensor, ood: torch.Tensor) -> dict[str, float]:
    """How well a score ``(examples,)`` detects out-of-distribution images, which should have the higher one.

    - ``foreign_auroc``, 0 to 1: the probability that of a test image and an out-of-distribution image the
      latter has the higher score; ties count half.
    - ``foreign_fpr95_percent``: the share of test images above the threshold that finds 95 % of the
      out-of-distribution images (Liang et al. 2018; these are the positives, as in Hendrycks et al. 2019).
    """
    from sklearn.metrics import auc, roc_curve

    truth = torch.cat([torch.zeros(len(test)), torch.ones(len(ood))]).numpy()
    false, true, _ = roc_curve(truth, torch.cat([test, ood]).numpy(), drop_intermediate=False)
    return {
        "foreign_auroc": float(auc(false, true)),
        "foreign_fpr95_percent": 100 * float(false[true >= TRUE_POSITIVE_RATE][0]),
    }
