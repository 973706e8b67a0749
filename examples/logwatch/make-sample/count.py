#!/usr/bin/env python3
"""Counts a folder of access logs, apart from the example's own components: the second opinion of the tests.

    count.py [--without-poison] [FOLDER]

A line is well-formed if it has the Combined (or Common) Log Format's fields and its request is a method, a target
and `HTTP/x.y`. Any other line counts as a line and as malformed, and as nothing else. The poison line, whose query
ends in a cut-off percent escape, is well-formed; `--without-poison` leaves it out, as the example's parser does.
"""

import argparse
import gzip
import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

LINE = re.compile(
    r'(?P<client>\S+) \S+ (?P<user>.*?) \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" '
    r'(?P<status>\d{3}) (?P<bytes>\d+|-)(?: "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*")?')
REQUEST = re.compile(r"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/\d\.\d")
POISON = re.compile(r"\?.*%[^ ]?$")
ATTACK = re.compile(rb"\.\./|<script|\$\{jndi:|union select|/etc/passwd|\(\) \{", re.IGNORECASE)
TOP = 20


def lines_of(folder: Path):
    for path in sorted(folder.iterdir()):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
            yield from lines


def decoded(text: bytes) -> bytes:
    """The text with its percent escapes decoded; what only looks like one stays."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), text)


def percentile(ordered: list[int], rank: int) -> int:
    """The nearest-rank percentile: the smallest value that `rank` percent of all do not exceed."""
    return ordered[max(0, -(-rank * len(ordered) // 100) - 1)] if ordered else 0


def ranking(counter: Counter) -> dict:
    """The most frequent ones; of equally frequent ones, the first by name."""
    top = sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))[:TOP]
    return {"distinct": len(counter), "top": [{"name": name, "count": count} for name, count in top]}


def count(folder: Path, without_poison: bool) -> dict:
    statuses, methods, hours, clients, paths = (Counter() for _ in range(5))
    lines = malformed = poison = suspicious = errors = 0
    sizes = []
    for line in lines_of(folder):
        match = LINE.fullmatch(line.rstrip("\r\n"))
        request = match and REQUEST.fullmatch(match["request"])
        if request and POISON.search(request["target"]):
            poison += 1
            if without_poison:
                continue
        lines += 1
        if not request:
            malformed += 1
            continue
        moment = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
        statuses[match["status"]] += 1
        methods[request["method"]] += 1
        hours[moment.strftime("%Y-%m-%dT%H")] += 1
        clients[match["client"]] += 1
        path, _, query = request["target"].encode().partition(b"?")
        path, query = decoded(path), decoded(query.replace(b"+", b" "))
        suspicious += bool(ATTACK.search(path) or ATTACK.search(query))
        errors += int(match["status"]) >= 400
        paths[path[:200].decode(errors="replace")] += 1
        sizes.append(0 if match["bytes"] == "-" else int(match["bytes"]))
    sizes.sort()
    return {
        "lines": lines, "malformed": malformed, "poison": poison, "suspicious": suspicious,
        "errors": errors, "error_rate": errors / max(1, len(sizes)),
        "statuses": dict(sorted(statuses.items())), "methods": dict(sorted(methods.items())),
        "hours": dict(sorted(hours.items())),
        "bytes": {"total": sum(sizes), "max": max(sizes, default=0), "p50": percentile(sizes, 50),
                  "p95": percentile(sizes, 95)},
        "clients": ranking(clients), "paths": ranking(paths),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--without-poison", action="store_true")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent / "inbox")
    options = parser.parse_args()
    print(json.dumps(count(options.folder, options.without_poison), indent=1))


if __name__ == "__main__":
    main()
