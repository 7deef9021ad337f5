"""Words that tell subjects of one report apart where their titles would be the same."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

APART = "apart"
"""The field of a subject that holds these words; it is no setting."""
_DIGITS = 6
_DIGESTS = {
    "data_key": "data",
    "model_key": "the model's source",
    "dropout_key": "the dropout's source",
    "experiment_id": "experiment",
    "find_id": "find",
}
"""The digests that titles do not say, and what each is of."""


class _Told(Protocol):
    @property
    def fields(self) -> Mapping[str, Any]: ...


T = TypeVar("T", bound=_Told)


def told_apart(subjects: Sequence[T], title: Callable[[T], str]) -> list[T]:
    """The subjects, those of the same title with the first digest in which they differ among their fields."""
    for name, what in _DIGESTS.items():
        titles = [title(each) for each in subjects]
        alike = Counter(titles)
        values = [
            {other.fields.get(name) for other, theirs in zip(subjects, titles, strict=True) if theirs == own}
            for own in titles
        ]
        subjects = [
            _with_words(each, f"{what} {str(each.fields[name])[:_DIGITS]}")
            if alike[own] > 1 and len(found) > 1 and each.fields.get(name)
            else each
            for each, own, found in zip(subjects, titles, values, strict=True)
        ]
    return list(subjects)


def _with_words(subject: T, words: str) -> T:
    fields = {**subject.fields, APART: (*subject.fields.get(APART, ()), words)}
    return replace(subject, fields=fields)  # type: ignore[type-var]


def words_apart(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The words that tell a subject with these fields apart; none where its title does."""
    return tuple(fields.get(APART, ()))
