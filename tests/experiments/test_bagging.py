"""Ensembles against brute force, the cost and the shared runs of arms, and whole comparisons."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from experiments.quiet import MLP, Quiet
from scipy import stats
from sklearn.metrics import roc_auc_score

from dropbench.catalog.arms import ARMS, DEFAULT_ARMS
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import split
from dropbench.engine.evaluate import as_kept, from_kept, metrics
from dropbench.errors import UsageError
from dropbench.experiments.bagging.averaging import Ensemble, log_mean, out_of_bag_error, quality
from dropbench.experiments.bagging.calibration import at_temperature, detection, entropy, fit_temperature
from dropbench.experiments.bagging.compare import carry_out_comparison, ood_key
from dropbench.experiments.bagging.cost import boosting_step, count_flops, narrowed
from dropbench.experiments.bagging.plan import ComparisonPlan, runs_of
from dropbench.experiments.bagging.uncertainty import bootstrap_differences, mcnemar
from dropbench.experiments.workbench import Workbench
from dropbench.models.build import build_model
from dropbench.results.read import read_table
from dropbench.results.schema import COMPARISONS, DIFFERENCES, RELIABILITY, RUNS
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine, Policy

DROPOUT = MLP.replace(epochs=3, p_drop=0.5, mc_samples=4)
FIGURES = ["test_error_percent", "test_nll", "test_brier", "test_ece"]


@pytest.fixture
def bench(blobs):
    return Workbench(blobs, torch.device("cpu"), "fp32", Machine(jobs=1, threads=1))


def members(count: int, examples: int = 40, classes: int = 4, seed: int = 0) -> list[torch.Tensor]:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), size=(count, examples))
    return [torch.log(torch.from_numpy(p)).float() for p in probabilities]


LABELS = torch.arange(40) % 4


# Averages and their decomposition


@pytest.mark.parametrize("count", [1, 2, 7])
def test_means_are_those_of_brute_force(count):
    found = Ensemble.of_members(members(count))
    probabilities = torch.stack(members(count)).double().exp()
    torch.testing.assert_close(
        found.prediction("arithmetic").double().exp(), probabilities.mean(0), rtol=1e-5, atol=0
    )
    product = probabilities.prod(0) ** (1 / count)
    torch.testing.assert_close(
        found.prediction("geometric").double().exp(),
        product / product.sum(1, keepdim=True),
        rtol=1e-5,
        atol=0,
    )


def test_an_ensemble_of_one_is_its_member_to_the_last_bit():
    (one,) = members(1)
    for averaging in ("arithmetic", "geometric"):
        assert torch.equal(Ensemble.of_members([one]).prediction(averaging), one)
        found = quality(Ensemble.of_members([one]), averaging, LABELS)
        assert found["test_nll"] == metrics(one, LABELS)["nll"]
        assert found["nll_ambiguity"] == pytest.approx(0, abs=1e-6)
        assert math.isnan(found["disagreement_percent"])


@pytest.mark.parametrize("averaging", ["arithmetic", "geometric"])
@pytest.mark.parametrize("count", [2, 5])
def test_the_ensembles_loss_is_its_members_less_the_ambiguity(count, averaging):
    of_members = members(count)
    found = quality(Ensemble.of_members(of_members), averaging, LABELS)
    each = [metrics(member, LABELS) for member in of_members]
    assert found["mean_member_nll"] == pytest.approx(np.mean([m["nll"] for m in each]), rel=1e-6)
    assert found["mean_member_brier"] == pytest.approx(np.mean([m["brier"] for m in each]), rel=1e-6)
    assert found["mean_member_error_percent"] == pytest.approx(np.mean([m["error_percent"] for m in each]))
    assert found["test_nll"] == pytest.approx(found["mean_member_nll"] - found["nll_ambiguity"], rel=1e-5)
    assert found["nll_ambiguity"] > 0
    if averaging == "arithmetic":
        assert found["test_brier"] == pytest.approx(
            found["mean_member_brier"] - found["brier_ambiguity"], rel=1e-5
        )
    else:  # Heskes 1998: the members' mean divergence from the geometric mean, whatever the labels
        mean = Ensemble.of_members(of_members).prediction("geometric").double()
        divergences = [(mean.exp() * (mean - member.double())).sum(1).mean().item() for member in of_members]
        assert found["nll_ambiguity"] == pytest.approx(np.mean(divergences), rel=1e-5)
        other = quality(Ensemble.of_members(of_members), averaging, LABELS.roll(1))
        assert other["nll_ambiguity"] == found["nll_ambiguity"]


@pytest.mark.parametrize("count", [*range(1, 60), 100])
def test_sure_members_are_surely_averaged(count):
    """log(M · 1) − log M is not 0 in float32 for some M, and a confidence above 1 would have no bin."""
    sure = torch.full((5, 3), -20.0)
    sure[:, 0] = 0.0
    mean = log_mean([from_kept(as_kept(sure))] * count)
    assert (mean <= 0).all()
    assert metrics(mean, torch.zeros(5, dtype=torch.long))["ece"] == pytest.approx(0, abs=1e-6)


def test_disagreement_is_that_of_all_pairs():
    of_members = members(5)
    first = torch.stack(of_members).argmax(2).numpy()
    pairs = [(first[i] != first[j]).mean() for i in range(5) for j in range(i)]
    found = quality(Ensemble.of_members(of_members), "arithmetic", LABELS)
    assert found["disagreement_percent"] == pytest.approx(100 * np.mean(pairs))


def test_kept_predictions_lose_nothing_that_shows():
    rough = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)).mul(8).log_softmax(1)
    kept = as_kept(rough)
    assert kept.dtype == np.float16
    back = from_kept(kept)
    torch.testing.assert_close(back.exp().sum(1), torch.ones(200))
    assert (back.exp() - rough.exp()).abs().max() < 1e-3
    for far in (-300.0, -1e6, -1e30):
        assert torch.isfinite(from_kept(as_kept(torch.tensor([[0.0, far]])))).all(), "a finite NLL"


# Calibration and out-of-distribution images


@pytest.mark.parametrize("temper", [0.2, 1.0, 4.0])
def test_temperature_undoes_a_wrong_one_and_never_raises_the_nll(temper):
    """Labels are drawn from the predictions: these are calibrated, and sharpening by ``temper`` is undone."""
    generator = torch.Generator().manual_seed(1)
    true = torch.randn(4000, 5, generator=generator).mul(2).log_softmax(1)
    labels = torch.multinomial(true.exp(), 1, generator=generator)[:, 0]
    tempered = (true * temper).log_softmax(1)
    found = fit_temperature(tempered, labels)
    assert found == pytest.approx(temper, rel=0.1)
    after = F.nll_loss(at_temperature(tempered, found), labels)
    assert after <= F.nll_loss(tempered.double(), labels)
    assert torch.equal(at_temperature(tempered, found).argmax(1), tempered.argmax(1))


def test_without_an_error_on_validation_there_is_no_temperature():
    labels = torch.arange(3)
    right = (F.one_hot(labels, 3) * 2.0).log_softmax(1)
    assert math.isnan(fit_temperature(right, labels))
    assert math.isfinite(fit_temperature(right, labels.flip(0)))
    assert at_temperature(right, math.nan).isnan().all()


def test_the_difference_of_a_loss_that_is_not_there_is_none_and_leaves_the_others_alone():
    losses = np.random.default_rng(0).normal(size=(2, 3, 50))
    alone = bootstrap_differences(losses[:1])[0]
    losses[1, 0] = math.nan
    there, gone = bootstrap_differences(losses)
    assert there == alone
    assert all(map(math.isnan, vars(gone).values()))


@pytest.mark.parametrize("case", ["all wrong", "uniform"])
def test_temperature_of_degenerate_predictions_is_finite(case):
    labels = torch.arange(30) % 3
    shown = {"all wrong": (labels + 1) % 3, "uniform": labels}[case]
    logits = F.one_hot(shown, 3).float() * (0 if case == "uniform" else 5)
    predicted = logits.log_softmax(1)
    found = fit_temperature(predicted, labels)
    assert 0.1 <= found <= 10
    assert F.nll_loss(at_temperature(predicted, found), labels) <= F.nll_loss(predicted.double(), labels)


def test_detection_is_the_area_of_pairs_and_counts_false_positives_among_test_images():
    generator = np.random.default_rng(2)
    test, ood = generator.normal(0, 1, 500).round(1), generator.normal(1, 1, 300).round(1)
    found = detection(torch.from_numpy(test), torch.from_numpy(ood))
    oracle = roc_auc_score([0] * 500 + [1] * 300, np.r_[test, ood])
    wins = stats.mannwhitneyu(ood, test).statistic / (500 * 300)
    assert found["foreign_auroc"] == pytest.approx(oracle) == pytest.approx(wins)
    threshold = np.sort(ood)[::-1][math.ceil(0.95 * 300) - 1]
    assert found["foreign_fpr95_percent"] == pytest.approx(100 * (test >= threshold).mean())
    assert detection(torch.zeros(5), torch.ones(5)) == {"foreign_auroc": 1.0, "foreign_fpr95_percent": 0.0}


def test_entropy_is_that_of_the_prediction():
    assert entropy(torch.full((1, 4), 0.25).log())[0] == pytest.approx(math.log(4))
    assert entropy(torch.tensor([[0.0, -math.inf]]))[0] == 0


# Uncertainty


@pytest.mark.parametrize(("repetitions", "least"), [(2, 0.92), (3, 0.94), (6, 0.94)])
def test_the_interval_covers_a_difference_of_seeds_and_of_images(repetitions, least):
    """The true difference of 1,000 simulated comparisons is 0; both sources add the same spread."""
    generator = np.random.default_rng(3)
    kinds, images = 1000, 200
    of_seeds = generator.normal(0, 0.5, (kinds, repetitions, 1))
    of_images = generator.normal(0, 0.5 * images**0.5 / repetitions**0.5, (kinds, 1, images))
    noise = generator.normal(0, 1, (kinds, repetitions, images))
    found = bootstrap_differences(of_seeds + of_images + noise)
    covered = np.mean([each.low <= 0 <= each.high for each in found])
    assert covered > least - 3 * math.sqrt(least * (1 - least) / kinds)
    assert np.mean([each.p_better for each in found]) == pytest.approx(0.5, abs=0.05)


def test_a_difference_that_is_always_there_is_sure_and_one_that_never_is_is_a_tie():
    none, less = np.zeros((3, 50)), np.full((3, 50), -2.0)
    tie, sure = bootstrap_differences(np.stack([none, less]))
    assert (tie.low, tie.mean, tie.high, tie.p_better) == (0, 0, 0, 0.5)
    assert (sure.low, sure.high, sure.p_better) == (pytest.approx(-2), pytest.approx(-2), 1)


def test_mcnemar_is_the_exact_one():
    wrong = np.array([True] * 9 + [False] * 91)
    reference = np.array([False] * 9 + [True] * 2 + [False] * 89)
    only_here, only_there, p = mcnemar(wrong, reference)
    assert (only_here, only_there) == (2, 9)
    tail = sum(math.comb(11, k) for k in range(3)) / 2**11
    assert p == pytest.approx(2 * tail)
    assert mcnemar(wrong, wrong) == (0, 0, 1.0)


# The bootstrap of members


def test_bootstraps_are_drawn_once_with_their_duplicates_and_differ_between_members():
    labels = np.arange(5000) % 10
    data = DataSet(
        "made up", np.zeros((5000, 1, 1, 1), np.uint8), labels, labels, labels, tuple("0123456789")
    )
    runs = [RunConfig(bootstrap=True, member=member) for member in range(40)]
    drawn = [split(data, run) for run in runs]
    size = len(drawn[0].train)
    assert all(len(part.drawn) == size for part in drawn)
    assert np.array_equal(drawn[3].drawn, split(data, runs[3]).drawn)
    assert not np.array_equal(drawn[0].drawn, drawn[1].drawn)
    assert all(np.isin(part.drawn, part.train).all() for part in drawn)
    distinct = [len(np.unique(part.drawn)) / size for part in drawn]
    expected = 1 - (1 - 1 / size) ** size
    # Variance of the share of distinct ones in the occupancy problem: (e⁻¹ − 2e⁻²)/n.
    error = math.sqrt((math.exp(-1) - 2 * math.exp(-2)) / size / len(distinct))
    assert abs(np.mean(distinct) - expected) < 4 * error
    counts = Counter(np.concatenate([np.bincount(part.drawn, minlength=5000)[part.train] for part in drawn]))
    observed = np.array([counts[k] for k in range(6)]) / (size * len(drawn))
    np.testing.assert_allclose(observed, stats.poisson.pmf(range(6), 1), atol=0.004)  # n → ∞ of the binomial


def test_out_of_bag_error_asks_only_the_members_that_did_not_see_an_image():
    def one(places: list[int], says: list[int]) -> dict[str, np.ndarray]:
        sure = torch.full((len(places), 2), -3.0)
        sure[range(len(places)), says] = 0.0
        labels = np.array([0, 1, 0, 1, 0])[places]
        return {"oob": as_kept(sure), "oob_positions": np.array(places), "oob_labels": labels}

    right_and_wrong = one([0, 1], [0, 0])
    assert out_of_bag_error([right_and_wrong]) == 50
    assert out_of_bag_error([right_and_wrong, one([1, 4], [1, 0]), one([1], [1])]) == 0, "two against one"
    empty = {
        "oob": np.zeros((0, 2), np.float16),
        "oob_positions": np.array([], int),
        "oob_labels": np.array([], int),
    }
    assert math.isnan(out_of_bag_error([empty]))


# Plans and budgets


def plan(**more) -> ComparisonPlan:
    return ComparisonPlan(**{"base": DROPOUT, "members": 3, "seeds": 1, "arms": tuple(ARMS), **more})


def arms(**more):
    return {arm.name: arm for arm in plan(**more).all_arms()}


def test_arms_share_their_members():
    of_one = arms()
    assert of_one["single"].runs[0] == of_one["ensemble"].runs[0]
    assert of_one["dropout"].runs == of_one["dropout-mc"].runs == of_one["dropout-ensemble"].runs[:1]
    assert len(runs_of(list(of_one.values()))) == 3 + 3 + 3 + 3 + 3 + 1 + 1
    fewer = {run.run_id for run in runs_of(plan(members=2, arms=DEFAULT_ARMS).all_arms())}
    assert fewer < {run.run_id for run in runs_of(plan(arms=DEFAULT_ARMS).all_arms())}
    assert {run.dropout.mc_samples for arm in of_one.values() for run in arm.runs} == {0, 4}
    assert all(run.repetition.bootstrap and run.without_dropout for run in of_one["bagging"].runs)
    assert of_one["dropout"].runs[0].dropout.convention == "weight-scaling"


def test_members_are_patient_each_by_itself(bench, tmp_path):
    (patient,) = bench.bind([DROPOUT.replace(epochs=30, learning_rate=0.1, patience=2)])
    told = plan(base=patient, arms=("single", "bagging", "dropout-ensemble"), members=2)
    carry_out_comparison(told, bench, Store(tmp_path), Quiet())
    runs = read_table(tmp_path, RUNS)
    assert (runs["status"] == "ok").all()
    assert (runs["last_epoch"] == (runs["tested_epoch"] + 2).clip(upper=30)).all()
    assert runs["last_epoch"].nunique() > 1


def test_what_a_budget_holds_equal_is_equal(bench):
    data = bench.data

    def flops(arm) -> float:
        return sum(count_flops(run, data).training * run.optimizer.epochs for run in arm.runs)

    step = boosting_step(DROPOUT, data)
    of_members, of_training = arms(), arms(budget="train", boosting_step=step)
    assert {name: flops(arm) / flops(of_members["single"]) for name, arm in of_members.items()} == {
        "single": 1, "dropout": 1, "dropout-mc": 1, "bagging": 3, "ensemble": 3, "dropout-ensemble": 3,
        "bagged-dropout": 3, "untied": 3, "snapshot": 1, "boosting": step,
    }  # fmt: skip
    (equal,) = {flops(arm) for name, arm in of_training.items() if name != "boosting"}
    assert flops(of_training["boosting"]) == pytest.approx(equal, rel=0.1), "whole epochs"
    assert arms(budget="inference")["dropout-mc"].runs[0].dropout.mc_samples == 3
    width = narrowed(DROPOUT, 3, data)
    narrow = arms(budget="parameters", narrow=width)

    def parameters(run: RunConfig) -> int:
        return sum(p.numel() for p in build_model(data.input_shape, 3, run).parameters())

    one = parameters(narrow["dropout"].runs[0])
    for name in ("bagging", "ensemble", "dropout-ensemble", "untied"):
        together = sum(map(parameters, narrow[name].runs))
        assert 0.85 * one < together <= one, "16 units cannot be divided finely"
    assert 3 * parameters(DROPOUT.replace(width=width + 0.1)) > one


def test_a_late_schedule_is_stretched_with_the_training():
    late = DROPOUT.replace(dropout_schedule="late", cutoff_epoch=1, mc_samples=0)
    of_training = arms(base=late, budget="train", arms=("dropout", "ensemble"))
    assert (
        of_training["dropout"].runs[0].optimizer.epochs,
        of_training["dropout"].runs[0].dropout.cutoff_epoch,
    ) == (9, 3)


@pytest.mark.parametrize("schedule", ["early", "late", "ramp"])
def test_a_schedule_costs_what_its_net_costs(blobs, schedule):
    assert count_flops(MLP.replace(p_drop=0.5, dropout_schedule=schedule), blobs) == count_flops(
        MLP.replace(p_drop=0.5), blobs
    )


@pytest.mark.parametrize(
    ("model", "forward"),
    [
        (MLP, 2 * (64 * 16 + 16 * 3)),
        (
            RunConfig(),
            2 * 9 * (64 * 64 + 16 * 64 * 128 + 4 * 128 * 256) + 2 * (256 * 512 + 512 * 512 + 512 * 3),
        ),
    ],
)
def test_flops_are_those_of_the_matrices(blobs, model, forward):
    """Counted by hand: 2 for each product of a weight; backward twice that, less the image's gradient."""
    found = count_flops(model.replace(p_drop=0.5), blobs)
    first = 2 * 64 * 16 if model.model.name == "mlp" else 2 * 9 * 64 * 64
    assert found.prediction == forward
    assert found.training == 3 * forward - first
    assert found.first_thinned == forward
    last = 2 * 16 * 3 if model.model.name == "mlp" else 2 * (512 * 512 + 512 * 3)
    assert found.thinned == last, "what comes before the first mask is shared"
    assert count_flops(model.replace(p_drop=0.5, p_drop_input=0.1), blobs).thinned == forward


@pytest.mark.parametrize(
    "wrong",
    [{"base": MLP}, {"members": 0}, {"budget": "time"}, {"arms": ("bagging", "boosted")},
     {"arms": ("dropout",)}, {"members": 4}, {"base": DROPOUT.replace(dropout="gaussian")}],
    ids=str,
)  # fmt: skip
def test_a_plan_that_cannot_be_carried_out_is_refused(wrong):
    """Four snapshots of three epochs and thinned nets with Gaussian noise are refused for these arms only."""
    with pytest.raises(UsageError):
        plan(**wrong)
    if "members" in wrong or "dropout" in wrong:
        usable = tuple(set(ARMS) - {"snapshot", "untied"})
        assert wrong in ({"base": MLP}, {"members": 0}) or plan(**wrong, arms=usable)


def test_ood_images_must_have_the_shape_of_the_data(bench, blobs):
    assert ood_key("rotated", blobs, None) == "rotated"
    assert ood_key("none", blobs, None) == ""
    with pytest.raises(UsageError, match="1×28×28"):
        ood_key("mnist5k", blobs, None)
    with pytest.raises(UsageError, match="rotatd"):
        ood_key("rotatd", blobs, None)


# Whole comparisons


def compared(folder):
    table = read_table(folder, COMPARISONS)
    return table.set_index(["arm", "averaging", "averaged", "passes_per_prediction", "seed"]).sort_index()


def test_a_comparison_of_all_arms_is_consistent_and_resumes(bench, tmp_path):
    (dropout,) = bench.bind([DROPOUT])
    whole = plan(base=dropout, seeds=2, ood="rotated", ood_key="rotated")
    store, watcher = Store(tmp_path), Quiet()
    carry_out_comparison(whole, bench, store, watcher)
    assert watcher.runs == 2 * 17
    table, runs = compared(tmp_path), read_table(tmp_path, RUNS).set_index("run_id")
    of_members = [arm for arm, kind in ARMS.items() if kind.is_ensemble]
    assert len(table) == 2 * (len(of_members) * 3 * 2 + 3 + 2 * 3)  # M = 1, 2, 3, both ways; k = 1, 2, 4
    for arm in whole.all_arms():
        if arm.name not in ("dropout-mc", "snapshot"):
            row = table.loc[(arm.name, "arithmetic", 1, 1, arm.setting.repetition.seed)]
            assert row[FIGURES].to_dict() == runs.loc[arm.runs[0].run_id, FIGURES].to_dict(), (
                "to the last digit"
            )
        if arm.name == "snapshot":
            last = table.loc[(arm.name, "arithmetic", 1, 1, arm.setting.repetition.seed)]
            assert last["test_nll"] == runs.loc[arm.runs[0].run_id, "test_nll"]
    scaled = table["temperature"].notna()
    assert (table["val_nll_scaled"] <= table["val_nll"] * (1 + 1e-12))[scaled].all()
    assert table.loc[~scaled, [name for name in table if name.endswith("_scaled")]].isna().all(axis=None)
    assert table["test_nll"].sub(table["mean_member_nll"] - table["nll_ambiguity"]).abs().max() < 2e-3
    bagged = table.loc["bagging"]
    assert bagged["distinct_train_percent"].between(55, 71).all()
    assert bagged["oob_error_percent"].notna().all()
    assert table["foreign_auroc"].between(0, 1).all()
    assert not (table["message"].astype(bool)).any()
    pairs = read_table(tmp_path, DIFFERENCES)
    assert len(pairs) == 4 * (10 + 9)
    error = pairs[(pairs["loss"] == "error_percent") & (pairs["arm"] == "bagging")].set_index("reference")
    means = table["test_error_percent"].groupby(level=[0, 1, 2]).mean()
    assert error.loc["", "difference"] == pytest.approx(means["bagging", "arithmetic", 3])
    assert error.loc["dropout", "difference"] == pytest.approx(
        means["bagging", "arithmetic", 3] - means["dropout", "arithmetic", 1]
    )
    only = [sum(map(int, error.loc["dropout", f"only_{who}_right"].split())) for who in ("reference", "arm")]
    assert error.loc["dropout", "difference"] == pytest.approx(100 * (only[0] - only[1]) / 90 / 2)
    bins = read_table(tmp_path, RELIABILITY)
    assert (bins.groupby("comparison_id")["examples"].sum() == 90).all()
    sizes = [(tmp_path / name).stat().st_size for name in ("comparisons.csv", "differences.csv", "runs.csv")]
    again = Quiet()
    carry_out_comparison(whole, bench, store, again)
    assert again.runs == 0
    assert [
        (tmp_path / n).stat().st_size for n in ("comparisons.csv", "differences.csv", "runs.csv")
    ] == sizes


def test_fewer_members_are_a_reduction_and_more_seeds_go_on(bench, tmp_path):
    (dropout,) = bench.bind([DROPOUT])
    store, first, second, third = Store(tmp_path), Quiet(), Quiet(), Quiet()
    carry_out_comparison(plan(base=dropout, arms=DEFAULT_ARMS), bench, store, first)
    carry_out_comparison(plan(base=dropout, arms=DEFAULT_ARMS, members=2), bench, store, second)
    carry_out_comparison(plan(base=dropout, arms=DEFAULT_ARMS, seeds=2), bench, store, third)
    assert (first.runs, second.runs, third.runs) == (9, 0, 9)
    assert set(read_table(tmp_path, DIFFERENCES)["seeds"]) == {"0", "0 1"}


def test_an_arm_of_one_member_is_its_member(bench, tmp_path):
    (dropout,) = bench.bind([DROPOUT])
    carry_out_comparison(plan(base=dropout, arms=DEFAULT_ARMS, members=1), bench, Store(tmp_path), Quiet())
    table = compared(tmp_path)
    for one, other in (("single", "ensemble"), ("dropout", "dropout-ensemble")):
        assert table.loc[(one, "arithmetic", 1, 1, 0), FIGURES].equals(
            table.loc[(other, "arithmetic", 1, 1, 0), FIGURES]
        )


def test_a_member_that_diverged_is_left_out_and_reported(bench, tmp_path):
    (dropout,) = bench.bind([DROPOUT])
    whole = plan(base=dropout, arms=("single", "bagging", "ensemble"))
    lost = {arm.name: arm for arm in whole.all_arms()}["bagging"].runs[1]

    class Losing(Store):
        def append(self, result, *more, **options):
            if result.config.run_id == lost.run_id:
                result = replace(result, status="diverged", message="made", metrics={}, predictions={})
            super().append(result, *more, **options)

    carry_out_comparison(whole, bench, Losing(tmp_path), Quiet())
    table = compared(tmp_path)
    bagged = table.loc[("bagging", "arithmetic")]
    assert bagged["left_out"].tolist() == [1, 1, 1]
    assert bagged["test_error_percent"].notna().tolist() == [True, True, False]
    assert bagged["message"].tolist() == ["", "", "1 of 3 runs did not end ok"]
    two = next(arm for arm in whole.all_arms() if arm.name == "bagging").runs[::2]
    kept = [np.load(tmp_path / "predictions" / f"{run.run_id}.npz") for run in two]
    mean = np.mean([from_kept(arrays["test"]).exp().numpy() for arrays in kept], axis=0)
    error = 100 * (mean.argmax(1) != kept[0]["test_labels"]).mean()
    assert bagged["test_error_percent"].iloc[1] == pytest.approx(error)
    assert table.loc[("ensemble", "arithmetic")]["left_out"].tolist() == [0, 0, 0]


def test_rows_are_written_again_when_another_comparison_repeated_their_members(bench, tmp_path):
    """A smaller comparison repeats a failed member; the larger one must not keep its rows without it."""
    (dropout,) = bench.bind([DROPOUT])
    arms_of = {"base": dropout, "arms": ("bagging",)}
    large, small = plan(members=3, **arms_of), plan(members=2, **arms_of)
    lost = {arm.name: arm for arm in large.all_arms()}["bagging"].runs[0]

    class Losing(Store):
        def append(self, result, *more, **options):
            if result.config.run_id == lost.run_id:
                result = replace(result, status="failed", message="made", metrics={}, predictions={})
            super().append(result, *more, **options)

    carry_out_comparison(large, bench, Losing(tmp_path / "mended"), Quiet())
    store = Store(tmp_path / "mended")
    carry_out_comparison(small, bench, store, Quiet(), Policy(retry_failed=True))
    carry_out_comparison(large, bench, store, Quiet())
    carry_out_comparison(large, bench, Store(tmp_path / "fresh"), Quiet())
    mended, fresh = (compared(tmp_path / name).loc["bagging"] for name in ("mended", "fresh"))
    mended = mended[mended["members"] == 3]
    assert mended[[*FIGURES, "left_out", "message"]].equals(fresh[[*FIGURES, "left_out", "message"]])
    ours, theirs = (read_table(tmp_path / name, DIFFERENCES) for name in ("mended", "fresh"))
    for _, row in theirs.iterrows():
        same = ours[(ours["experiment_id"] == row["experiment_id"]) & (ours["arm"] == row["arm"])]
        same = same[(same["reference"] == row["reference"]) & (same["loss"] == row["loss"])]
        assert np.array_equal(same.iloc[-1]["difference"], row["difference"], equal_nan=True)


def test_predictions_of_other_ood_images_are_kept(bench, tmp_path):
    (dropout,) = bench.bind([DROPOUT])
    counts = []
    for ood in ("rotated", "permuted", "rotated", "permuted"):
        watcher = Quiet()
        chosen = plan(base=dropout, arms=("bagging",), ood=ood, ood_key=ood)
        carry_out_comparison(chosen, bench, Store(tmp_path), watcher)
        counts.append(watcher.runs)
    assert counts == [4, 4, 0, 0]
    table = read_table(tmp_path, COMPARISONS)
    runs = read_table(tmp_path, RUNS).set_index("run_id")
    for _, row in table[(table["foreign"] == "permuted") & (table["averaged"] == 1)].iterrows():
        if row["arm"] != "dropout-mc" and row["averaging"] == "arithmetic":
            assert row["test_nll"] == runs.loc[row["member_run_ids"], "test_nll"], "of the same time"


def test_a_file_damaged_inside_is_done_again(bench, tmp_path):
    (dropout,) = bench.bind([DROPOUT])
    chosen = plan(base=dropout, arms=("bagging",))
    carry_out_comparison(chosen, bench, Store(tmp_path), Quiet())
    path = next((tmp_path / "predictions").glob("*.npz"))
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    again = Quiet()
    carry_out_comparison(chosen, bench, Store(tmp_path), again)
    assert again.runs == 1


def test_under_the_budget_inference_arms_are_compared_with_monte_carlo(bench, tmp_path):
    chosen = plan(budget="inference", arms=("bagging",))
    assert chosen.arms == ("dropout", "dropout-mc", "bagging")
    assert chosen.reference == "dropout-mc"
    (dropout,) = bench.bind([DROPOUT])
    carry_out_comparison(replace(chosen, base=dropout), bench, Store(tmp_path), Quiet())
    pairs = read_table(tmp_path, DIFFERENCES)
    assert set(pairs["reference"]) == {"", "dropout-mc"}
    rows = compared(tmp_path)
    assert rows.loc[("dropout-mc", "arithmetic", 1, 3, 0), "message"] == ""


def test_an_arm_without_members_is_reported(bench, tmp_path):
    (dropout,) = bench.bind([DROPOUT.replace(learning_rate=1e30)])
    outcome = carry_out_comparison(
        plan(base=dropout, arms=("single", "bagging")), bench, Store(tmp_path), Quiet()
    )
    table = read_table(tmp_path, COMPARISONS)
    assert len(outcome.diverged) == 5
    assert table["test_error_percent"].isna().all()
    assert set(table["message"]) == {"1 of 1 runs did not end ok", "3 of 3 runs did not end ok"}
