#!/usr/bin/env python3
"""Kill a small study at random moments, again and again, and compare it with one that nobody disturbed

    python tools/soak.py --engine serial|pool|ray --kills 100 --seed 0 --out results/soak.csv
"""
import argparse, csv, io, os, random, signal, subprocess, sys, tempfile, time, traceback
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT/'tests')]
os.environ['OMP_NUM_THREADS'] = '1'
os.environ['PYTHONPATH'] = str(ROOT)
from test_engines import alive, images, numbers, waited

LEAST,END = .05,60  # seconds before a signal; seconds that an end may take
MOST = 300  # seconds of a study without a signal: it hangs
COLUMNS = 'engine kills hits resumed studies finished lost different left faults seconds commit when'.split()

# Two Ray nodes, in a process of their own: what forks drivers has no threads

def hold_nodes():
    "Serve a cluster of two nodes: a line in, `kill` or `replace`; a line out"
    from test_engines import Nodes, loopback_settings
    os.environ.pop('PYTHONPATH')
    os.chdir('/')
    os.environ.update(loopback_settings)
    nodes = Nodes()
    print(nodes.address, flush=True)
    for line in sys.stdin:
        getattr(nodes, line.strip())()
        print('done', flush=True)
    nodes.cluster.shutdown()

class Holder:
    "The cluster as the soak sees it"
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, __file__, '--hold-nodes'], stdin=-1, stdout=-1,
            stderr=subprocess.DEVNULL, text=True)
        self.address,self.owed = self.process.stdout.readline().strip(),0

    def ask(self, *what):
        "Ask for things without waiting"
        for w in what: self.process.stdin.write(w+'\n')
        self.process.stdin.flush()
        self.owed += len(what)

    def settle(self):
        "Wait for everything that was asked for"
        while self.owed:
            self.process.stdout.readline()
            self.owed -= 1

    def stop(self):
        self.settle()
        self.process.stdin.close()
        self.process.wait()

# Drivers

def processes():
    "Command line by process"
    found = {}
    for p in Path('/proc').glob('[0-9]*'):
        try: found[int(p.name)] = (p/'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
        except OSError: continue
    return {p: c for p,c in found.items() if c}

def with_mark(mark):
    "Processes that a driver has started: its environment went with them"
    found = []
    for p in processes():
        try: env = Path(f'/proc/{p}/environ').read_bytes()
        except OSError: continue
        if f'SOAK={mark}\0'.encode() in env and p!=os.getpid(): found.append(p)
    return found

class Driver:
    "A `supernet_study`, forked from this process, which has imported everything and computed nothing"
    def __init__(self, args, out, log):
        self.mark,self.code = f'{out.name}-{time.monotonic_ns()}',None
        self.pid = os.fork()
        if self.pid: return
        try:
            os.setsid()
            fd = os.open(log, os.O_WRONLY|os.O_CREAT|os.O_APPEND)
            for target in (1, 2): os.dup2(fd, target)
            os.environ['SOAK'] = self.mark
            del sys.modules['__main__'].__file__  # a process of its pool imports what a console script has: nothing
            from supernet_nas import console
            plain = console._exit_code
            console._exit_code = lambda e: traceback.print_exception(e) or plain(e)  # whatever it is, it should not be
            code = console.main('supernet_study', [*args, '--out', str(out)])
        except BaseException:
            traceback.print_exc()
            code = 70
        os._exit(code)

    def wait(self, seconds):
        "Whether it has ended within so many seconds"
        end = time.monotonic()+seconds
        while self.code is None:
            pid,status = os.waitpid(self.pid, os.WNOHANG)
            if pid: self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic()>end: return False
            else: time.sleep(.01)
        return True

    def workers(self):
        "Its processes of a pool; or the processes of a cluster that compute a task"
        own = [p for p,c in processes().items() if 'spawn_main' in c and p in set(with_mark(self.mark))]
        return own or [p for p,c in processes().items() if c.startswith('ray::_reported')]

    def left(self):
        "Processes that outlive it"
        waited(lambda: not with_mark(self.mark) and not self.workers(), END)
        return sorted({*with_mark(self.mark), *self.workers()})

# The soak

class Soak:
    "Counts, and what they are counted of"
    def __init__(self, engine, kills, seed, folder):
        self.engine,self.kills,self.random,self.folder = engine,kills,random.Random(seed),folder
        self.hits,self.n,self.faults,self.holder = Counter(),Counter(),[],Holder() if engine=='ray' else None
        how = dict(serial=['--jobs', '1'], pool=['--jobs', '2'], ray=['--cluster', self.holder and self.holder.address])
        data = images(folder)
        self.tiny = ['--dataset', 'KMNIST', '--data-root', str(data), *'--widths 4,8 --depths 1,2 --device cpu'.split(),
            *'--supernet-epochs 2 --scratch-epochs 2 --seeds 0,1'.split()]
        self.args,self.log = [*self.tiny, *how[engine]],folder/'log'

    def fault(self, what):
        self.faults.append(what)
        print(f'FAULT: {what}\n{self.log.read_text()[-3000:] if self.log.exists() else ""}', flush=True)

    def undisturbed(self, args, name):
        "A study from start to end: what is in it, and its seconds"
        driver,start = Driver(args, self.folder/name, self.log),time.monotonic()
        if not driver.wait(MOST) or driver.code: sys.exit(f'undisturbed: {self.log.read_text()}')
        return everything(self.folder/name), time.monotonic()-start

    def strike(self, driver):
        "Send a signal to a victim, if there is one now: who, and which"
        kinds = dict(serial=['driver'], pool=['driver']*3+['worker']*2, ray=['driver']*5+['worker']*3+['raylet']*2)
        who = self.random.choice(kinds[self.engine])
        by = self.random.choices((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), (7, 2, 2 if who=='driver' else 0))[0]
        if who=='raylet':
            self.holder.settle()
            by = signal.SIGKILL
            if driver.wait(0): return None
            self.holder.ask('kill', 'replace')
            return who, by
        if who=='driver': pid = driver.pid
        else: pid = self.random.choice(driver.workers() or [0])
        if driver.wait(0) or not pid: return None
        try: (os.killpg if by==signal.SIGINT else os.kill)(pid, by)  # Ctrl-C reaches the whole group
        except ProcessLookupError: return None
        return who, by

    def study(self, out, seconds):
        "One study, to its end, through all signals"
        kept,resumes = {},-1
        while True:
            driver,quiet = Driver(self.args, out, self.log),time.monotonic()
            resumes += 1
            while not driver.wait(max(LEAST, self.random.random()**1.3*seconds)):
                if time.monotonic()-quiet>MOST:
                    self.fault(f'{out.name}: hangs')
                    os.kill(driver.pid, signal.SIGKILL)
                if sum(self.hits.values())>=self.kills: continue
                kept |= finished(out)
                if not (hit := self.strike(driver)): continue
                self.hits[f'{hit[0]} {hit[1].name[3:]}'] += 1
                quiet = time.monotonic()
                print(f'{self.engine} {sum(self.hits.values())}/{self.kills}: {hit[0]} {hit[1].name}, '
                      f'{len(kept)} runs finished before', flush=True)
                if hit[0]=='driver': break
            self.end(driver, out, hit if driver.code is None else None)
            if driver.code==0: break
        self.n['resumed'] += resumes
        return kept

    def end(self, driver, out, hit):
        "A driver has ended, or will, of a signal: as it should, and with all its processes"
        if not driver.wait(END):
            self.fault(f'{out.name}: still there {END} s after {hit}')
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait(END)
        expected = {None: {0, 1}, signal.SIGKILL: {0, -9}, signal.SIGTERM: {0, 143}, signal.SIGINT: {0, 130}}
        if driver.code not in expected[hit and hit[1]]: self.fault(f'{out.name}: exit code {driver.code} after {hit}')
        if 'Traceback' in self.log.read_text(): self.fault(f'{out.name}: a traceback')
        self.log.unlink(missing_ok=True)
        if left := driver.left():
            self.n['left'] += len(left)
            self.fault(f'{out.name}: left behind {[processes().get(p) for p in left]}')
            for p in left: os.kill(p, signal.SIGKILL)

    def compare(self, out, kept, reference):
        "What a finished study has, with what it had before signals, and with the undisturbed one"
        from supernet_nas.store import Results
        there,found = finished(out),everything(out)
        self.n['finished'] += len(there)
        lost = {k for k in kept if there.get(k)!=kept[k]}
        different = {k for k in {*found, *reference} if found.get(k)!=reference.get(k)}
        self.n['lost'] += len(lost)
        self.n['different'] += len(different)
        if lost or different: self.fault(f'{out.name}: lost {sorted(lost)}, different {sorted(different)}')
        results = Results(out)
        claims = {r: results.claim(r) for r in results.records}
        if results.refused or None in claims.values(): self.fault(f'{out.name}: {results.refused}, claims {claims}')
        for r,claim in claims.items(): results.release(r, claim)

    def run(self):
        "Studies, one after another, until there were enough kills"
        start = time.monotonic()
        reference,_ = self.undisturbed([*self.tiny, '--jobs', '1'], 'reference')
        own,seconds = self.undisturbed(self.args, 'undisturbed')
        if own!=reference: self.fault('an undisturbed study differs from the serial one')
        print(f'{self.engine}: {len(finished(self.folder/"reference"))} runs take {seconds:.1f} s', flush=True)
        while sum(self.hits.values())<self.kills:
            out = self.folder/f'study{self.n["studies"]}'
            self.compare(out, self.study(out, seconds), reference)
            self.n['studies'] += 1
        if self.holder: self.holder.stop()
        return time.monotonic()-start

def finished(out):
    "Finished runs as they are on disk, times and all"
    return {f.name: f.read_bytes() for f in sorted((out/'runs').glob('[0-9a-f]*.json'))} if out.exists() else {}

def everything(out):
    "All that does not depend on time and machine: records, weights, tables"
    tables = {}
    for f in (out/'report').rglob('*.csv'):
        rows = list(csv.DictReader(open(f)))
        tables[str(f.relative_to(out))] = str([{c: v for c,v in r.items() if c!='seconds'} for r in rows])
    return numbers(out)|tables

def record(path, row):
    "Write the engine's row, in the place of an earlier one"
    from supernet_nas.files import write_whole
    rows = list(csv.DictReader(open(path))) if path.exists() else []
    rows = [r for r in rows if r['engine']!=row['engine']]+[row]
    s = io.StringIO()
    w = csv.DictWriter(s, COLUMNS, lineterminator='\n')
    w.writeheader()
    w.writerows(rows)
    write_whole(path, s.getvalue())

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--engine', choices=['serial', 'pool', 'ray'], default='serial')
    p.add_argument('--kills', type=int, default=100, help='signals that hit a study')
    p.add_argument('--seed', type=int, default=0, help='of times, victims and signals')
    p.add_argument('--out', type=Path, default=ROOT/'results'/'soak.csv')
    p.add_argument('--hold-nodes', action='store_true', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.hold_nodes: return hold_nodes()
    import matplotlib.pyplot, torchvision.datasets  # what every driver would import
    from supernet_nas import commands, compare
    from supernet_nas.runs import provenance
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(a.engine, a.kills, a.seed, Path(folder))
        seconds = soak.run()
    hits = '; '.join(f'{k} {n}' for k,n in sorted(soak.hits.items()))
    row = dict(engine=a.engine, kills=sum(soak.hits.values()), hits=hits, faults=len(soak.faults),
        seconds=round(seconds), commit=provenance()['commit'],
        when=datetime.now(timezone.utc).isoformat(timespec='seconds'))
    row |= {k: soak.n[k] for k in COLUMNS if k not in row}
    print(row)
    record(a.out, row)
    return 1 if soak.faults else 0

if __name__=='__main__': sys.exit(main())
