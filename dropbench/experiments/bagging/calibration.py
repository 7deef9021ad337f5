"""What a prediction's confidence is worth: temperature scaling, and telling foreign images by it."""

import math

import torch
import torch.nn.functional as F

HOTTEST = 10.0
"""The temperature is looked for from 1/10 to 10: with no error on the validation images it would go to 0."""
TRUE_POSITIVES = 0.95


def at_temperature(log_probabilities: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities ``(examples, classes)`` of the softmax of log P / T; no class changes its place."""
    return F.log_softmax(log_probabilities.double() / temperature, dim=1)


def fit_temperature(log_probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    """The temperature of the lowest negative log-likelihood (Guo et al. 2017), never higher than that at 1.

    Ensembles are compared fairly only after it, fitted for each on validation images (Ashukha et al. 2020).
    """
    from scipy.optimize import minimize_scalar

    def nll(log_temperature: float) -> float:
        return F.nll_loss(at_temperature(log_probabilities, math.exp(log_temperature)), labels).item()

    reach = math.log(HOTTEST)
    # The likelihood is concave in 1/T, so there is one optimum.
    found = minimize_scalar(nll, bounds=(-reach, reach), method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x) if found.fun < nll(0.0) else 1.0


def entropy(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Of each prediction ``(examples, classes)``, in nats ``(examples,)``."""
    of_classes: torch.Tensor = torch.special.entr(log_probabilities.double().exp())
    return of_classes.sum(1)


def detection(own: torch.Tensor, foreign: torch.Tensor) -> dict[str, float]:
    """How well a higher score ``(examples,)`` tells foreign images from the test set's own.

    ``foreign_auroc`` is the chance that a foreign image has the higher score of a pair (ties half), from 0
    to 1; ``foreign_fpr95_percent`` the share of own images that are taken for foreign at the threshold that
    finds 95 % of the foreign ones (Liang et al. 2018; foreign as the positive, as in Hendrycks et al. 2019).
    """
    from sklearn.metrics import auc, roc_curve

    truth = torch.cat([torch.zeros(len(own)), torch.ones(len(foreign))]).numpy()
    false, true, _ = roc_curve(truth, torch.cat([own, foreign]).numpy(), drop_intermediate=False)
    return {
        "foreign_auroc": float(auc(false, true)),
        "foreign_fpr95_percent": 100 * float(false[true >= TRUE_POSITIVES][0]),
    }
