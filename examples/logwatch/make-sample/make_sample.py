#!/usr/bin/env python3
"""Makes ../inbox anew: a real nginx serves a small shop to simulated visitors for a sped-up day and a bit.

Needs Debian's nginx-light and faketime (`apt-get install nginx-light faketime tzdata`), Python 3.11, and about
two and a half minutes. Uses the ports 18080 to 18082 on loopback, and nothing else.
"""

import asyncio
import contextlib
import gzip
import math
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import hostile
import site_content
from clients import SESSIONS, World, monitor

HERE = Path(__file__).resolve().parent
INBOX = HERE.parent / "inbox"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"

# The night in which Europe's clocks go back: the log holds both +0200 and +0100, and the hour from 02:00 twice.
ZONE = ZoneInfo("Europe/Berlin")
START = datetime(2026, 10, 24, 6, 25, tzinfo=ZONE)
ROTATE = datetime(2026, 10, 25, 6, 25, tzinfo=ZONE)
END = datetime(2026, 10, 25, 9, 45, tzinfo=ZONE)
OUTAGE = datetime(2026, 10, 24, 20, 11, tzinfo=ZONE)
POISON = datetime(2026, 10, 24, 17, 42, tzinfo=ZONE)
SPEED = 720
# Real time that nginx gets to start in, before the first visitor.
BOOT_SECONDS = 0.5
SESSIONS_IN_ALL = 5_000
MONITOR_EVERY = timedelta(minutes=2)


def seconds(moment: datetime) -> float:
    """How long after the start, in the log's time."""
    return moment.timestamp() - START.timestamp()


def busy(moment: float) -> float:
    """How much is going on at `moment` seconds: quiet at four, a first crest before noon, the main one at nine."""
    local = datetime.fromtimestamp(START.timestamp() + moment, ZONE)
    hour = local.hour + local.minute / 60

    def crest(peak: float, width: float) -> float:
        apart = abs(hour - peak)
        return math.exp(-(min(apart, 24 - apart) / width) ** 2)

    return 0.10 + 0.7 * crest(11.5, 3.5) + 1.0 * crest(20.5, 2.8) + 0.35 * crest(16, 3)


def schedule(rng: random.Random) -> list[tuple[float, object]]:
    """When which session begins."""
    span = seconds(END)
    kinds, weights = list(SESSIONS), list(SESSIONS.values())
    grid = [step * 60.0 for step in range(int(span // 60))]
    begins = rng.choices(grid, [busy(moment) for moment in grid], k=SESSIONS_IN_ALL)
    plan = [(moment + rng.uniform(0, 60), rng.choices(kinds, weights)[0]) for moment in begins]
    plan += [(moment, monitor) for moment in range(0, int(span), int(MONITOR_EVERY.total_seconds()))]
    plan.append((seconds(POISON), hostile.poison))
    return sorted(plan, key=lambda entry: entry[0])


async def drive(folder: Path, nginx: subprocess.Popen, began: float) -> None:
    rng = random.Random(20261024)
    world = World(rng, 1 / SPEED)
    backend = site_content.Backend(rng)
    await backend.start()
    failures: dict[str, int] = {}

    async def until(moment: float) -> None:
        await asyncio.sleep(began + moment / SPEED - time.monotonic())

    async def run(session) -> None:
        try:
            await session(world)
        except Exception as error:  # An abrupt end of a connection is part of the game; the summary counts them.
            name = f"{session.__name__}: {error!r}"
            failures[name] = failures.get(name, 0) + 1

    async def rotate() -> None:
        await until(seconds(ROTATE))
        os.rename(folder / "access.log", folder / "access.log.1")
        nginx.send_signal(signal.SIGUSR1)

    async def fail() -> None:
        await until(seconds(OUTAGE))
        await backend.outage(9 * 60 / SPEED)

    async with asyncio.TaskGroup() as group:
        group.create_task(rotate())
        group.create_task(fail())
        for moment, session in schedule(rng):
            await until(moment)
            group.create_task(run(session))
    # The slowest answers of the backend, to clients that are long gone, come to their end too.
    await asyncio.sleep(1.5)
    print("sessions that ended early:", failures)


def serve(folder: Path) -> subprocess.Popen:
    """Starts nginx in its own, faster time. Its timeouts stay on real time."""
    for name in ("tmp", "site"):
        (folder / name).mkdir()
    shutil.copy(HERE / "nginx.conf", folder)
    (folder / "htpasswd").write_text("alice:{PLAIN}tree\ndeploy:{PLAIN}tree\nJane Doe:{PLAIN}tree\n")
    site_content.build(folder / "site", random.Random(7))
    environment = {
        "PATH": os.environ["PATH"], "TZ": ZONE.key, "LD_PRELOAD": FAKETIME, "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME": f"@{START - timedelta(seconds=BOOT_SECONDS * SPEED):%Y-%m-%d %H:%M:%S} x{SPEED}",
    }
    return subprocess.Popen(["nginx", "-p", folder, "-c", "nginx.conf"], env=environment)


def ship(folder: Path) -> None:
    """Lays the logs out as rotation leaves them. The same bytes make the same archive."""
    shutil.rmtree(INBOX, ignore_errors=True)
    INBOX.mkdir()
    rotated = (folder / "access.log.1").read_bytes()
    with open(INBOX / "access.log.1.gz", "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as archive:
        archive.write(rotated)
    shutil.copyfile(folder / "access.log", INBOX / "access.log")
    for path in sorted(INBOX.iterdir()):
        print(path.name, path.stat().st_size, "bytes")
    print(rotated.count(b"\n"), "+", (INBOX / "access.log").read_bytes().count(b"\n"), "lines")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="make-sample-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        nginx = serve(folder)
        try:
            time.sleep(BOOT_SECONDS)
            asyncio.run(drive(folder, nginx, time.monotonic()))
        finally:
            with contextlib.suppress(ProcessLookupError):
                nginx.send_signal(signal.SIGQUIT)
            nginx.wait(timeout=20)
        ship(folder)


if __name__ == "__main__":
    main()
