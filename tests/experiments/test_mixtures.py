"""Averages of Gaussian predictions against quadrature and simulation; whole comparisons of regressions."""

import math

import numpy as np
import pytest
import torch
from experiments.quiet import Quiet
from scipy import integrate, stats

from dropbench.catalog.arms import ARMS
from dropbench.datasets import cache
from dropbench.datasets.column import Column
from dropbench.datasets.dataset import DataSet
from dropbench.engine.gaussian import LEVELS, gaussian_metrics, mixture
from dropbench.errors import UsageError
from dropbench.experiments.bagging.compare import carry_out_comparison
from dropbench.experiments.bagging.cost import count_flops, narrowed
from dropbench.experiments.bagging.mixtures import (
    MAX_VARIANCE_FACTOR,
    Mixture,
    Numbers,
    fit_variance_factor,
    quality,
    scaled_by,
)
from dropbench.experiments.bagging.plan import ComparisonPlan
from dropbench.experiments.bagging.uncertainty import bootstrap_differences
from dropbench.experiments.workbench import Workbench
from dropbench.results.read import read_table
from dropbench.results.schema import COMPARISONS, DIFFERENCES, RELIABILITY, RUNS
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

AVERAGINGS = ("arithmetic", "geometric")
EXAMPLES = 30


def predictions(count: int, examples: int = EXAMPLES, seed: int = 0) -> np.ndarray:
    """Kept arrays of members, whose means and deviations differ."""
    generator = np.random.default_rng(seed)
    means, deviations = (
        generator.normal(5, 2, (count, examples)),
        generator.uniform(0.5, 3, (count, examples)),
    )
    return np.stack([means, deviations], axis=-1).astype(np.float32)


def ensemble(count: int, **more) -> Mixture:
    return Numbers().of_members(list(predictions(count, **more)))


TARGETS = torch.from_numpy(np.random.default_rng(9).normal(5, 3, EXAMPLES).astype(np.float32))


def averaged_by_quadrature(averaging: str, members: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return places, the density of the average there, and what normalises it, of one example."""
    places = np.linspace(-30, 40, 20001)
    densities = stats.norm.pdf(places, members[:, :1].astype(float), members[:, 1:].astype(float))
    mean = densities.mean(0) if averaging == "arithmetic" else np.exp(np.log(densities + 1e-300).mean(0))
    total = integrate.trapezoid(mean, places)
    return places, mean / total, total


@pytest.mark.parametrize("averaging", AVERAGINGS)
@pytest.mark.parametrize("count", [2, 5])
def test_averages_are_those_of_quadrature(count, averaging):
    found = ensemble(count).prediction(averaging)
    moments = mixture(found)
    at_targets, expected, normalisers = [], [], []
    for example in range(EXAMPLES):
        places, density, total = averaged_by_quadrature(averaging, predictions(count)[:, example])
        mean = integrate.trapezoid(places * density, places)
        deviation = math.sqrt(integrate.trapezoid((places - mean) ** 2 * density, places))
        expected.append([mean, deviation])
        at_targets.append(np.interp(TARGETS[example], places, density))
        normalisers.append(math.log(total))
    np.testing.assert_allclose(moments.numpy(), expected, rtol=1e-5)
    figures = quality(ensemble(count), averaging, TARGETS)
    assert figures["test_nll"] == pytest.approx(-np.log(at_targets).mean(), rel=1e-4)
    assert figures["test_rmse"] == pytest.approx(
        math.sqrt(np.square(np.array(expected)[:, 0] - TARGETS.numpy()).mean()), rel=1e-5
    )
    if averaging == "geometric":  # log p̄ = mean log p_m − log Z, so that −log Z is the ambiguity everywhere
        assert figures["nll_ambiguity"] == pytest.approx(-np.mean(normalisers), rel=1e-5)


@pytest.mark.parametrize("averaging", AVERAGINGS)
def test_an_ensemble_of_one_has_its_members_own_metrics(averaging):
    (one,) = predictions(1)
    found = quality(ensemble(1), averaging, TARGETS)
    own = gaussian_metrics(torch.from_numpy(one)[None], TARGETS)
    assert {name: found[f"test_{name}"] for name in own} == own, "to the last digit"
    assert found["nll_ambiguity"] == pytest.approx(0, abs=1e-12)
    assert found["mean_member_nll"] == pytest.approx(own["nll"])


@pytest.mark.parametrize("averaging", AVERAGINGS)
@pytest.mark.parametrize("count", [2, 7])
def test_the_ensembles_loss_is_its_members_less_the_ambiguity(count, averaging):
    found = quality(ensemble(count), averaging, TARGETS)
    each = [gaussian_metrics(torch.from_numpy(member)[None], TARGETS) for member in predictions(count)]
    assert found["mean_member_nll"] == pytest.approx(np.mean([own["nll"] for own in each]))
    assert found["mean_member_squared_error"] == pytest.approx(np.mean([own["rmse"] ** 2 for own in each]))
    assert found["test_nll"] == pytest.approx(found["mean_member_nll"] - found["nll_ambiguity"])
    assert found["nll_ambiguity"] > 0
    other = quality(ensemble(count), averaging, TARGETS.roll(1))
    if averaging == "arithmetic":
        assert found["test_rmse"] ** 2 == pytest.approx(
            found["mean_member_squared_error"] - found["squared_error_ambiguity"]
        )
        assert found["squared_error_ambiguity"] == other["squared_error_ambiguity"] > 0
    else:
        assert math.isnan(found["squared_error_ambiguity"])
        assert found["nll_ambiguity"] == other["nll_ambiguity"]


def test_members_that_agree_have_no_ambiguity_and_their_average_is_theirs():
    same = Numbers().of_members([predictions(1)[0]] * 4)
    for averaging in AVERAGINGS:
        found = quality(same, averaging, TARGETS)
        own = gaussian_metrics(same.members[:1], TARGETS)
        assert found["test_nll"] == pytest.approx(own["nll"])
        assert found["nll_ambiguity"] == pytest.approx(0, abs=1e-9)


# Scaling


@pytest.mark.parametrize("factor", [0.3, 4.0])
def test_scaling_multiplies_the_variances_of_members_and_leaves_their_means(factor):
    before = ensemble(3).members
    after = scaled_by(before, factor)
    torch.testing.assert_close(after[..., 0], before[..., 0].double())
    spread = before[..., 0].double().var(0, correction=0)
    variance = mixture(before)[:, 1].square() - spread
    torch.testing.assert_close(mixture(after)[:, 1].square(), factor * variance + spread)
    assert gaussian_metrics(after, TARGETS)["rmse"] == gaussian_metrics(before, TARGETS)["rmse"]


def test_members_that_are_too_sure_overlap_once_they_are_scaled():
    """Narrow peaks about the truth: scaled, they are as good as one Gaussian of the right width."""
    generator = np.random.default_rng(5)
    means = generator.normal(0, 1, (3, 2000))
    members = torch.from_numpy(np.stack([means, np.full_like(means, 1e-3)], axis=-1))
    targets = torch.from_numpy(generator.normal(0, 1, 2000))
    scaled = scaled_by(members, fit_variance_factor(members, targets))
    right = stats.norm.logpdf(targets.numpy(), means.mean(0), math.sqrt(4 / 3))
    assert gaussian_metrics(scaled, targets)["nll"] == pytest.approx(-right.mean(), abs=0.1)


def test_the_factor_of_a_single_gaussian_is_the_mean_of_its_squared_errors_in_deviations():
    one = ensemble(1).members
    mean, deviation = one[0].double().unbind(-1)
    expected = ((TARGETS - mean) / deviation).square().mean().item()
    assert fit_variance_factor(one, TARGETS) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("factor", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("count", [1, 4])
def test_a_wrong_variance_is_undone_and_the_nll_never_rises(count, factor):
    """Targets are drawn from the predictions: these are calibrated, and shrinking them is undone."""
    many = ensemble(count, examples=4000).members
    generator = np.random.default_rng(3)
    chosen = many[generator.integers(0, count, 4000), range(4000)].numpy()
    targets = torch.from_numpy(generator.normal(chosen[:, 0], chosen[:, 1]))
    wrong = scaled_by(many, 1 / factor)
    found = fit_variance_factor(wrong, targets)
    assert found == pytest.approx(factor, rel=4 * math.sqrt(2 / 4000)), "the variance of a variance"
    after, before = (gaussian_metrics(each, targets) for each in (scaled_by(wrong, found), wrong))
    assert after["nll"] <= before["nll"]
    assert after["coverage_error"] < 4 * 0.5 / math.sqrt(4000)


def test_the_factor_of_what_is_hopelessly_sure_is_bounded():
    sure = torch.tensor([[[0.0, 1e-6]] * 5])
    assert fit_variance_factor(sure, torch.full((5,), 10.0)) == pytest.approx(MAX_VARIANCE_FACTOR, rel=1e-3)
    wide = torch.tensor([[[0.0, 1e6]] * 5])
    assert fit_variance_factor(wide, torch.zeros(5)) == pytest.approx(1 / MAX_VARIANCE_FACTOR, rel=1e-3)


# What a comparison records


def scored(members: np.ndarray, ood: np.ndarray | None = None, averaging: str = "arithmetic"):
    told = {"val": members, "test": members} | ({} if ood is None else {"ood": ood})
    ensembles = {split: Numbers().of_members(list(each)) for split, each in told.items()}
    return Numbers().score(ensembles, {"val": TARGETS, "test": TARGETS}, averaging)


@pytest.mark.parametrize("averaging", AVERAGINGS)
def test_losses_on_examples_have_the_metrics_as_means(averaging):
    found = scored(predictions(3), averaging=averaging)
    assert math.sqrt(found.losses["rmse"].mean()) == pytest.approx(found.figures["test_rmse"])
    assert found.losses["nll"].mean() == pytest.approx(found.figures["test_nll"])
    assert found.losses["nll_scaled"].mean() == pytest.approx(found.figures["test_nll_scaled"])
    assert found.figures["val_nll_scaled"] <= found.figures["val_nll"]
    assert found.figures["test_nll_scaled"] == found.figures["val_nll_scaled"], "of the same examples"


def test_the_bins_are_the_coverage_of_every_level():
    found = scored(predictions(2))
    assert [each["confidence"] for each in found.bins] == list(LEVELS)
    assert {each["examples"] for each in found.bins} == {EXAMPLES}
    errors = [abs(each["accuracy"] - each["confidence"]) for each in found.bins]
    assert np.mean(errors) == pytest.approx(found.figures["test_coverage_error"])


def test_examples_on_which_members_disagree_are_detected_by_the_variance():
    calm = np.stack([np.zeros((3, EXAMPLES)), np.ones((3, EXAMPLES))], axis=-1).astype(np.float32)
    apart = calm + np.array([-5, 0, 5], np.float32)[:, None, None] * np.array([1, 0], np.float32)
    assert scored(calm, apart).figures["foreign_auroc"] == 1
    assert scored(calm, calm).figures["foreign_auroc"] == 0.5, "ties count half"
    assert scored(calm, apart, "geometric").figures["foreign_auroc"] == 0.5, "its variance knows no spread"
    assert "foreign_auroc" not in scored(calm).figures


def test_passes_are_the_first_ones_in_their_order():
    passes = predictions(6)
    found = Numbers().of_passes({"test_mc": passes}, "test", 2, 6)
    assert np.array_equal(found.members.numpy(), passes[:2])


def test_out_of_bag_rmse_asks_only_the_members_that_did_not_see_a_row():
    def one(places: list[int], says: list[float]) -> dict[str, np.ndarray]:
        targets = np.array([0, 10, 20, 30], np.float32)[places]
        means = np.stack([says, np.ones(len(says))], axis=1).astype(np.float32)
        return {"oob": means, "oob_positions": np.array(places, int), "oob_targets": targets}

    found = Numbers().out_of_bag([one([0, 1], [2, 10]), one([1, 3], [14, 27])])
    assert found["oob_rmse"] == pytest.approx(math.sqrt((2**2 + 2**2 + 3**2) / 3))
    assert math.isnan(Numbers().out_of_bag([one([], [])])["oob_rmse"])


# The bootstrap of a root


def test_the_difference_of_rmse_is_bootstrapped_as_the_root_of_a_mean():
    generator = np.random.default_rng(1)
    ours, theirs = generator.chisquare(1, (2, 1, 4, 60)) * np.array([1.0, 1.5]).reshape(2, 1, 1, 1)
    (found,) = bootstrap_differences(ours, theirs, root=True)
    roots = np.sqrt(ours[0].mean(1)) - np.sqrt(theirs[0].mean(1))
    assert found.mean == pytest.approx(roots.mean())
    draws = []
    for _ in range(4000):
        seeds, rows = generator.integers(0, 4, 4), generator.integers(0, 60, 60)
        of_all, of_seeds = (
            np.mean(np.sqrt(ours[0][s][:, rows].mean(1)) - np.sqrt(theirs[0][s][:, rows].mean(1)))
            for s in (np.arange(4), seeds)
        )
        draws.append(of_all + math.sqrt(4 / 3) * (of_seeds - of_all))
    spread = np.std(draws)
    np.testing.assert_allclose([found.low, found.high], np.quantile(draws, (0.025, 0.975)), atol=0.2 * spread)


def test_the_bootstrap_of_a_root_has_the_unit_of_the_target_and_knows_ties():
    squares = np.random.default_rng(2).chisquare(1, (1, 3, 50))
    (near,) = bootstrap_differences(squares, 2 * squares, root=True)
    for unit in (1e-8, 1e8):
        (far,) = bootstrap_differences(unit**2 * squares, unit**2 * 2 * squares, root=True)
        assert vars(far) == pytest.approx(
            {n: v * (unit if n != "p_better" else 1) for n, v in vars(near).items()}
        )
        (tie,) = bootstrap_differences(unit**2 * squares, unit**2 * squares, root=True)
        assert vars(tie) == {"mean": 0, "low": 0, "high": 0, "p_better": 0.5}
    (alone,) = bootstrap_differences(squares, root=True)
    assert alone.mean == pytest.approx(np.sqrt(squares.mean(2)).mean())


# Whole comparisons


def waves(shift: float = 0.0) -> DataSet:
    """A table of three columns whose target is a wave of the first, in units of hundreds."""
    generator = np.random.default_rng(4)

    def make(count: int) -> tuple[np.ndarray, np.ndarray]:
        rows = generator.normal(shift, 1, (count, 3))
        targets = 300 + 100 * np.sin(2 * rows[:, 0]) + generator.normal(0, 20, count)
        return rows, targets.astype(np.float32)

    columns = tuple(Column(name, (), False) for name in ("a", "b", "c"))
    data = DataSet("waves", *make(120), *make(60), classes=(), columns=columns)
    data.check()
    return cache.save(data)


@pytest.fixture
def bench():
    return Workbench(waves(), torch.device("cpu"), "fp32", Machine(jobs=1, threads=1))


def planned(bench: Workbench, **more) -> ComparisonPlan:
    base = RunConfig(
        **bench.data.settings, model="mlp", layers=(16,), epochs=2, p_drop=0.5, mc_samples=4, batch_size=16
    )
    (bound,) = bench.bind([base])
    arms = tuple(name for name in ARMS if name != "boosting")
    return ComparisonPlan(**{"base": bound, "members": 2, "seeds": 2, "arms": arms, **more})


def compared(folder):
    table = read_table(folder, COMPARISONS)
    return table.set_index(["arm", "averaging", "averaged", "passes_per_prediction", "seed"]).sort_index()


def test_a_comparison_of_all_arms_is_consistent_and_resumes(bench, tmp_path):
    far = waves(3.0)
    whole = planned(bench, ood="far", ood_key=far.key, seeds=1)
    store, watcher = Store(tmp_path), Quiet()
    carry_out_comparison(whole, bench, store, watcher)
    table, runs = compared(tmp_path), read_table(tmp_path, RUNS).set_index("run_id")
    assert (runs["status"] == "ok").all()
    metrics = ["test_rmse", "test_nll", "test_coverage_error"]
    for arm in whole.all_arms():
        if arm.name not in ("dropout-mc", "snapshot"):
            row = table.loc[(arm.name, "arithmetic", 1, 1, arm.setting.repetition.seed)]
            assert row[metrics].to_dict() == runs.loc[arm.runs[0].run_id, metrics].to_dict(), (
                "to the last digit"
            )
    assert not table["message"].astype(bool).any()
    assert (table["val_nll_scaled"] <= table["val_nll"]).all()
    assert table["test_nll"].to_numpy() == pytest.approx(
        (table["mean_member_nll"] - table["nll_ambiguity"]).to_numpy()
    )
    of_mixtures = table.loc[(slice(None), "arithmetic"), :]
    assert of_mixtures["test_rmse"].pow(2).to_numpy() == pytest.approx(
        (of_mixtures["mean_member_squared_error"] - of_mixtures["squared_error_ambiguity"]).to_numpy()
    )
    several = table[table.index.get_level_values("averaged") > 1]
    assert (several["nll_ambiguity"] > 0).all()
    bagged = table.loc["bagging"]
    assert bagged["oob_rmse"].between(50, 150).all(), "near the deviation of the targets, 75"
    assert table[["test_error_percent", "test_ece", "disagreement_percent"]].isna().all(axis=None)
    assert table.loc[("single", "arithmetic"), "foreign_auroc"].tolist() == [0.5], "one noise level"
    assert (table.loc[("ensemble", "arithmetic", 2), "foreign_auroc"] > 0.5).all(), "members disagree far off"
    bins = read_table(tmp_path, RELIABILITY)
    assert (bins.groupby("comparison_id").size() == len(LEVELS)).all()
    pairs = read_table(tmp_path, DIFFERENCES)
    assert set(pairs["loss"]) == {"rmse", "nll", "nll_scaled"}
    assert not pairs["mcnemar_p"].astype(bool).any()
    found = pairs[(pairs["loss"] == "rmse") & (pairs["arm"] == "bagging")].set_index("reference")
    means = table["test_rmse"].groupby(level=[0, 1, 2]).mean()
    assert found.loc["", "difference"] == pytest.approx(means["bagging", "arithmetic", 2])
    assert found.loc["dropout", "difference"] == pytest.approx(
        means["bagging", "arithmetic", 2] - means["dropout", "arithmetic", 1]
    )
    again = Quiet()
    carry_out_comparison(whole, bench, store, again)
    assert again.runs == 0
    assert len(compared(tmp_path)) == len(table)


@pytest.mark.parametrize("budget", ["train", "inference", "parameters"])
def test_every_budget_is_held(bench, tmp_path, budget):
    width = narrowed(planned(bench).base, 2, bench.data) if budget == "parameters" else 1.0
    chosen = planned(bench, budget=budget, narrow=width, seeds=1, arms=("dropout", "bagging", "dropout-mc"))
    carry_out_comparison(chosen, bench, Store(tmp_path), Quiet())
    table = compared(tmp_path).xs("arithmetic", level="averaging")
    one, two = table.loc[("dropout", 1, 1, 0)], table.loc[("bagging", 2, 2, 0)]
    if budget == "train":
        assert two["train_flops"] == one["train_flops"]
    elif budget == "parameters":
        assert 0.85 * one["parameters"] < two["parameters"] <= one["parameters"]
    else:
        assert chosen.reference == "dropout-mc"
        assert set(read_table(tmp_path, DIFFERENCES)["reference"]) == {"", "dropout-mc"}
        assert ("dropout-mc", 1, 2, 0) in table.index


def test_flops_are_those_of_the_matrices(bench):
    found = count_flops(planned(bench).base, bench.data)
    forward = 2 * (3 * 16 + 16 * 1)
    assert found.prediction == found.first_thinned == forward
    assert found.training == 3 * forward - 2 * 3 * 16, "without the gradient of the inputs"
    assert found.thinned == 2 * 16, "what comes before the first mask is shared"


def test_boosting_is_refused(bench):
    with pytest.raises(UsageError, match="classification"):
        planned(bench, arms=("boosting",))
