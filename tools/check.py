#!/usr/bin/env python3
"""Builds and tests Nautile; called by ./check, which has installed the packages.

usage: ./check [TIER...]      without a tier: all but `real` and `lint`

  fast     formatting, tidy, unit tests, goldens of tiny models (the inner loop)
  isa      the same models on the lesser instruction sets that this machine has; the starter's
           fidelity, the invariance of rows and of whole answers on the best one
  http     the real program with the starter model, spoken to by the public client libraries;
           `nautile pull` against a hub that misbehaves
  browser  the site in Chromium: journeys, accessibility, screenshots under build/screenshots
  attack   slow, broken and hostile clients; killed processes; the sealed process
  asan     unit tests under AddressSanitizer and UBSan
  tsan     those with threads under ThreadSanitizer
  fuzz     every fuzz target for 4,000 inputs from its corpus, with a fixed seed, so that what is
           green here is green elsewhere; NAUTILE_FUZZ_SECONDS=N: N s and a seed of chance
  real     fidelity on real weights that are fetched on demand (about 500 MB); not part of CI
  lint     clang-tidy (.clang-tidy) over what ships; a quarter of an hour, not part of CI

The last line is `N passed, M failed`. When everything passed, the hash of the tested tree is
written to build/check.stamp. Logs of each step: build/check/logs.
"""
import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "check"
ASAN, TSAN = ROOT / "build" / "asan", ROOT / "build" / "tsan"
LOGS = BUILD / "logs"
FETCHED = pathlib.Path(os.environ.get("NAUTILE_FETCH_DIR") or ROOT / "build" / "fetched")
FUZZ_RUNS = 4_000
BUILD_S_MAX = 5_000  # one that is ahead of its tier waits for most of its time
# A quarter of a minute to a minute each: they belong to the isa tier.
SLOW_TESTS = ":".join([
    "Starter.*", "*RowDoesNotDependOn*", "*/Invariance.*", "Speculation.OnAndOffGiveTheSameTokens",
    "ExpertsOnDisk.TokensAreThoseOfTheModelInMemory", "Scheduler.EverythingEndsUnderRandomLoad"])
LONG_PROGRAMS = ["model_test", "tensor_test", "engine_test", "format_test"]
TIERS = ["fast", "isa", "http", "browser", "attack", "asan", "fuzz", "tsan"]
OPTIONAL = ["real", "lint"]
TSAN_PROGRAMS = ["engine_test", "base_test", "net_test", "pull_test", "api_test"]
SAN_FLAGS = "-O1"

passed = 0
failed = 0
failures = []
PROGRESS = re.compile(r"\[\d+/\d+\] ")  # of Playwright and ninja
NAMES_A_FAILURE = re.compile(
    r"\s*\d+\) (\S+\.ts:.*)| FAIL  (.*)"
    r"|\[  FAILED  \] ([A-Za-z][^\s,]*)|(?:FAILED|ERROR) (\S+::.*)")
counting = threading.Lock()


def say(text):
    print(f"check: {text}", flush=True)


def count(good, bad, name, seconds, log=None):
    """Adds to the totals; a failure shows the names of what failed and the end of its log."""
    global passed, failed
    with counting:
        passed += good
        failed += bad
        say(f"{'ok  ' if bad == 0 else 'FAIL'} {name}: {good} passed, {bad} failed "
            f"({seconds:.0f} s)")
        if not bad:
            return
        lines = [] if not log or not log.exists() else [
            line for line in log.read_text(errors="replace").splitlines()
            if not PROGRESS.match(line)]
        named = list(dict.fromkeys(match[match.lastindex].strip(" ─") for match in map(
            NAMES_A_FAILURE.match, lines) if match))
        failures.extend([f"{name}: {line}" for line in named] or [name])
        print("\n".join(f"    {line}" for line in named + lines[-40:]), flush=True)
        if log:
            say(f"the whole text: {log}")


def side_by_side(jobs):
    """Runs independent jobs, as many at once as there are cores."""
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        for job in [workers.submit(*job) for job in jobs]:
            job.result()


def signal_session(leader, which):
    """Signals every process of a session: ninja gives each of its compilers a group of its own."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == leader:
                os.kill(int(stat.parent.name), which)


class Ahead:
    """Builds for later tiers, begun while earlier ones test: they take what those leave of the
    cores (a browser that waits, the last long program of a tier), and stand still while a tier
    measures how long answers take."""

    def __init__(self):
        self.worker = concurrent.futures.ThreadPoolExecutor(1)
        self.builds = {}
        self.processes = set()
        self.lock = threading.Lock()
        self.still = False

    def begin(self, name, build):
        if name not in self.builds:
            self.builds[name] = self.worker.submit(build)

    def ended(self, name, build):
        """Whether the build succeeded; waits for it, and begins it if nobody has."""
        self.begin(name, build)
        return self.builds[name].result()

    def started(self, process):
        with self.lock:
            self.processes.add(process)
            if self.still:
                signal_session(process.pid, signal.SIGSTOP)

    def over(self, process):
        with self.lock:
            self.processes.discard(process)

    def stand_still(self, still):
        with self.lock:
            self.still = still
            for process in self.processes:
                signal_session(process.pid, signal.SIGSTOP if still else signal.SIGCONT)


ahead = Ahead()
running = set()  # every process that run() waits for
starting = threading.RLock()  # held for good once everything is being stopped


def yield_cores():
    """Lowest priority, also where the kernel shares the cores by session before all else."""
    os.nice(19)
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/autogroup").write_text("19")


def run(name, command, env=None, cwd=ROOT, timeout_s=1500, is_ahead=False):
    """Runs a command into its log; returns (exit status, output, seconds, log)."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (re.sub(r"[^\w.-]+", "-", name) + ".log")
    start = time.monotonic()
    with open(log, "wb") as out:
        with starting:
            process = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL,
                                       env=dict(os.environ, **(env or {})),
                                       start_new_session=True,
                                       preexec_fn=yield_cores if is_ahead else None)
            running.add(process)
        if is_ahead:
            ahead.started(process)
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            signal_session(process.pid, signal.SIGKILL)
            status = process.wait()
            out.write(f"\nstopped after {timeout_s} s\n".encode())
        finally:
            if process.returncode is not None:
                running.discard(process)
                ahead.over(process)
    return status, log.read_text(errors="replace"), time.monotonic() - start, log


def step(name, command, **options):
    """A command that counts as one test."""
    status, _, seconds, log = run(name, command, **options)
    count(int(status == 0), int(status != 0), name, seconds, log)
    return status == 0


def need(name, command, **options):
    """A command without which the tier cannot go on: counted only when it fails."""
    status, _, seconds, log = run(name, command, **options)
    if status != 0:
        count(0, 1, name, seconds, log)
    else:
        say(f"done {name} ({seconds:.0f} s)")
    return status == 0


def gtest(name, binary, env=None, arguments=()):
    """Runs a GoogleTest program and counts its tests; a crash counts as one failure more."""
    status, text, seconds, log = run(name, [str(binary), "--gtest_brief=1", *arguments], env=env)
    good = sum(int(n) for n in re.findall(r"^\[  PASSED  \] (\d+) test", text, re.M))
    bad = sum(int(n) for n in re.findall(r"^ ?(\d+) FAILED TEST", text, re.M))
    if status != 0 and bad == 0:
        bad = 1
    count(good, bad, name, seconds, log)


def pytest(name, folder, python, env=None, timeout_s=1500):
    status, text, seconds, log = run(
        name, [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        env=env, timeout_s=timeout_s)
    tail = text[-2000:]
    good = sum(int(n) for n in re.findall(r"(\d+) passed", tail))
    bad = sum(int(n) for n in re.findall(r"(\d+) (?:failed|errors?)", tail))
    if status != 0 and bad == 0:
        bad = 1
    count(good, bad, name, seconds, log)


def fetch(*names):
    return need("fetch " + " ".join(names), [sys.executable, "tools/fetch.py", *names])


def configure(folder, *options, **how):
    return need(f"configure {folder.name}",
                ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), *options], **how)


def compile_in(folder, *targets, **how):
    return need(f"build {folder.name}", ["ninja", "-C", str(folder), *targets],
                timeout_s=BUILD_S_MAX, **how)


def longest_first(name):
    """Order of programs that run side by side: a long one that begins last runs alone."""
    return LONG_PROGRAMS.index(name) if name in LONG_PROGRAMS else len(LONG_PROGRAMS)


def test_programs(folder):
    programs = sorted(path for path in folder.glob("*_test") if os.access(path, os.X_OK))
    return sorted(programs, key=lambda program: longest_first(program.name))


built = {}
chosen_tiers = []


def ensure_build():
    """The optimised build that every tier but the sanitized ones uses; once a run. The sanitized
    builds that this run needs begin when it is there."""
    if "check" not in built:
        built["check"] = (fetch("starter", "vocabularies")
                          and configure(BUILD, "-DCMAKE_BUILD_TYPE=Release", "-DNAUTILE_TESTS=ON")
                          and compile_in(BUILD))
        if built["check"] and {"asan", "fuzz"} & set(chosen_tiers):
            ahead.begin("asan", build_asan)
        if built["check"] and "tsan" in chosen_tiers:
            ahead.begin("tsan", build_tsan)
    return built["check"]


def while_it_builds(tiers):
    """Starts what the later tiers download, which needs the network and hardly a core."""
    wanted = []
    if {"http", "attack", "real"} & set(tiers):
        wanted.append(venv)
    wanted += [lambda folder=f"tests/{tier}": npm_ci(folder)
               for tier in ("http", "browser") if tier in tiers]
    workers = concurrent.futures.ThreadPoolExecutor(max(1, len(wanted)))
    return [workers.submit(job) for job in wanted]


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, text=True,
                         stdout=subprocess.PIPE, check=True)
    return out.stdout.split()


def tier_fast():
    sources = [name for name in tracked("src", "bench", "tests") if name.endswith((".cc", ".h"))
               and not re.search(r"_tables?\.(cc|h)$|golden/|corpus/", name)]
    formatter = shutil.which("clang-format-14") or shutil.which("clang-format")
    step("formatting", [formatter, "--dry-run", "-Werror", *sources])
    step("tidy", [sys.executable, "tools/tidy.py"])
    if not ensure_build():
        return
    env = {"NAUTILE_FETCH_DIR": str(FETCHED)}
    side_by_side([(web_unit,)] + [(gtest, f"unit {program.name}", program, env,
                                   [f"--gtest_filter=-{SLOW_TESTS}"])
                                  for program in test_programs(BUILD)])


def web_unit():
    status, text, seconds, log = run("unit web", ["npm", "test", "--silent"], cwd=ROOT / "web")
    good = sum(int(n) for n in re.findall(r"^# pass (\d+)", text, re.M))
    bad = sum(int(n) for n in re.findall(r"^# fail (\d+)", text, re.M))
    if status != 0 and bad == 0:
        bad = 1
    count(good, bad, "unit web", seconds, log)


def machine_isas():
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    isas = ["scalar"]
    if " avx2" in flags and " fma" in flags:
        isas.append("avx2")
    if " avx512_vnni" in flags and " avx512bw" in flags:
        isas.append("avx512")
    if "avx512" in isas and " amx_int8" in flags:
        isas.append("amx")
    return isas


def tier_isa():
    if not ensure_build():
        return
    env = {"NAUTILE_FETCH_DIR": str(FETCHED)}
    *lesser, best = machine_isas()  # the fast tier takes the best
    side_by_side([(gtest, f"{name} with {isa}", BUILD / name,
                   dict(env, NAUTILE_ISA=isa, NAUTILE_SLOW_MACHINE="1"),
                   ["--gtest_filter=-Starter.*"])
                  for isa in lesser for name in ("model_test", "engine_test")] +
                 [(gtest, f"slow {name} with {best}", BUILD / name,
                   dict(env, NAUTILE_ISA=best), [f"--gtest_filter={SLOW_TESTS}"])
                  for name in ("engine_test", "model_test")] +
                 [(gtest, f"tensor_test with {isa}", BUILD / "tensor_test",
                   dict(env, NAUTILE_ISA=isa, NAUTILE_SLOW_MACHINE="1"))
                  for isa in lesser])


def venv():
    """The tests' Python with the packages of tests/requirements.txt."""
    python = BUILD / "venv" / "bin" / "python"
    wanted = (ROOT / "tests" / "requirements.txt").read_text()
    stamp = BUILD / "venv" / ".requirements"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    if not need("python environment", [sys.executable, "-m", "venv", str(BUILD / "venv")]):
        return None
    if not need("python packages", [str(python), "-m", "pip", "install", "--quiet",
                                    "--disable-pip-version-check", "-r",
                                    "tests/requirements.txt"]):
        return None
    stamp.write_text(wanted)
    return python


def program_env():
    return {"NAUTILE": str(BUILD / "nautile"), "NAUTILE_BUILD": str(BUILD),
            "NAUTILE_FETCH_DIR": str(FETCHED)}


def npm_ci(folder):
    """npm ci where package-lock.json changed since the last time."""
    lock = (ROOT / folder / "package-lock.json").read_text()
    stamp = ROOT / folder / "node_modules" / ".nautile-lock"
    if stamp.exists() and stamp.read_text() == lock:
        return True
    if not need(f"npm ci in {folder}", ["npm", "ci", "--no-audit", "--no-fund", "--silent"],
                cwd=ROOT / folder):
        return False
    stamp.write_text(lock)
    return True


def tier_http():
    python = venv()
    if not ensure_build() or python is None or not npm_ci("tests/http"):
        return
    side_by_side([(pytest, name, f"tests/{name}", python, program_env())
                  for name in ("http", "pull", "quantize")])


def tier_browser():
    if not ensure_build() or not npm_ci("tests/browser"):
        return
    status, text, seconds, log = run("browser", ["npx", "playwright", "test", "--reporter=line"],
                                     cwd=ROOT / "tests" / "browser", env=program_env())
    good = sum(int(n) for n in re.findall(r"^\s*(\d+) passed", text, re.M))
    bad = sum(int(n)
              for n in re.findall(r"^\s*(\d+) (?:failed|did not run|interrupted)", text, re.M))
    if status != 0 and bad == 0:
        bad = 1
    count(good, bad, "browser", seconds, log)


def tier_attack():
    python = venv()
    if not ensure_build() or python is None:
        return
    ahead.stand_still(True)
    try:
        pytest("attack", "tests/attack", python, env=program_env())
    finally:
        ahead.stand_still(False)


def clang():
    """What tells CMake to take it."""
    compiler = shutil.which("clang++-14") or shutil.which("clang++")
    return (f"-DCMAKE_CXX_COMPILER={compiler}",
            f"-DCMAKE_C_COMPILER={compiler.replace('clang++', 'clang')}")


def build_asan():
    """Unit tests and fuzz targets under AddressSanitizer and UBSan, one clang build for both."""
    return (fetch("starter", "vocabularies")
            and configure(ASAN, "-DCMAKE_BUILD_TYPE=None", *clang(),
                          f"-DCMAKE_CXX_FLAGS={SAN_FLAGS}",
                          "-DNAUTILE_SANITIZE=address,undefined", "-DNAUTILE_FUZZ=ON",
                          "-DNAUTILE_WEB=OFF", is_ahead=True)
            and compile_in(ASAN, "unit_tests", "fuzzers", is_ahead=True))


def ensure_sanitized():
    return ASAN if ahead.ended("asan", build_asan) else None


def tier_asan():
    options = {"ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1",
               "UBSAN_OPTIONS": "print_stacktrace=1", "NAUTILE_FETCH_DIR": str(FETCHED),
               "NAUTILE_SLOW_MACHINE": "1"}
    folder = ensure_sanitized()
    # The starter's weights bring no code that the tiny models do not, and take minutes here.
    side_by_side([(gtest, f"asan {program.name}", program, options, ["--gtest_filter=-Starter.*"])
                  for program in (test_programs(folder) if folder else [])])


def build_tsan():
    return (configure(TSAN, "-DCMAKE_BUILD_TYPE=None", f"-DCMAKE_CXX_FLAGS={SAN_FLAGS}",
                      "-DNAUTILE_SANITIZE=thread", "-DNAUTILE_WEB=OFF", is_ahead=True)
            and compile_in(TSAN, *TSAN_PROGRAMS, is_ahead=True))


def tier_tsan():
    options = {"NAUTILE_FETCH_DIR": str(FETCHED), "NAUTILE_SLOW_MACHINE": "1",
               "TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1"}
    if ahead.ended("tsan", build_tsan):
        side_by_side([(gtest, f"tsan {program}", TSAN / program, options)
                      for program in TSAN_PROGRAMS])


def tier_fuzz():
    folder = ensure_sanitized()
    chosen = os.environ.get("NAUTILE_FUZZ_SECONDS")
    limit = [f"-max_total_time={chosen}"] if chosen else [f"-runs={FUZZ_RUNS}", "-seed=1"]
    jobs = []
    for target in sorted((folder / "fuzz").glob("*_fuzz")) if folder else []:
        corpus = ROOT / "tests" / "corpus" / target.name
        found = folder / "found" / target.name
        found.mkdir(parents=True, exist_ok=True)
        command = [str(target), *limit, "-timeout=10", "-rss_limit_mb=2048",
                   "-print_final_stats=1", f"-artifact_prefix={found}/", str(found)]
        if corpus.exists():
            command.append(str(corpus))
        jobs.append((step, f"fuzz {target.name}", command))
    side_by_side(jobs)


def tier_real():
    if ensure_build() and fetch("real-0.5b"):
        python = venv()
        if python is not None:
            pytest("real weights", "tests/real", python, env=program_env())


def tier_lint():
    """clang-tidy with compile commands of clang, one a file; nothing is built."""
    folder = ROOT / "build" / "lint"
    tidy = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    if not configure(folder, *clang(), "-DNAUTILE_WEB=OFF", "-DNAUTILE_TESTS=OFF",
                     "-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON"):
        return
    sources = [name for name in tracked("src")
               if name.endswith(".cc")
               and not re.search(r"_(tables?|test|fuzz)\.cc$|/iq_grids\.cc$", name)]
    side_by_side([(step, f"lint {name}", [tidy, "-p", str(folder), "--quiet", name])
                  for name in sources])


def stamp_tree(tiers):
    if failed or set(TIERS) - set(tiers):
        return
    dirty = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, text=True,
                           stdout=subprocess.PIPE).stdout
    if dirty:
        say("no stamp: the tree has changes that are not committed")
        return
    tree = subprocess.run(["git", "rev-parse", "HEAD^{tree}"], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, check=True).stdout
    (ROOT / "build" / "check.stamp").write_text(tree)


def stop_all(which, _):
    """Interrupted. A handler: an exception would wait for the threads, and they for what runs."""
    starting.acquire()
    for process in running.copy():
        signal_session(process.pid, signal.SIGTERM)
        signal_session(process.pid, signal.SIGCONT)
    say("interrupted; run the same command again to go on")
    os._exit(128 + which)


def main():
    parser = argparse.ArgumentParser(prog="./check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiers", nargs="*", metavar="TIER", help=", ".join(TIERS + OPTIONAL))
    tiers = parser.parse_args().tiers or TIERS
    for tier in tiers:
        if tier not in TIERS + OPTIONAL:
            parser.error(f"there is no tier {tier!r}; known: {', '.join(TIERS + OPTIONAL)}")
    os.environ["NAUTILE_FETCH_DIR"] = str(FETCHED)
    chosen_tiers.extend(tiers)
    start = time.monotonic()
    downloads = while_it_builds(tiers)
    for tier in tiers:
        say(f"== {tier}")
        if tier not in ("fast", "isa"):
            concurrent.futures.wait(downloads)
        globals()[f"tier_{tier}"]()
    stamp_tree(tiers)
    say(f"{time.monotonic() - start:.0f} s")
    for failure in failures:
        say(f"FAIL {failure}")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop_all)
    signal.signal(signal.SIGTERM, stop_all)
    sys.exit(main())
