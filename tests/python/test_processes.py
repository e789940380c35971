"""Work in forked children, and under a limit of threads: the same answers or a named error, never a hang."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks and limits of Linux")

PRELUDE = """
import faulthandler, os, resource, secrets, signal, shutil, sys, threading, time, warnings
import numpy as np
import certssb as cs
from torch import nn
warnings.simplefilter("ignore")
X, y = cs.datasets.load_digits()
X, y, T = X[:120], y[:120], X[200:230]
labels = np.arange(120) % 10
net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(.2), nn.ReLU(), nn.Linear(16, 10))
ALPHA = dict(alpha=.4, progress=False, seed=1, epochs=2)
def fit(model="linear", law=None, n=6, **k):
    return cs.CertifiedClassifier(model, law or cs.Gaussian(.25), n_members=n, **(ALPHA | k)).fit(X, y)
native, own, stack = fit(), fit(net), fit("mlp", stack=3)
votes = np.random.default_rng(0).integers(0, 2, (200, 40))
law = cs.Subsample(cs.Gaussian(1.0), size=20)
def betting():
    return cs.certify_votes(votes, law, n_train=100, n_classes=2, alpha=.05, bound="betting").p_lower
def norms():
    return cs.certify_votes(np.zeros((200, 40), int), law, n_classes=2, n_train=100, alpha=.05).trigger_norm(3)
def bound():
    return cs.bounds.betting_lower((votes == 1).astype(float), .05)
def knn():
    return cs.CertifiedKNN(sigma=.5, progress=False).fit(X, y).certify(T).p_lower
def ledger():
    import tempfile
    path = os.path.join(tempfile.mkdtemp(), "regions.sqlite")
    with cs.Ledger(path) as open_ledger:
        return [entry.radius for entry in open_ledger.update_many(X, y, np.full(120, .7))]
def own_magnitudes():
    return fit(net, cs.SampleSpecific(.25, steps=2), 6).noise_magnitudes(T)
WORK = {
    "votes": lambda: native.votes(T + 0), "votes of a module": lambda: own.votes(T + 0),
    "scores": lambda: native.scores(T), "scores of a module": lambda: own.scores(T),
    "votes of a stack": lambda: stack.votes(T + 0),
    "fit": lambda: fit(n=7).votes(T), "fit of a module": lambda: fit(net, n_jobs=4).votes(T),
    "fit of a stack": lambda: fit("mlp", stack=2).votes(T), "magnitudes": own_magnitudes,
    "betting": betting, "trigger norms": norms, "bound": bound, "1-NN": knn, "ledger": ledger,
}
def parts(outcome):
    return np.asarray(outcome, dtype=float).tobytes()
def calculated(number):
    "Seconds that a process has calculated, on all its threads."
    with open(f"/proc/{number}/stat") as file:
        times = file.read().rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
faulthandler.register(signal.SIGUSR1, all_threads=True)
def explain(number):
    "Where a child that hangs and its parent stand, for whoever reads why a test failed."
    print("The child:", file=sys.stderr, flush=True)
    os.kill(number, signal.SIGUSR1)
    time.sleep(1)
    for name in os.listdir(f"/proc/{number}/task"):
        with open(f"/proc/{number}/task/{name}/status") as status, open(f"/proc/{number}/task/{name}/wchan") as place:
            print(name, status.readlines()[2].strip(), place.read(), file=sys.stderr, flush=True)
    if shutil.which("gdb"):
        os.system(f"timeout 60 gdb -p {number} -batch -ex 'thread apply all backtrace 16' 2>&1 | cut -c1-160 >&2")
    print("Its parent:", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(all_threads=True)
def child(work, idle=60, most=300):
    "The exit status of a forked child that does the work; None if it had to be killed."
    # Busy machines are slow, and slow is no hang: a child hangs that calculates nothing for so long, or too much.
    number = os.fork()
    if number == 0:
        status = 9
        try:
            status = work()
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
        finally:
            os._exit(status)
    seen, since = 0.0, time.monotonic()
    while True:
        now = calculated(number)
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if now > seen:
            seen, since = now, time.monotonic()
        if now > most or time.monotonic() > since + idle:
            break
        time.sleep(.005)
    explain(number)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return None
"""


def run(script: str, timeout: int = 1800) -> list[str]:
    """Lines that the script prints; it runs in a process of its own, which must end."""
    text = PRELUDE + textwrap.dedent(script)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        check=False,
        cwd=Path(__file__).parent,
    )
    print(done.stderr[-20_000:])  # shown where a test fails
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.splitlines()


def test_what_hangs_is_told_from_what_is_slow() -> None:
    lines = run("""
    def calculate(seconds):
        while time.process_time() < seconds:
            pass
        return 0
    print(child(lambda: threading.Lock().acquire() and threading.Barrier(2).wait(), idle=2))
    print(child(lambda: calculate(1000), most=1))
    print(child(lambda: [time.sleep(.2) or sum(range(10**6)) for _ in range(20)] and 0, idle=2))
    """)
    assert lines == ["None", "None", "0"]


def test_a_forked_child_answers_as_its_parent() -> None:
    lines = run("""
    expected = {name: parts(work()) for name, work in WORK.items()}
    for name, work in WORK.items():
        for _ in range(6 if "module" in name else 2):
            native._votes.clear(), own._votes.clear(), stack._votes.clear()
            print(name, child(lambda: 0 if parts(work()) == expected[name] else 8), sep=": ", flush=True)
    def grandchild():
        return child(lambda: child(lambda: 0 if parts(betting()) == expected["betting"] else 8))
    print("grandchild:", child(grandchild))
    """)
    assert len(lines) > 30
    assert [line for line in lines if not line.endswith(": 0")] == []


def test_one_thread_of_a_forked_child_renews_torchs_engine_before_any_works() -> None:
    """Two that do it at the same moment free it twice, and the process ends with a signal: once in some 300 children."""
    assert run("""
    from certssb import _core, _generators
    done = []
    def renew():
        done.append("begin")
        time.sleep(.3)
        done.append("end")
    _generators.renew_engine = renew
    def work():
        threads = [threading.Thread(target=_core.working, args=(lambda: done.append("work"),)) for _ in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        return 0 if done == ["begin", "end"] + 3 * ["work"] else 8
    print(child(work))
    _core.working(lambda: done.append("parent's"))
    print(done)
    """) == ["0", '["parent\'s"]']


def test_a_fork_in_the_middle_of_work_holds_up_nobody() -> None:
    lines = run("""
    stop = threading.Event()
    def busy():
        while not stop.is_set():
            fit(net), betting(), stack.votes(T), knn()
    thread = threading.Thread(target=busy)
    thread.start()
    expected = {name: parts(WORK[name]()) for name in ("votes of a module", "fit of a module", "betting")}
    for turn in range(24):
        name = list(expected)[turn % 3]
        own._votes.clear()
        print(name, child(lambda: 0 if parts(WORK[name]()) == expected[name] else 8), sep=": ", flush=True)
        time.sleep(.013)
    stop.set()
    thread.join()
    """)
    assert len(lines) == 24
    assert [line for line in lines if not line.endswith(": 0")] == []


def test_who_borrows_the_generators_or_draws_from_them_holds_up_no_child() -> None:
    lines = run("""
    import torch
    from certssb import _generators
    from certssb.learners.torch import _randomness
    expected = parts(WORK["fit of a module"]())
    def forked(busy, has_begun=lambda: time.sleep(.3)):
        def work():
            try:
                return 0 if parts(WORK["fit of a module"]()) == expected else 8
            except cs.DeviceError as error:
                print(error, flush=True)
                return 1
        thread = threading.Thread(target=busy, daemon=True)
        thread.start()
        has_begun()
        return child(work, idle=30)
    # Longer than a fork waits.
    ended = threading.Event()
    def borrow():
        with _randomness.seeded(3):
            ended.wait()
    print("the turn:", forked(borrow), flush=True)
    ended.set()
    def draw_numbers():
        np.random.standard_normal(10**8)
    print("a draw of NumPy's:", forked(draw_numbers), flush=True)
    def draw():
        torch.rand(10**8)
    print("a draw:", forked(draw), flush=True)
    # As where it begins between the look and the fork.
    class NotThere:
        get_state = staticmethod(lambda: None)
    known, torch.default_generator = torch.default_generator, NotThere
    os.register_at_fork(after_in_child=lambda: setattr(torch, "default_generator", known))
    _generators._PATIENCE = 3.0
    def memory():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
    before = memory()
    def has_begun():
        # Its numbers are there, some 50 of 1,600 MB.
        while memory() < before + 50_000:
            time.sleep(.001)
    print("a draw that nobody waited for:", forked(lambda: torch.rand(4 * 10**8), has_begun), flush=True)
    os._exit(0)
    """)
    assert lines[:3] == ["the turn: 0", "a draw of NumPy's: 0", "a draw: 0"]
    assert lines[3].startswith("torch's global generator cannot be used in this process")
    assert lines[4] == "a draw that nobody waited for: 1"


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="takes a user who has no other processes"
)
def test_where_few_threads_are_allowed_fewer_work_or_an_error_says_so() -> None:
    lines = run("""
    if os.getuid() == 0:  # whom no limit binds
        os.setgid(65534)
        os.setuid(2_000_000 + os.getpid() + (secrets.randbits(6) << 22))
    def threads():
        "Of all processes of this user, which is what the limit counts; those that have ended are counted for a moment yet."
        counts = [0]
        while len(set(counts[-3:])) > 1 or len(counts) < 4:
            time.sleep(.15)
            counts.append(counted())
        return counts[-1]
    def counted():
        total = 0
        for number in filter(str.isdigit, os.listdir("/proc")):
            try:
                text = open(f"/proc/{number}/status").read()
            except OSError:
                continue
            facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            if int(facts["Uid"].split()[0]) == os.getuid():
                total += int(facts["Threads"])
        return total
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    def allow(more):
        resource.setrlimit(resource.RLIMIT_NPROC, (hard if more is None else threads() + more, hard))
    def attempt(work):
        try:
            return np.shape(work())
        except cs.DeviceError as error:
            return f"DeviceError: {error}"
    def trained(model, jobs=64):
        clf = fit(model, n=80, n_jobs=jobs, epochs=100)
        return clf.n_members_, int(clf.execution_.split(", ")[1].split()[0])
    # A child has no pool yet: looking at samples started its parent's.
    sys.stdout.flush()
    if os.fork() == 0:
        allow(0)
        print("none", attempt(betting))
        print("none", attempt(knn))
        allow(1)
        print("one", attempt(betting))
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    for model in ("linear", net):
        allow(20)
        print("twenty", *trained(model))
        allow(0)
        print("none", attempt(lambda: trained(model)))
    print("none", attempt(lambda: native.votes(T + 1)))
    allow(None)
    print("any", *trained("linear", 3), knn().shape)
    """)
    assert len(lines) == 9
    for at, line in enumerate(lines):
        word, *rest = line.split(" ", 1)
        if word == "twenty":
            members, used = map(int, rest[0].split())
            assert members == 80 and 1 <= used < 64, (at, line)
        elif word == "none":
            assert rest[0].startswith("DeviceError: No thread could be started"), (at, line)
    assert lines[2] == "one (40,)"
    assert lines[-1] == "any 80 3 (30,)"


LAST = "self.training and len(x) == 7"
PASSES = {
    "detached": (f"out.detach() if {LAST} else out", "batch_size=113"),
    "a constant": (f"torch.ones(len(x), 10) if {LAST} else out", "batch_size=113"),
    "in a stack": (f"out.detach() if {LAST} else out", "batch_size=113, stack=3"),
    "in a search": ("out if self.training else out.detach()", "law=cs.SampleSpecific(.25, steps=2)"),
    "in the scout's": (
        "out if self.training else out.detach()",
        "law=cs.SampleSpecific(.25, 'published', steps=2)",
    ),
}


@pytest.mark.parametrize("kind", PASSES)
def test_a_pass_without_a_gradient_is_an_error_that_names_the_member(kind: str) -> None:
    out, settings = PASSES[kind]
    lines = run(f"""
    import torch
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 10)
        def forward(self, x):
            out = self.layer(x.flatten(1))
            return {out}
    try:
        fit(Net, {settings})
    except cs.TrainingError as error:
        print(type(error.member).__name__, error)
    """)
    # The scout is no member that anybody could ask for by its number.
    named = {
        "in a search": "int The search for noise magnitudes by member ",
        "in the scout's": "NoneType The search for noise magnitudes by the scout failed",
    }.get(kind, "int Training of member ")
    assert len(lines) == 1 and lines[0].startswith(named), lines
    assert "its logits have no gradient" in lines[0], lines


def test_members_of_a_fit_whose_data_changed_are_those_of_what_was_checked(tmp_path: Path) -> None:
    lines = run(f"""
    data = np.ascontiguousarray(X, dtype=np.float32)
    checked = data.copy()
    def change(done, total):
        data[0] += 1
    def clf(progress, checkpoint):
        return cs.CertifiedClassifier("linear", cs.Gaussian(.25), n_members=100, alpha=.4, seed=1, epochs=2, n_jobs=1,
                                      progress=progress, checkpoint=checkpoint)
    disturbed = clf(change, {str(tmp_path)!r})
    try:
        disturbed.fit(data, y)
    except cs.ParameterError as error:
        print(error)
    kept = len([name for name in os.listdir({str(tmp_path)!r}) if name.startswith("member-")])
    print(0 < kept < 100, hasattr(disturbed, "n_members_"))
    again, fresh = clf(False, {str(tmp_path)!r}).fit(checked, y), clf(False, None).fit(checked, y)
    print(np.array_equal(again.scores(T), fresh.scores(T)))
    """)
    assert "'X'" in lines[0] and "not written to while they are in use" in lines[0]
    assert lines[1:] == ["True False", "True"]


def test_a_damaged_member_is_not_trained_anew_on_changed_data(tmp_path: Path) -> None:
    lines = run(f"""
    data = np.ascontiguousarray(X, dtype=np.float32)
    checked = data.copy()
    def change(done, total):
        data[0] += 1
    def clf(n, progress=False, checkpoint={str(tmp_path)!r}):
        return cs.CertifiedClassifier("linear", cs.Gaussian(.25), n_members=n, alpha=.4, seed=1, epochs=2, n_jobs=1,
                                      progress=progress, checkpoint=checkpoint)
    clf(5).fit(data, y)
    os.truncate({str(tmp_path / "member-000002.safetensors")!r}, 100)
    try:
        clf(8, change).fit(data, y)
    except cs.ParameterError as error:
        print("not written to" in str(error))
    again, fresh = clf(8).fit(checked, y), clf(8, checkpoint=None).fit(checked, y)
    print(np.array_equal(again.scores(T), fresh.scores(T)))
    """)
    assert lines == ["True", "True"]
