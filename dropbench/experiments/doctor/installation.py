"""Which versions are installed, and whether they fit each other: from metadata, without importing any."""

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

import dropbench
from dropbench.experiments.doctor.finding import Finding
from dropbench.results.store import git_commit

OLDEST, NEWEST = (3, 11), (3, 13)
"""The versions of Python between which dropbench is tested."""

PAIR = ("torch", "torchvision")
BUILDS = "https://pytorch.org/get-started/locally/"
"""Names the builds of torch and the index of each."""


def installation() -> Iterator[Finding]:
    """Versions: dropbench and its commit, Python, torch and torchvision, the other packages, Ray."""
    commit = git_commit()
    place = Path(dropbench.__file__).parent
    yield Finding("dropbench", f"{dropbench.__version__}{f', commit {commit}' if commit else ''}, in {place}")
    yield judge_python((sys.version_info.major, sys.version_info.minor, sys.version_info.micro))
    yield judge_pair()
    yield judge_packages()
    yield judge_ray()


def judge_python(version: tuple[int, int, int]) -> Finding:
    """Whether this Python is one that dropbench is tested with."""
    value = f"{'.'.join(map(str, version))}, {sys.executable}"
    tested = " to ".join(".".join(map(str, bound)) for bound in (OLDEST, NEWEST))
    if version[:2] < OLDEST:
        return Finding("Python", value, "problem", f"Make an environment with Python {tested}.")
    if version[:2] > NEWEST:
        mend = f"Where something fails, make an environment with Python {tested}."
        return Finding("Python", f"{value}; newer than what is tested", "note", mend)
    return Finding("Python", value)


def judge_pair() -> Finding:
    """Whether torch and torchvision are here, as dropbench wants them and as torchvision wants its torch."""
    found = {name: installed(name) for name in PAIR}
    value = " and ".join(f"{name} {version or 'absent'}" for name, version in found.items())
    own, built_for = requirements("dropbench"), requirements("torchvision").get("torch")
    if unfit := [str(own[name]) for name in PAIR if name in own and not _fits(found[name], own[name])]:
        value += f"; dropbench needs {' and '.join(unfit)}"
    elif all(found.values()) and not _fits(found["torch"], built_for):
        value += f"; this torchvision needs {built_for}"
    elif all(found.values()):
        return Finding("torch pair", value)
    return Finding("torch pair", value, "problem", install_pair())


def install_pair(again: bool = False) -> str:
    """The command that makes torch and torchvision a pair, from where torch came; ``again``: even if it is.

    A torchvision that dropbench can use stays, and gets the torch that it was built for.
    """
    own, built_for = requirements("dropbench"), requirements("torchvision").get("torch")
    torch, torchvision = map(installed, PAIR)
    wanted = [str(own.get(name, name)) for name in PAIR]
    if torch and torchvision and all(_fits(installed(name), own.get(name)) for name in PAIR):
        same = f"torch=={torch.public}"
        wanted = [same if _fits(torch, built_for) else str(built_for), f"torchvision=={torchvision.public}"]
    # A wheel of pytorch.org has the name of its index as the local part of its version: 2.9.0+cpu.
    index = f" --index-url URL, with the URL for {torch.local} from {BUILDS}" if torch and torch.local else ""
    force = " --force-reinstall" if again else ""
    return f"pip install{force} {' '.join(map(_quoted, wanted))}{index}"


def judge_packages() -> Finding:
    """Whether the other packages are as dropbench requires them."""
    wanted = {
        name: requirement for name, requirement in requirements("dropbench").items() if name not in PAIR
    }
    if not wanted:
        return Finding(
            "packages",
            "dropbench is not installed, so that its requirements are not known",
            "note",
            "In the folder of its pyproject.toml: pip install -e .",
        )
    found = {name: installed(name) for name in wanted}
    unfit = [name for name, version in found.items() if not _fits(version, wanted[name])]
    value = ", ".join(f"{name} {version or 'is absent'}" for name, version in found.items())
    if not unfit:
        return Finding("packages", value)
    value = ", ".join(f"{wanted[name]} (here: {found[name] or 'none'})" for name in unfit)
    mend = f"pip install {' '.join(_quoted(str(wanted[name])) for name in unfit)}"
    return Finding("packages", f"dropbench needs {value}", "problem", mend)


def judge_ray() -> Finding:
    """Ray is an extra, for clusters alone."""
    version, wanted = installed("ray"), requirements("dropbench", "ray").get("ray")
    if version and _fits(version, wanted):
        return Finding("ray", str(version))
    if wanted is None and requirements("dropbench"):
        return Finding("ray", "absent; there is none for this Python. For --runner ray only", "note")
    value = f"{version}; dropbench needs {wanted}" if version else "absent; for --runner ray only"
    return Finding("ray", value, "note", 'pip install "dropbench[ray]"')


def installed(name: str) -> Version | None:
    """The version of a package by its metadata; None where it is not installed."""
    try:
        version = metadata.version(name)
    except (metadata.PackageNotFoundError, KeyError):
        return None
    return Version(version) if version else None  # none in a folder that an interrupted pip left behind


def requirements(name: str, extra: str = "") -> dict[str, Requirement]:
    """What an installed package requires on this machine, by name; of an extra, what only that requires."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return {}
    found = {}
    for requirement in map(Requirement, lines):
        marker, requirement.marker = requirement.marker, None
        always = marker is None or marker.evaluate({"extra": ""})
        if (always and not extra) or (marker and not always and marker.evaluate({"extra": extra})):
            found[requirement.name] = requirement
    return found


def _fits(version: Version | None, wanted: Requirement | None) -> bool:
    """Whether a version is the wanted one; nightly versions may be it, too."""
    return wanted is None or (version is not None and wanted.specifier.contains(version, prereleases=True))


def _quoted(argument: str) -> str:
    return f'"{argument}"'
