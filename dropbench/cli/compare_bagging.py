"""``dropbench compare-bagging``: dropout and bagging at equal cost, side by side."""

from pathlib import Path
from typing import Annotated

from dropbench.catalog.arms import ARMS, BUDGETS, DEFAULT_ARMS, check_arms, reference_under
from dropbench.cli.options import (
    COMPARISON,
    DATA,
    OF_MACHINE,
    OF_POLICY,
    OF_RUNS,
    AsJson,
    Data,
    DataDir,
    Keywords,
    Out,
    Panel,
    Seeds,
    option,
    takes,
)  # fmt: skip
from dropbench.run.grammar import parse_names


@takes("compare-bagging", OF_RUNS, OF_MACHINE, OF_POLICY, p_drop="0.5")
def compare_bagging(
    data: Data = "mnist5k",
    data_dir: DataDir = None,
    ood: Annotated[
        str | None,
        option(
            "--ood",
            "Out-of-distribution images, to be told from test images by the entropy of the prediction: test "
            "images rotated or permuted, another data set of the same shape, or none.",
            DATA,
            show_default="rotated; none for a table",
        ),
    ] = None,
    seeds: Seeds = 2,
    arms: Annotated[
        str,
        option(
            "--arms",
            "Arms to compare with dropout: "
            + "; ".join(f"{name}: {arm.phrase.format(members='M')}" for name, arm in ARMS.items())
            + ".",
            COMPARISON,
            metavar="ARM,…",
        ),
    ] = ",".join(DEFAULT_ARMS),
    members: Annotated[
        int,
        option(
            "--members",
            "M, the number of nets in an ensemble; results for fewer nets are shown, too.",
            COMPARISON,
            min=1,
        ),
    ] = 5,
    budget: Annotated[
        str,
        option(
            "--budget",
            "What is held equal. " + "; ".join(f"{name}: {what}" for name, what in BUDGETS.items()) + ".",
            COMPARISON,
            metavar="|".join(BUDGETS),
        ),
    ] = "members",
    mc_samples: Annotated[
        int,
        option(
            "--mc-samples",
            "Passes with fresh masks that Monte-Carlo dropout averages; 1, 2, 5, 10, 20, 50, … of them are "
            "shown too. Under --budget inference there are as many as members.",
            COMPARISON,
            min=1,
        ),
    ] = 100,
    panel: Panel = False,
    folder: Out = Path("results"),
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Compare dropout with bagging and its relatives: error, likelihood, calibration, and what each costs.

    The members of bagging are nets without dropout, each trained on a bootstrap; those of an ensemble train
    on all the data. Dropout boosting has the noise of dropout and trains for the likelihood of the averaged
    prediction. Every arm is compared with dropout under weight scaling, with 95 % bootstrap intervals over
    seeds and test images.

    Members are ordinary runs: they are resumed, and used again by other arms, numbers and budgets.

    Examples:

        dropbench compare-bagging

        dropbench compare-bagging --arms bagging,untied,boosting --budget train --seeds 6

        dropbench compare-bagging --data mnist --ood fashion-mnist --model mlp --p-input 0.2
    """
    names = check_arms(parse_names(arms), reference_under(BUDGETS.check(budget)))  # before torch is imported

    import dropbench as db
    from dropbench.cli.finish import conclude, working

    with working(folder) as watcher:
        done = db.compare(
            data, arms=names, members=members, budget=budget, mc_samples=mc_samples, ood=ood, seeds=seeds,
            panel=panel, out=folder, data_dir=data_dir, watcher=watcher, **given,
        )  # fmt: skip
    conclude(done, as_json, f"arms: {folder / 'comparisons.csv'}; their runs: {folder / 'runs.csv'}")
