"""Findings for people: by group, what is fine in few words, what is not with what is needed and what to do."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from console.doctor.finding import Finding, Group, Outcome

WIDTH = 80
_MARGIN = " " * 11


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """The report, no line of it wider than 80 columns where words allow."""
    for group in Group:
        members = [finding for finding in findings if finding.group is group]
        for subject in dict.fromkeys(finding.subject for finding in members):
            title = group.value if group is Group.APIS else group.value.upper()
            yield f"{title}: {subject}" if subject else title
            for finding in _shortened([finding for finding in members if finding.subject == subject]):
                yield from _told(finding)
            yield ""
    yield summary(findings)


def summary(findings: Sequence[Finding]) -> str:
    counted = Counter(finding.outcome for finding in findings)
    plurals = {Outcome.PROBLEM: "problems", Outcome.WARNING: "warnings"}
    told = [
        f"{counted[outcome]} {outcome if counted[outcome] == 1 else plurals.get(outcome, outcome)}"
        for outcome in (Outcome.PROBLEM, Outcome.WARNING, Outcome.UNKNOWN, Outcome.SKIPPED, Outcome.OK)
        if counted[outcome]
    ]
    return ", ".join(told)


def _shortened(members: Sequence[Finding]) -> Iterator[Finding]:
    """What is not there, or is missing with the same effect, is told together; permissions that are there are only counted."""
    allowed = [finding for finding in members if finding.group is Group.PERMISSIONS and finding.outcome is Outcome.OK]
    if allowed:
        yield msgspec.structs.replace(allowed[0], name="", found=f"{len(allowed)} of {len(members)} are allowed")
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for finding in members:
        if finding in allowed:
            continue
        together = finding.outcome is Outcome.SKIPPED or finding.group is Group.PERMISSIONS
        key = (finding.outcome, finding.found, finding.needed, finding.action)
        alike.setdefault(key if together else (*key, finding.name), []).append(finding)
    for found in alike.values():
        yield msgspec.structs.replace(found[0], name=_names([finding.name for finding in found], found[0].group))


def _names(names: Sequence[str], group: Group) -> str:
    """Several names as one: verbs on the same kind are put together."""
    if group is not Group.PERMISSIONS:
        return ", ".join(dict.fromkeys(names))
    verbs: dict[str, list[str]] = {}
    for name in names:
        verb, _, kind = name.rpartition(" ")
        verbs.setdefault(kind, []).append(verb)
    return ", ".join(f"{'/'.join(of)} {kind}".strip() for kind, of in verbs.items())


def _told(finding: Finding) -> Iterator[str]:
    name = f"{finding.name}: {finding.found}" if finding.name else finding.found
    yield from _wrapped(f"  {finding.outcome.value:<9}", name)
    if finding.needed:
        yield from _wrapped(f"{_MARGIN}needed: ", finding.needed)
    if finding.action:
        yield from _wrapped(f"{_MARGIN}do: ", finding.action)


def _wrapped(first: str, text: str) -> list[str]:
    # A path or a command is never broken: it could not be copied.
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=_MARGIN + ("  " if first.startswith(_MARGIN) else ""),
        break_long_words=False,
        break_on_hyphens=False,
    )
