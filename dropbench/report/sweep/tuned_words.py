"""Words of a table of settings that were tuned: cells, notes, and choices at the end of a list."""

from dropbench.report.sweep.sweep import Setting, Sweep, axis_text
from dropbench.report.sweep.tuning import Tuning
from dropbench.report.table import Row
from dropbench.run.config import SETTINGS
from dropbench.run.telling import counted


def tuned_cells(setting: Setting) -> Row:
    """The chosen values and the number of trials; nothing of a setting that was not tuned."""
    return setting.tuning.cells if setting.tuning else {}


def tuned_notes(sweep: Sweep) -> list[str]:
    """How each setting's trial was chosen, and what was missing."""
    if sweep.budget is None:
        return []
    what = sweep.metric.what
    notes = [
        f"Each setting at its own best of {sweep.budget.text()} on validation, by its mean {what}; all had "
        f"the same {len(sweep.budget)} trials. The test examples have no say in the choice."
    ]
    tunings = _tunings(sweep)
    seeds = [tuning.seeds for _, tuning in tunings]
    if min(seeds) < max(len(setting.run_ids) for setting in sweep.settings):
        counts = f"{min(seeds)}" if len(set(seeds)) == 1 else f"{min(seeds)} to {max(seeds)}"
        notes.append(
            "Some trials have fewer seeds than others: a setting's are compared on those that all of them "
            f"have, {counts} here."
        )
    for setting, tuning in tunings:
        if tuning.without:
            of = f"{tuning.without} of its {len(sweep.budget)} trials"
            notes.append(f"{_name(sweep, setting)} has no result of {of}.")
    if diverged := sum(tuning.diverged for _, tuning in tunings):
        runs = counted(diverged, "run")
        notes.append(f"{runs} of trials that were not chosen diverged, which counts against them.")
    if more := [_name(sweep, setting) for setting, tuning in tunings if tuning.beyond]:
        notes.append(f"Trials besides, which others had not, have no say here: {'; '.join(more)}.")
    return notes


def edge_sentences(sweep: Sweep) -> list[str]:
    """Where a setting's own value is at the end of the list: a better one may lie beyond."""
    if len(sweep.settings) < 2:
        return []
    found: dict[tuple[str, str, float], list[Setting]] = {}
    for setting, tuning in _tunings(sweep):
        for name, value in tuning.values.items():
            if end := tuning.budget.end(name, value):
                found.setdefault((name, end, value), []).append(setting)
    return [
        f"{_listed(sweep, settings)}: {SETTINGS[name].text(value)} is the {end} {SETTINGS[name].title} tried."
        for (name, end, value), settings in found.items()
    ]


def _tunings(sweep: Sweep) -> list[tuple[Setting, Tuning]]:
    return [(setting, setting.tuning) for setting in sweep.settings if setting.tuning is not None]


def _name(sweep: Sweep, setting: Setting) -> str:
    return sweep.label(setting) or f"p_drop = {axis_text(setting.axes['p_drop'])}"


def _listed(sweep: Sweep, settings: list[Setting]) -> str:
    if sweep.varying in ((), ("p_drop",)):
        return f"p_drop = {', '.join(axis_text(setting.axes['p_drop']) for setting in settings)}"
    return "; ".join(_name(sweep, setting) for setting in settings)
