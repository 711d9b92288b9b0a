"""Kill a small study at random moments, go on with it, and compare what is there at the end with an undisturbed study:

    python3 dev.py python tools/soak.py --engine serial|pool|ray --kills 100 --out results/soak.csv"""
import argparse, os, random, signal, sys, tempfile, time
from collections import Counter
from pathlib import Path
import pandas as pd
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT/'tools'), str(ROOT/'tests')]
from test_engines import Nodes, loopback_settings
from trial import Started, command, records, tiny, write_root
from supernet_nas.files import write_whole
from supernet_nas.runs import provenance

SIGNALS = [signal.SIGKILL]*3+[signal.SIGTERM, signal.SIGINT]  # to a driver; all else is killed outright
EARLY = {-signal.SIGTERM, -signal.SIGINT}  # before the first line of ours: as Python itself ends
ENDS = {0, -signal.SIGKILL, 128+signal.SIGTERM, 128+signal.SIGINT}|EARLY  # exit codes that a driver may have

class Local:
    "The engines of one machine"
    def __init__(self, jobs): self.options,self.jobs = ['--jobs', jobs],jobs

    def kill_other(self, driver):
        "Kill a process of the pool; what it was, or None if there is none"
        workers = [p for p in below(driver) if 'spawn_main' in ' '.join(p.cmdline())] if self.jobs>1 else []
        return kill(workers, 'worker')

    def stop(self): pass

class OnRay:
    "Two machines of one core each, on loopback"
    def __init__(self):
        os.environ.update(loopback_settings)
        self.nodes = Nodes()
        self.options = ['--cluster', self.nodes.address]

    def kill_other(self, driver):
        "Kill the second machine, which comes back, or a process with a task"
        if random.random()<.5:
            self.nodes.kill()
            self.nodes.replace()
            return 'machine'
        workers = [p for p in psutil.process_iter(['name']) if (p.info['name'] or '').startswith('ray::_reported')]
        return kill(workers, 'worker')

    def stop(self): self.nodes.cluster.shutdown()

def below(driver):
    try: return psutil.Process(driver.process.pid).children(recursive=True)
    except psutil.NoSuchProcess: return []

def kill(processes, what):
    if not processes: return
    try: random.choice(processes).kill()
    except psutil.NoSuchProcess: return
    return what

def strike(driver, engine, count):
    "One random signal to one random victim"
    if random.random()<.4 and (hit := engine.kill_other(driver)):
        count[hit] += 1
        return
    if not driver.process.is_alive(): return
    number = random.choice(SIGNALS)
    mine = below(driver)
    driver.send(number)
    count[f'driver {number.name}'] += 1
    driver.process.join(60)
    _,alive = psutil.wait_procs(mine, timeout=60)  # one that is just importing torch hears of it late
    count['left'] += len(alive)

def ended(driver, count):
    "Count an end that is neither a signal's, nor good, nor that of a run whose worker was killed twice"
    if driver.process.exitcode in ENDS: return
    twice = driver.process.exitcode==2 and 'its process died 2 times' in driver.text
    count['given up' if twice else 'odd exit code'] += 1
    if not twice: print(f'exit code {driver.process.exitcode}:', driver.text[-600:])

def finished(out): return set(records(out)) if (out/'runs').is_dir() else set()

def study(folder, options, seconds, engine, kills, count):
    "One study, gone on with until it is finished; no more than so many kills in all"
    out,said = folder/'out',folder/'said'
    while True:
        driver = Started(said, 'supernet_study', *options, '--out', out)
        while driver.process.is_alive() and hits(count)<kills:
            driver.process.join(random.uniform(0, seconds))
            if not driver.process.is_alive(): break
            before,hit = finished(out),hits(count)
            strike(driver, engine, count)
            count['lost'] += len(before-finished(out))
            count['resumed'] += hits(count)>hit and not driver.process.is_alive()
        driver.process.join(600)
        if driver.process.exitcode==0: return out
        if driver.process.is_alive():
            count['hung'] += 1
            driver.process.kill()
            driver.process.join()
        else: ended(driver, count)

def hits(count): return sum(n for k,n in count.items() if k.startswith('driver ') or k in ('worker', 'machine'))

def weights(out): return {f.name: f.read_bytes() for f in (out/'weights').iterdir()}
def tables(out): return {f.name: f.read_bytes() for f in (out/'report').rglob('*.csv') if f.stem not in ('cost',)}

def soak(name, kills, folder):
    "Counts of `kills` kills of one engine"
    engine = OnRay() if name=='ray' else Local(dict(serial=1, pool=2)[name])
    root = write_root(folder/'root')
    common = [*tiny(root, '--depths', '3,2'), '--supernet-epochs', 2, '--scratch-epochs', 1]
    whole = command('supernet_study', *common, '--jobs', 1, '--out', folder/'whole')
    assert whole.code==0, whole
    expected = [f(folder/'whole') for f in (records, weights, tables)]
    common += engine.options
    for n in (1, 2):  # the second is as fast as those that follow
        start = time.perf_counter()
        warm = Started(folder/'warm.txt', 'supernet_study', *common, '--out', folder/f'warm {n}')
        assert warm.end()==0, warm.text
    seconds,count,start = time.perf_counter()-start,Counter(),time.perf_counter()
    while hits(count)<kills:
        one = folder/f'study {count["finished"]}'
        one.mkdir()
        out = study(one, common, seconds*.8, engine, kills, count)
        count['finished'] += 1
        found = records(out)
        count['different'] += sum(found.get(k)!=v for k,v in expected[0].items())+(set(found)!=set(expected[0]))
        count['different'] += (weights(out)!=expected[1])+(tables(out)!=expected[2])
        count['left'] += len([f for f in out.rglob('.*') if f.name.endswith(('.tmp', '.claim'))])
        print(f'{name}: {hits(count)} kills', {k: n for k,n in count.items() if n}, flush=True)
    engine.stop()
    victims = ', '.join(f'{k} {n}' for k,n in sorted(count.items())
                        if k.startswith('driver ') or k in ('worker', 'machine'))
    about = provenance()
    return dict(engine=name, kills=hits(count), victims=victims, studies=count['finished'], resumed=count['resumed'],
                given_up=count['given up'], hung=count['hung'], lost=count['lost'], different=count['different'],
                left=count['left'],
                odd_exit_codes=count['odd exit code'], seconds=round(time.perf_counter()-start),
                commit=about['commit'], cpu=about['cpu'])

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--engine', choices=('serial', 'pool', 'ray'), required=True)
    p.add_argument('--kills', type=int, default=100)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--out', default='out/soak.csv', help='a row for each engine; that of this one is replaced')
    a = p.parse_args()
    random.seed(a.seed)
    with tempfile.TemporaryDirectory() as folder: row = soak(a.engine, a.kills, Path(folder))
    old = pd.read_csv(a.out) if Path(a.out).exists() else pd.DataFrame(columns=['engine'])
    table = pd.concat([old[old.engine!=a.engine], pd.DataFrame([row])])
    write_whole(a.out, table.to_csv(index=False, lineterminator='\n'))
    print(table.T.to_string(header=False))

if __name__=='__main__': main()
