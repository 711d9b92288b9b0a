"""How the tests and tools/faults.py try the commands: in this process where that is enough, on tiny data; real
processes start in no time, because a server has imported everything."""
import contextlib, gzip, io, multiprocessing, os, re, resource, shutil, signal, stat, sys, time, traceback, warnings
from dataclasses import dataclass, field
from pathlib import Path
import numpy as np
import torch
from supernet_nas.console import main
from supernet_nas.data import IDX_FILES

# Commands in this process

@dataclass
class Ended:
    "What a command said, and how it ended; `code` is None if an exception got out of it"
    code: int|None = None
    out: str = ''
    err: str = ''
    warnings: list = field(default_factory=list)

@contextlib.contextmanager
def undisturbed():
    "Put back what a command changes in its process"
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads()
    try: yield
    finally:
        for s,handler in handlers.items(): signal.signal(s, handler)
        torch.set_num_threads(threads)

def command(name, *args)->Ended:
    "Call a console script's function as the script does"
    out,err = io.StringIO(),io.StringIO()
    with warnings.catch_warnings(record=True) as seen, undisturbed():
        warnings.simplefilter('always')
        for hidden in (DeprecationWarning, PendingDeprecationWarning): warnings.simplefilter('ignore', hidden)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try: code = main(name, [str(a) for a in args])
            except SystemExit as e: code = e.code or 0
            except BaseException: code = traceback.print_exc()
    if code in (130, 143): raise KeyboardInterrupt  # nobody stops a command here: the signal was meant for this process
    return Ended(code, out.getvalue(), err.getvalue(), [str(w.message) for w in seen])

def succeeds(name, *args)->str:
    "The output of a command that must end well, and warn of nothing"
    e = command(name, *args)
    assert (e.code, e.err, e.warnings)==(0, '', []), e
    return e.out

def snapshot(folder)->dict:
    "All that is below a folder, hidden files too, but not what another process is claiming"
    found = {}
    for f in sorted(Path(folder).rglob('*')):
        mode = os.lstat(f).st_mode
        if f.suffix=='.claim': continue
        found[str(f.relative_to(folder))] = f.read_bytes() if stat.S_ISREG(mode) else stat.S_IFMT(mode)
    return found

def check_refused(e:Ended, *says):
    "One short line and exit code 2"
    assert e.code==2, e
    assert len(e.err.strip().splitlines())==1 and len(e.err)<500, e
    assert not e.warnings, e
    for text in says: assert text in e.err, (text, e)

def refused(name, *args, says=(), within=None)->Ended:
    "A command that must be refused, and change nothing in a folder"
    before = snapshot(within) if within else None
    e = command(name, *args)
    check_refused(e, *says)
    if within: assert snapshot(within)==before, f'{name} left something'
    return e

# Tiny data: 600 training and 200 test images of KMNIST's form, whose checksums nobody knows

def idx(a)->bytes:
    "An array as an idx file"
    return bytes([0, 0, 8, a.ndim]) + b''.join(n.to_bytes(4, 'big') for n in a.shape) + a.astype(np.uint8).tobytes()

def tiny_arrays(seed=0)->list:
    "Images with a bar whose place says the class, and labels: of training and test"
    r,arrays = np.random.default_rng(seed),[]
    for n in (600, 200):
        y,x = r.integers(0, 10, n),r.integers(0, 60, (n, 28, 28))
        for image,label in zip(x, y): image[2*label:2*label+6,4:24] += 150
        arrays += [x, y]
    return arrays

def write_root(folder, arrays=None)->Path:
    "A data root with four files"
    folder.mkdir(parents=True, exist_ok=True)
    for f,a in zip(IDX_FILES, arrays or tiny_arrays()):
        (folder/f'{f}.gz').write_bytes(gzip.compress(idx(a), 1, mtime=0))
    return folder

def write_images(folder, each=30, size=16)->Path:
    "A folder of bright squares on the left or on the right, a subfolder for each"
    from PIL import Image
    r = np.random.default_rng(0)
    for i,name in enumerate(('left', 'right')):
        (folder/name).mkdir(parents=True)
        for n in range(each):
            a = r.integers(0, 100, (size, size, 3)).astype(np.uint8)
            a[4:-4,i*size//2:(i+1)*size//2] += 150
            Image.fromarray(a).save(folder/name/f'{n:02}.png')
    return folder

def tiny(root, *more)->list[str]:
    "Options of a training on tiny data, by default of a supernet of two networks"
    given = dict(zip(*[iter('--widths 2,4 --depths 2,1 --device cpu --precision fp32 --threads 1'.split())]*2))
    given |= {'--dataset': 'KMNIST', '--data-root': str(root)}
    given |= dict(zip(*[iter(map(str, more))]*2))
    return [s for pair in given.items() for s in pair]

def study_options(root, out, *more)->list[str]:
    "Options of a study that takes a second"
    return tiny(root, '--supernet-epochs', 2, '--scratch-epochs', 1, '--jobs', 1, '--out', out, *more)

def records(folder)->dict:
    "What must not depend on interruptions, or on who computed it"
    from supernet_nas.store import Results
    r = Results(folder, readonly=True)
    assert not r.refused, r.refused
    return {k: {s: v for s,v in c.items() if s!='made'} for k,c in r.records.items()}

def damages_nothing(folder, before):
    "After something went wrong: finished runs are as they were, others whole or not there, nothing is half-written"
    after = snapshot(folder)
    assert {k: after.get(k) for k in before}==before
    assert not [f for f in after if f.endswith('.tmp') or Path(f).name.startswith('.tmp')], after.keys()
    assert all(after[f] for f in after if f.endswith(('.png', '.json', '.csv')))
    if (Path(folder)/'runs').is_dir(): records(folder)

@contextlib.contextmanager
def file_limit(size):
    "Nothing can write a file longer than this: a full disk, as far as a process can tell"
    soft,hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

# Real processes

_server = multiprocessing.get_context('forkserver')
_server.set_forkserver_preload(['supernet_nas.commands', 'supernet_nas.report', 'torchvision.datasets'])

def _child(name, args, said):
    for fd in (1, 2): os.dup2(os.open(said, os.O_WRONLY|os.O_CREAT|os.O_APPEND), fd)
    sys.exit(main(name, args))

class Started:
    "A command in a process of its own, with all that it says in a file"
    def __init__(self, said, name, *args):
        self.said = Path(said)
        self.process = _server.Process(target=_child, args=(name, [str(a) for a in args], str(said)))
        self.process.start()

    @property
    def text(self)->str: return self.said.read_text() if self.said.exists() else ''

    def children(self)->list[int]:
        "Processes that it has started, and theirs"
        import psutil
        return [p.pid for p in psutil.Process(self.process.pid).children(recursive=True)]

    def wait_for(self, pattern, seconds=60):
        "Until it has said something"
        end = time.monotonic()+seconds
        while not re.search(pattern, self.text):
            assert self.process.is_alive() and time.monotonic()<end, self.text
            time.sleep(0.01)

    def send(self, number): os.kill(self.process.pid, number)

    def end(self, seconds=90)->int:
        "Its exit code"
        self.process.join(seconds)
        if self.process.is_alive(): self.process.kill(); raise AssertionError(f'still running: {self.text}')
        return self.process.exitcode

def wait_gone(pids, seconds=10):
    "Until these processes have ended"
    import psutil
    def living(): return [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status()!='zombie']
    end = time.monotonic()+seconds
    while living():
        assert time.monotonic()<end, f'left behind: {living()}'
        time.sleep(0.05)

def copy(source, folder)->Path:
    "A copy of a folder to damage"
    shutil.copytree(source, folder)
    return Path(folder)
