"""All pods' metrics on one page, each series with the labels of its pod, for a Prometheus that scrapes the sandbox."""

from collections.abc import Iterable, Mapping


def merged(pages: Iterable[tuple[Mapping[str, str], str]]) -> str:
    """One page of many, given with the labels that their series get. Series of one metric stand together, as the format asks.

    Format: https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    for labels, page in pages:
        told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
        heading: list[str] = []
        family: tuple[list[str], list[str]] = ([], [])
        for line in page.splitlines():
            if line.startswith("# HELP "):
                heading = [line]
            elif line.startswith("# TYPE "):
                family = families.setdefault(line.split(" ")[2], ([*heading, line], []))
            else:
                name, brace, rest = line.partition("{")
                if brace:
                    family[1].append(f"{name}{{{told},{rest}")
                else:
                    name, _, value = line.partition(" ")
                    family[1].append(f"{name}{{{told}}} {value}")
    return "\n".join(line for heading, series in families.values() for line in (*heading, *series)) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
