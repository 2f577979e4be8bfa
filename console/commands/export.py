"""``quarterdeck journal export``: the entries that match, on standard output or in a file of their own."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.model.errors import ExitCode, Rejected

CHUNK = 2000
"""Entries that are read and written at a time: an export is as large as a journal."""
LOOKED_AT = 20_000
"""Entries of which a chunk is chosen: each time the journal is opened anew."""


def run(args: argparse.Namespace, directory: Path, filters: Mapping[str, Any]) -> int:
    """Exit 0; 1 where the file can't be written, 2 for a file that is there already."""
    from console import output
    from console.exports import Export
    from services.audit import exporting

    form = exporting.Form(args.format)
    if args.to is None:
        if args.output == "json":
            raise Rejected("output", "json", "goes with a file only", "--to FILE, or no -o: entries are JSON themselves")
        out = sys.stdout.buffer if hasattr(sys.stdout, "buffer") else None
        for part in _parts(directory, filters, form):
            with output.result():
                if out is not None and not sys.stdout.isatty():
                    out.write(part)
                else:
                    sys.stdout.write("".join(f"{output.shown(line)}\n" for line in part.decode().splitlines()))
        return ExitCode.DONE
    path = Path(args.to)
    if path.name in ("", "..") or path.is_dir():
        raise Rejected("to", args.to, "names no file", "the name of a new file")
    with Export(path, form) as export:
        for entries in _chunks(directory, filters):
            export.add(entries)
        export.keep()
    if args.output == "json":
        output.document({"file": str(path.absolute()), "format": form.value, "entries": export.count})
    else:
        output.text(f"{export.count} entries in {path}")
    return ExitCode.DONE


def _parts(directory: Path, filters: Mapping[str, Any], form: Any) -> Iterator[bytes]:
    from services.audit import exporting

    yield exporting.head(form)
    for entries in _chunks(directory, filters):
        yield exporting.lines(entries, form)


def _chunks(directory: Path, filters: Mapping[str, Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The entries that match, oldest first. Read from one end to the other, and never held all at once."""
    from services.audit import paging, reading

    times = {name: filters.get(name) for name in ("since", "until")}
    exact = {name: value for name, value in filters.items() if name not in times and value is not None}
    wanted = reading.matching_all(exact, **times)
    after = 0
    while True:
        page = paging.newer(directory, after, limit=CHUNK, wanted=wanted, lines=LOOKED_AT)
        if page.entries:
            yield page.entries
        if page.end:
            return
        after = page.last
