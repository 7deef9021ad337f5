"""An agenda: which of a set of runs are to do, and which ended before."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dropbench.run.config import RunConfig
from dropbench.run.machine import Policy


def once(runs: Iterable[RunConfig]) -> list[RunConfig]:
    """The runs without duplicates, in their order."""
    return list({run.run_id: run for run in runs}.values())


@dataclass(frozen=True)
class Agenda:
    """A set of runs, sorted into those to do and those that ended before.

    - ``todo``: to be carried out.
    - ``done``: ended well before.
    - ``left``: diverged or failed before, and are not retried.
    - ``lacking``: the part of ``todo`` that ended well before, but without everything that is to be kept now.
    """

    todo: list[RunConfig] = field(default_factory=list)
    done: list[RunConfig] = field(default_factory=list)
    left: list[RunConfig] = field(default_factory=list)
    lacking: list[RunConfig] = field(default_factory=list)

    @property
    def before(self) -> int:
        """The number of runs that ended before and are not repeated."""
        return len(self.done) + len(self.left)


def make_agenda(
    configs: Iterable[RunConfig],
    ended: Mapping[str, str],
    policy: Policy,
    is_complete: Callable[[RunConfig], bool] = lambda config: True,
) -> Agenda:
    """Sort ``configs``, without duplicates, into an agenda.

    ``ended`` maps the run_id of each run that ended before to its status. ``is_complete`` tells whether a run
    that ended well has everything that is to be kept now; Workbench.keeps returns such a predicate.
    """
    agenda = Agenda()
    for run_id, config in {config.run_id: config for config in configs}.items():
        status = ended.get(run_id)
        if status == "ok" and not is_complete(config):
            agenda.lacking.append(config)
            status = None
        to_do = policy.force or status is None or (policy.retry_failed and status != "ok")
        (agenda.todo if to_do else agenda.done if status == "ok" else agenda.left).append(config)
    return agenda
