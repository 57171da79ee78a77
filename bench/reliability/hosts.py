#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A host lost, its link cut for 30 s and for 3 s: two hosts of the laboratory (bench/netlab/hosts.sh), two ranks each.

  bench/netlab/hosts.sh --hosts 2 --slots 2 --rate 1gbit -- bench/reliability/hosts.py [--build build/release] [ROW...]

  lost       every process of the second host is killed and its link goes down, for good
  cut        the link is down for 30 s, hang_timeout_s is 8
  blink      the link is down for 3 s, hang_timeout_s is 30
"""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import measure

LAB = os.environ.get("NETLAB", "")
HOST = "lab2"


def link(state):
    """The bridge is in the laboratory's own namespace, that of its first process."""
    subprocess.run(["nsenter", "-t", "1", "-n", "ip", "link", "set", f"to_{HOST}", state], check=True)
    down = pathlib.Path(LAB, f"{HOST}.down")
    if state == "down":
        down.touch()
        return
    down.unlink(missing_ok=True)
    # The kernel gives up on a neighbour that was silent for long, and takes a moment to ask again.
    subprocess.run([f"{LAB}/on", "lab1", "ip", "neigh", "flush", "all"], check=False)
    subprocess.run([f"{LAB}/on", HOST, "ip", "neigh", "flush", "all"], check=False)


def rsh_that_needs_the_link():
    """The laboratory's own enters namespaces, whatever the links do."""
    path = pathlib.Path(LAB, "rsh_over_link")
    path.write_text(f"""#!/bin/bash
for word; do [[ $word == -* ]] && continue; host=$word; break; done
[ ! -e "{LAB}/$host.down" ] || {{ sleep 3; echo "no route to $host" >&2; exit 255; }}
exec "{LAB}/rsh" "$@"
""")
    path.chmod(0o755)
    return path


def processes_of_host():
    holder = int(pathlib.Path(LAB, f"{HOST}.pid").read_text())
    network = os.readlink(f"/proc/{holder}/ns/net")
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != holder and os.readlink(entry / "ns/net") == network:
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def start(args, name, sets):
    job = measure.Job(args, args.folder / name, ["train.steps=150", *sets])
    job.wait_for_step(10)
    return job


def tell(args, name, job, when):
    good = measure.judge(args, job, name)
    one = measure.measure_fault(job, when)
    events = job.events()
    faults = [f"{e['kind']} ({e.get('host', '')})" for e in events if e["ev"] == "fault"]
    worlds = [str(e["world_size"]) for e in events if e["ev"] == "run_start"]
    generations = [e["generation"] for e in events if e["ev"] == "step"]
    ordered = all(a <= b for a, b in zip(generations, generations[1:]))
    again = "never" if one is None or one[1] is None else f"{one[1]:.2f} s"
    times = "no restart" if one is None else f"detected {one[0]:.2f} s, again {again}, {one[2]} steps lost"
    print(f"{name}: {'reference hash' if good else 'FAILED'}; {times}; faults {faults}; ranks {' then '.join(worlds)}; "
          f"one generation wrote at a time: {ordered}", flush=True)


def row_lost(args):
    job = start(args, "lost", [])
    when = time.monotonic()
    link("down")
    for pid in processes_of_host():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    tell(args, "a host lost", job, when)
    link("up")


def row_cut(args):
    job = start(args, "cut", ["fault.hang_timeout_s=8"])
    when = time.monotonic()
    link("down")
    time.sleep(30)
    link("up")
    tell(args, "a link cut for 30 s", job, when)
    time.sleep(5)  # until Open MPI finds the host again


def row_blink(args):
    job = start(args, "blink", [])
    when = time.monotonic()
    link("down")
    time.sleep(3)
    link("up")
    tell(args, "a link cut for 3 s", job, when)


def main():
    rows = {name[4:]: function for name, function in globals().items() if name.startswith("row_")}
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--build", type=pathlib.Path, default=measure.ROOT / "build/release")
    options.add_argument("--config", type=pathlib.Path, default=measure.HERE / "job.yaml")
    options.add_argument("rows", nargs="*", help=f"some of {', '.join(rows)}; default: all")
    args = options.parse_args()
    args.rows = args.rows or list(rows)
    if not LAB:
        sys.exit("hosts.py runs inside bench/netlab/hosts.sh")
    args.build = args.build.resolve()
    args.hosts = "lab1:2,lab2:2"
    os.environ.update(OMPI_MCA_plm_rsh_agent=str(rsh_that_needs_the_link()), OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    args.folder = pathlib.Path(tempfile.mkdtemp(prefix="reliability-"))
    try:
        job = measure.Job(args, args.folder / "reference", ["train.steps=150"])
        if job.wait() != 0:
            sys.exit(job.text())
        args.reference = job.hash()
        print(f"undisturbed: {job.duration:.2f} s, weights {args.reference[:16]}...", flush=True)
        for row in args.rows:
            rows[row](args)
    finally:
        shutil.rmtree(args.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
