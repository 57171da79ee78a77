#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a job when something breaks: the rows of docs/reliability.md.

  bench/reliability/measure.py [--build build/release] [--seed 7] [--trials N] [--ranks 4] [--steps 200] ROW...

  kill       SIGKILL of a random rank at a random moment, start-up, checkpoints and shutdown included
  stop       SIGSTOP of a random rank, hang_timeout_s 5; then pauses of 4 s, hang_timeout_s 30
  launcher   dlrun killed; every process killed; dlrun stopped for 20 s and continued
  disk       the run's file system is full; then has room again (a small tmpfs: needs root)
  restarts   one job killed 50 times; what it leaves behind
  clock      the system's clock jumps an hour ahead, then two back (libfaketime, apt-get install faketime)
  overhead   speed with and without what is on by default (heartbeats, rings, snapshots)
  hashes     speed with and without log.hashes

Every trial must end with the weights hash of an undisturbed run. Times are seconds from the fault: `detected` to dlrun's
`fault` event, `again` to the first step of the next generation; `lost` counts steps made twice.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def processes_below(pid):
    """Process ids below pid, itself not included."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def ranks_below(pid):
    """{rank: process id} of the ranks that dlrun (pid) runs at this moment on this machine."""
    out = {}
    for child in processes_below(pid):
        try:
            if os.path.basename(os.readlink(f"/proc/{child}/exe")) != "dltrain":
                continue
            environment = pathlib.Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for entry in environment:
            if entry.startswith(b"OMPI_COMM_WORLD_RANK="):
                out[int(entry.split(b"=")[1])] = child
    return out


class Job:
    """One call of dlrun in a run folder."""

    def __init__(self, args, folder, sets=(), resume=False):
        self.folder = pathlib.Path(folder)
        where = ["--hosts", args.hosts] if hasattr(args, "hosts") else ["-n", args.ranks]
        words = [args.build / "dlrun", *where, args.config, "--set", f"run.dir={folder}"]
        for one in sets:
            words += ["--set", one]
        if not resume:
            words.append("--overwrite")
        self.err = tempfile.TemporaryFile("w+")
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(w) for w in words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=self.err)

    def wait(self, timeout=300):
        code = self.process.wait(timeout)
        self.duration = time.monotonic() - self.started
        return code

    def text(self):
        self.err.seek(0)
        return self.err.read()

    def ranks(self):
        return ranks_below(self.process.pid)

    def wait_for_ranks(self, count, timeout=30):
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            found = self.ranks()
            if len(found) >= count:
                return found
            time.sleep(0.01)
        return self.ranks()

    def wait_for_step(self, step, timeout=60):
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            if any(e["ev"] == "step" and e["step"] >= step for e in self.events()):
                return True
            time.sleep(0.02)
        return False

    def events(self):
        path = self.folder / "events.jsonl"
        out = []
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue  # a line that is just being written, or torn by the fault
            if event["t_mono"] >= self.started:  # not an earlier job's in this folder
                out.append(event)
        return out

    def hash(self):
        path = self.folder / "summary.json"
        return json.loads(path.read_text())["weights_hash"] if path.exists() else None


def after(events, when, name):
    return next((e for e in events if e["ev"] == name and e["t_mono"] >= when), None)


def measure_fault(job, when):
    """(detected, again, lost) of the fault made at this time; None where it had no consequence."""
    events = job.events()
    fault, restart = after(events, when, "fault"), after(events, when, "restart")
    if fault is None or restart is None:
        return None
    first = next((e for e in events if e["ev"] == "step" and e["generation"] == restart["generation"]), None)
    done = max((e["step"] for e in events if e["ev"] == "step" and e["generation"] < restart["generation"]), default=0)
    again = None if first is None else first["t_mono"] - when
    return fault["t_mono"] - when, again, max(0, done - restart["from_step"])


def spread(values, unit="s"):
    values = sorted(v for v in values if v is not None)
    if not values:
        return "none"
    at = lambda q: values[min(len(values) - 1, int(q * len(values)))]
    return f"p50 {at(0.5):.2f}, p95 {at(0.95):.2f}, max {values[-1]:.2f} {unit}"


def report(name, good, trials, measured, note=""):
    print(f"{name}: {good} of {trials} with the reference hash; {len(measured)} restarted"
          f"\n  detected {spread([m[0] for m in measured])}"
          f"\n  again    {spread([m[1] for m in measured])}"
          f"\n  lost     {spread([m[2] for m in measured], 'steps')}{note}", flush=True)


def judge(args, job, label):
    """Waits for the end; whether it ended well with the reference's bits."""
    try:
        code = job.wait()
    except subprocess.TimeoutExpired:
        for pid in [*processes_below(job.process.pid), job.process.pid]:
            os.kill(pid, signal.SIGKILL)
        print(f"{label}: did not end\n{job.text()[-3000:]}", flush=True)
        return False
    if code == 0 and job.hash() == args.reference:
        return True
    print(f"{label}: exit {code}, hash {job.hash()}\n{job.text()[-3000:]}", flush=True)
    return False


def row_kill(args):
    good, measured, late = 0, [], 0
    for trial in range(args.trials):
        job = Job(args, args.folder / "kill")
        delay = args.random.uniform(0, args.duration * 1.05)
        time.sleep(delay)
        found = job.wait_for_ranks(1)
        if not found:
            late += 1
        else:
            rank = args.random.choice(sorted(found))
            when = time.monotonic()
            try:
                os.kill(found[rank], signal.SIGKILL)
            except ProcessLookupError:
                late += 1
        good += judge(args, job, f"trial {trial}: rank {rank if found else '-'} killed after {delay:.3f} s")
        one = measure_fault(job, when) if found else None
        if one:
            measured.append(one)
    report("SIGKILL of a rank", good, args.trials, measured, f"\n  {late} after the last rank had ended")


def row_stop(args):
    good, measured = 0, []
    trials = max(3, args.trials // 20)
    for trial in range(trials):
        job = Job(args, args.folder / "stop", ["fault.hang_timeout_s=5", "train.steps=60"])
        job.wait_for_step(args.random.randint(3, 30))
        rank, pid = args.random.choice(sorted(job.ranks().items()))
        when = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        good += judge(args, job, f"trial {trial}: rank {rank} stopped")
        named = [e for e in job.events() if e["ev"] == "fault" and e.get("rank") == rank and e["kind"] == "hang"]
        one = measure_fault(job, when)
        if one and named:
            measured.append(one)
    report(f"SIGSTOP of a rank (hang_timeout_s 5), named as the one", good, trials, measured)
    good, restarts = 0, 0
    for trial in range(trials):
        job = Job(args, args.folder / "pause")
        job.wait_for_step(args.random.randint(3, 30))
        pid = args.random.choice(sorted(job.ranks().values()))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(4)
        os.kill(pid, signal.SIGCONT)
        good += judge(args, job, f"trial {trial}: paused")
        restarts += sum(e["ev"] in ("fault", "restart") for e in job.events())
    print(f"a rank paused for 4 s: {good} of {trials} with the reference hash, {restarts} faults or restarts", flush=True)


def row_launcher(args):
    trials = max(3, args.trials // 20)
    for what in ("dlrun", "every process"):
        good, gone = 0, []
        for trial in range(trials):
            job = Job(args, args.folder / "launcher")
            job.wait_for_step(args.random.randint(3, 30))
            below = processes_below(job.process.pid)
            when = time.monotonic()
            for pid in [job.process.pid] + (below if what != "dlrun" else []):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            job.process.wait()
            while any(alive(p) for p in below) and time.monotonic() < when + 20:
                time.sleep(0.02)
            gone.append(time.monotonic() - when)
            good += judge(args, Job(args, args.folder / "launcher", resume=True), f"trial {trial}: {what} killed")
        print(f"{what} killed: no process left after {spread(gone)}; the same command then ends with the reference hash "
              f"{good} of {trials}", flush=True)
    good, restarts = 0, 0
    for trial in range(max(2, trials // 3)):
        job = Job(args, args.folder / "launcher", ["train.steps=60"])
        job.wait_for_step(5)
        os.kill(job.process.pid, signal.SIGSTOP)
        time.sleep(20)
        os.kill(job.process.pid, signal.SIGCONT)
        good += judge(args, job, "dlrun stopped for 20 s")
        restarts += sum(e["ev"] in ("fault", "restart") for e in job.events())
    print(f"dlrun stopped for 20 s: {good} with the reference hash, {restarts} faults or restarts", flush=True)


def row_disk(args):
    with tempfile.TemporaryDirectory() as mount:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "none", mount], check=True)
        try:
            job = Job(args, f"{mount}/run", ["checkpoint.every_steps=5"])
            job.wait_for_step(11)
            filler = pathlib.Path(mount) / "filler"
            with open(filler, "wb") as out:
                try:
                    while True:
                        out.write(bytes(1 << 20))
                except OSError:
                    pass
            time.sleep(1)  # events.jsonl has no room for steps, either
            filler.unlink()
            good = judge(args, job, "disk full")
            full = [e for e in job.events() if e["ev"] == "fault" and e["kind"] == "disk_full"]
            restarts = sum(e["ev"] == "restart" for e in job.events())
            print(f"disk full for a while: {'reference hash' if good else 'FAILED'}, {len(full)} disk_full events, "
                  f"{restarts} restarts", flush=True)
        finally:
            subprocess.run(["umount", "-l", mount], check=False)


def left_behind():
    shared = {p.name for p in pathlib.Path("/dev/shm").iterdir()}
    temporary = {p.name for p in pathlib.Path(tempfile.gettempdir()).iterdir() if "ompi" in p.name or "dlrun" in p.name}
    return shared, temporary


def row_restarts(args):
    before = left_behind()
    job = Job(args, args.folder / "restarts", ["train.steps=60"])
    killed, descriptors = 0, []
    while job.process.poll() is None and killed < 50:
        step = max((e["step"] for e in job.events() if e["ev"] == "step"), default=0)
        if not job.wait_for_step(step + 1, 30):
            break
        try:
            descriptors.append(len(os.listdir(f"/proc/{job.process.pid}/fd")))
            os.kill(args.random.choice(sorted(job.ranks().values())), signal.SIGKILL)
            killed += 1
        except (OSError, IndexError):
            pass
        end = time.monotonic() + 20
        while job.process.poll() is None and time.monotonic() < end:
            if sum(e["ev"] == "restart" for e in job.events()) >= killed:
                break
            time.sleep(0.05)
    good = judge(args, job, "restarts")
    time.sleep(1)
    shared, temporary = (sorted(now - then) for now, then in zip(left_behind(), before))
    print(f"one job killed {killed} times: {'reference hash' if good else 'FAILED'}; left in /dev/shm {shared}, temporary "
          f"{temporary}; descriptors of dlrun {descriptors[0] if descriptors else 0} at first, "
          f"{descriptors[-1] if descriptors else 0} at last", flush=True)


def row_clock(args):
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        print("clock set: no libfaketime: apt-get install faketime")
        return
    shift = args.folder / "shift"
    shift.write_text("+0\n")
    faked = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_NO_CACHE": "1",
             "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    os.environ.update(faked)
    try:
        job = Job(args, args.folder / "clock", ["fault.hang_timeout_s=5"])
    finally:
        for name in faked:
            del os.environ[name]
    for step, text in ((10, "+3600\n"), (30, "-3600\n")):
        job.wait_for_step(step)
        shift.write_text(text)
    good = judge(args, job, "clock set")
    walls = [e["t_wall"] for e in job.events() if e["ev"] == "step"]
    jumps = [round(b - a) for a, b in zip(walls, walls[1:]) if abs(b - a) > 1000]
    restarts = sum(e["ev"] in ("fault", "restart") for e in job.events())
    print(f"clock set (jumps of {jumps} s): {'reference hash' if good else 'FAILED'}, {restarts} faults or restarts",
          flush=True)


def compare(args, before, after):
    """Speeds of two commands of {name: words} in pairs of runs, from the seconds between the steps of their logs."""
    def step_s(words):
        folder = args.folder / "compared"
        subprocess.run([str(w) for w in [*words, "--set", f"run.dir={folder}", "--set", f"train.steps={args.steps}",
                                         "--set", "checkpoint.ram_every_steps=auto", "--set",
                                         "checkpoint.every_steps=0", "--overwrite", "--quiet"]],
                       cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        times = [e["t_mono"] for e in events if e["ev"] == "step"]
        return [b - a for a, b in zip(times[20:], times[21:])]
    (name_before, words_before), (name_after, words_after) = before, after
    pairs = [(step_s(words_before), step_s(words_after)) for _ in range(max(5, args.trials // 20))]
    print(f"{name_after} against {name_before}, {args.ranks} rank(s), {len(pairs)} pairs, load {os.getloadavg()[0]:.1f}")
    for what, of in (("mean", statistics.mean), ("median", statistics.median)):
        ratios = [of(a) / of(b) for a, b in pairs]
        ms = [1e3 * statistics.median(map(of, side)) for side in zip(*pairs)]
        print(f"  by {what} steps: {statistics.median(ratios):.3f} of the speed, from {min(ratios):.3f} to "
              f"{max(ratios):.3f}; {ms[0]:.2f} and {ms[1]:.2f} ms", flush=True)


def mpirun(args):
    return ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", args.ranks, args.build / "dltrain", args.config]


def row_overhead(args):
    compare(args, ("mpirun", mpirun(args)), ("dlrun", [args.build / "dlrun", "-n", args.ranks, args.config]))


def row_hashes(args):
    compare(args, ("no hashes", mpirun(args)), ("log.hashes", [*mpirun(args), "--set", "log.hashes=true"]))


def main():
    rows = {name[4:]: function for name, function in globals().items() if name.startswith("row_")}
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    options.add_argument("--config", type=pathlib.Path, default=HERE / "job.yaml")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--trials", type=int, default=200)
    options.add_argument("--ranks", type=int, default=4)
    options.add_argument("--steps", type=int, default=200, help="of each run of overhead and hashes")
    options.add_argument("rows", nargs="+", choices=sorted(rows))
    args = options.parse_args()
    args.build = args.build.resolve()
    args.random = random.Random(args.seed)
    args.folder = pathlib.Path(tempfile.mkdtemp(prefix="reliability-"))
    try:
        job = Job(args, args.folder / "reference")
        if job.wait() != 0:
            sys.exit(job.text())
        args.reference, args.duration = job.hash(), job.duration
        print(f"seed {args.seed}; undisturbed: {args.duration:.2f} s, weights {args.reference[:16]}...", flush=True)
        for row in args.rows:
            rows[row](args)
    finally:
        shutil.rmtree(args.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
