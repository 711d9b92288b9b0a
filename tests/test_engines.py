"Serial, pool and Ray: the same numbers; what is killed costs only itself; ends leave nothing behind."
import gzip, hashlib, json, os, shutil, signal, socket, subprocess, sys, tempfile, threading, time
from pathlib import Path
import pytest
from supernet_nas.console import call
from supernet_nas.engine import Cluster, Died, NoCluster, Pool, Serial

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT/'supernet_nas'

# What the engines compute here

class Odd(Exception): pass

def halve(task, tick):
    tick(1)
    if task%2: raise Odd(f'{task} is odd')
    return task//2

def pid(task, tick): return os.getpid()
def raises(task, tick): raise task
def lambda_of(task, tick): return lambda: task

def trace(task, tick):
    "Leave a mark with this process's number, then take a while: (file, seconds)"
    file,seconds = task
    with open(file, 'a') as f: f.write(f'{os.getpid()}\n')
    time.sleep(seconds)
    return file

def taker(tasks):
    left = list(tasks)
    return lambda: left.pop(0) if left else None

def waited(true, seconds=20):
    end = time.time()+seconds
    while time.time()<end and not true(): time.sleep(.05)
    return true()

def marks(file): return [int(l) for l in Path(file).read_text().splitlines()] if Path(file).exists() else []

def alive(pid):
    try: return 'zombie' not in Path(f'/proc/{pid}/status').read_text()
    except OSError: return False

def children():
    "Python processes that this one has started: workers of pools"
    own = Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split()
    return {int(p) for p in own if b'spawn_main' in Path(f'/proc/{p}/cmdline').read_bytes()}

# A Ray cluster of two nodes with one CPU each, on loopback

loopback_settings = {f'RAY_{k}': '0' for k in 'ENABLE_WINDOWS_OR_OSX_CLUSTER USAGE_STATS_ENABLED '
    'ACCEL_ENV_VAR_OVERRIDE_ON_ZERO'.split()}

class Nodes:
    "Nodes that know nothing of this copy of the package"
    def __init__(self):
        from ray.cluster_utils import Cluster as RayCluster
        about = dict(num_cpus=1, object_store_memory=100<<20)
        soon = dict(health_check_initial_delay_ms=0, health_check_period_ms=500, health_check_failure_threshold=3)
        local = dict(node_ip_address='127.0.0.1', include_dashboard=False, _system_config=soon)
        self.cluster = RayCluster(True, head_node_args=about|local)
        self.about = about|dict(temp_dir=tempfile.mkdtemp(dir='/tmp'))  # as on another machine
        self.address,self.second = self.cluster.address,self.cluster.add_node(**self.about)

    def kill(self):
        "kill -9 of the second node's raylet"
        raylet = self.second.all_processes['raylet'][0].process
        raylet.kill()
        raylet.wait()

    def replace(self):
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = self.cluster.add_node(**self.about)

@pytest.fixture(scope='module')
def nodes():
    pytest.importorskip('ray', reason="Ray is not installed: pip install '.[ray]'")
    with pytest.MonkeyPatch.context() as m:
        m.delenv('PYTHONPATH', raising=False)
        m.chdir('/')
        found = Nodes()
    yield found
    found.cluster.shutdown()

@pytest.fixture(scope='module', autouse=True)
def loopback():
    "Before Ray is imported; and functions of this file, which nodes cannot import, travel by value"
    os.environ.update(loopback_settings)
    try: from ray.cloudpickle import register_pickle_by_value
    except ImportError: return
    register_pickle_by_value(sys.modules[__name__])

@pytest.fixture(scope='class', params=['serial', 'pool', 'ray'])
def engine(request):
    "Each engine, entered"
    if request.param=='ray': found = Cluster(request.getfixturevalue('nodes').address, PACKAGE)
    else: found = Serial() if request.param=='serial' else Pool(2)
    with found: yield found

class TestAll:
    def test_outcomes(self, engine):
        "Errors arrive as they were raised and cost no other task; progress adds up"
        done = []
        found = {o.task: o.error or o.value for o in engine.run(halve, taker(range(6)), done.append)}
        assert [found[i] for i in (0, 2, 4)]==[0, 1, 2]
        assert [str(found[i]) for i in (1, 3, 5)]==['1 is odd', '3 is odd', '5 is odd']
        assert {type(found[i]).__name__ for i in (1, 3, 5)}=={'Odd'}
        if not isinstance(engine, Cluster): assert sum(done)==6  # there, reports come every two seconds

    def test_each(self, engine):
        assert len(engine.each(os.getpid))==engine.slots==(1 if type(engine) is Serial else 2)
        assert len(engine.each(os.getpid, 1))==1
        with pytest.raises(ZeroDivisionError): engine.each(zero)

    def test_never_more_in_flight_than_twice_the_slots(self, engine):
        left,flying,most = list(range(0, 24, 2)),0,0
        def take():
            nonlocal flying,most
            if not left: return None
            flying += 1
            most = max(most, flying)
            return left.pop()
        for o in engine.run(halve, take): flying -= 1
        assert (most, flying)==(engine.slots*(1+isinstance(engine, Cluster)), 0)

    def test_expected_errors_are_named_and_others_go_on(self, engine, tmp_path, capsys):
        from supernet_nas.data import BadInput
        from supernet_nas.store import Results
        from supernet_nas.study import Task, Unfinished, compute
        errors = [BadInput('none such'), FloatingPointError('loss is nan'), MemoryError('none'), OSError(28, 'full')]
        tasks = [Task(f'{i:012}', e, f'task {i}') for i,e in enumerate([*errors, None, None])]
        saved = []
        with pytest.raises(Unfinished, match='4 of 6 failed'):
            compute(tasks, Results(tmp_path), engine, raises_what, lambda task, value: saved.append(task) or value)
        out = capsys.readouterr().out
        for i,e in enumerate(errors): assert f'task {i}: failed: {e}' in out
        assert len(saved)==2 and not list((tmp_path/'runs').iterdir())

def zero(): return 1/0

def raises_what(task, tick):
    if task.what: raise task.what
    return 'fine'

# The same numbers

def images(folder):
    "Tiny files for KMNIST, whose checksums are not known: prototypes and noise"
    import numpy as np
    rng = np.random.default_rng(0)
    prototypes = rng.integers(0, 128, (10, 28, 28))
    for part,n in (('train', 600), ('t10k', 200)):
        y = rng.integers(0, 10, n)
        x = prototypes[y]+rng.integers(0, 128, (n, 28, 28))
        for kind,a in (('images-idx3', x), ('labels-idx1', y)):
            head = bytes([0, 0, 8, a.ndim])+b''.join(d.to_bytes(4, 'big') for d in a.shape)
            (folder/f'{part}-{kind}-ubyte.gz').write_bytes(gzip.compress(head+a.astype('uint8').tobytes(), 1))
    return folder

def numbers(folder):
    "Everything but time and machine: records by file, digests of weights"
    found = {f.name: json.loads(f.read_text()) for f in (folder/'runs').iterdir()}
    for r in found.values(): del r['made'], r['sha256']
    return {k: json.dumps(r) for k,r in found.items()} | {
        f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (folder/'weights').iterdir()}

@pytest.fixture(scope='module')
def study(tmp_path_factory):
    "Run a study of three runs and two from scratch, without its report, and give its numbers"
    data = images(tmp_path_factory.mktemp('data'))
    def compute(out, **kw):
        from supernet_nas import commands, report
        with pytest.MonkeyPatch.context() as m:
            m.setattr(report, 'report', lambda results, runs: None)
            commands.supernet_study(1, 1, '0', str(out), widths='4,8', depths='1,2', dataset='KMNIST',
                data_root=str(data), device='cpu', endings='shared', **kw)
        return numbers(out)
    return compute

@pytest.fixture(scope='module')
def serial(study, tmp_path_factory): return study(tmp_path_factory.mktemp('serial'), jobs=1)

def test_pool_gives_the_same(study, serial, tmp_path):
    assert len(serial)==4, 'a supernet, two networks, weights'
    assert study(tmp_path, jobs=2)==serial

def test_ray_gives_the_same(study, serial, tmp_path, nodes, capfd):
    "The data are not where the nodes could find them, so they were sent; Ray writes nothing to the terminal"
    assert study(tmp_path, cluster=nodes.address)==serial
    out,err = capfd.readouterr()
    assert err=='' and len(out.splitlines())==7, out+err
    made = [json.loads(f.read_text())['made'] for f in (tmp_path/'runs').iterdir()]
    from supernet_nas.runs import provenance
    assert {m['commit'] for m in made}=={provenance()['commit']}

# A pool

def test_pool_starts_only_what_it_needs():
    before = children()
    with Pool(4) as pool:
        assert children()==before
        assert [o.value for o in pool.run(halve, taker([4]))]==[2]
        assert len(children()-before)==1
    assert children()==before

@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_pool_worker_killed(number, tmp_path):
    "Its task is named and tried once more; the other goes on; killed again, it has died"
    said,tasks = [],[(tmp_path/'a', 3), (tmp_path/'b', .1)]
    def kill():
        for n in (1, 2):
            assert waited(lambda: len(marks(tmp_path/'a'))==n)
            os.kill(marks(tmp_path/'a')[-1], number)
    killer = threading.Thread(target=kill)
    killer.start()
    with Pool(2) as pool: found = {o.task: o for o in pool.run(trace, taker(tasks), say=said.append)}
    killer.join()
    assert isinstance(found[tasks[0]].error, Died) and found[tasks[1]].value==tmp_path/'b'
    assert len(said)==1 and str(tasks[0]) in said[0] and 'tried once more' in said[0]
    assert len(marks(tmp_path/'a'))==2 and len(marks(tmp_path/'b'))==1

def test_pool_worker_dies_while_idle():
    with Pool(1) as pool:
        first = next(pool.run(pid, taker([1]))).value
        os.kill(first, signal.SIGKILL)
        assert waited(lambda: not alive(first))
        time.sleep(.2)
        second, = pool.run(pid, taker([1]))
    assert second.value not in (None, first)

def test_pool_mistakes():
    "What cannot be sent back is an error of its task; a KeyboardInterrupt in a task too: neither hangs"
    with Pool(1) as pool:
        found, = pool.run(lambda_of, taker([1]))
        assert 'pickle' in str(found.error)
        found, = pool.run(raises, taker([KeyboardInterrupt()]))
        assert isinstance(found.error, KeyboardInterrupt)
        assert [o.value for o in pool.run(halve, taker([2]))]==[1]

def test_pool_nobody_wants_the_rest(tmp_path):
    "When the consumer stops, so do the tasks; the pool can be used again"
    with Pool(2) as pool:
        for o in pool.run(trace, taker([(tmp_path/'a', 0), (tmp_path/'b', 60)])):
            assert waited(lambda: marks(tmp_path/'b'))
            break
        del o
        assert waited(lambda: not alive(marks(tmp_path/'b')[0]))
        assert sorted(o.value for o in pool.run(halve, taker([2, 4, 6])))==[1, 2, 3]

# A cluster

def test_options_of_a_task():
    assert Cluster('auto', PACKAGE).needs==dict(num_cpus=1)
    assert Cluster('auto', PACKAGE, .25).needs==dict(num_gpus=.25, num_cpus=0)

class Forgetful(Cluster):
    "Asks at first for what no machine has: for Ray the task waits, as one does that it has lost"
    asked = 0
    @property
    def needs(self):
        self.asked += 1
        return dict(num_cpus=99 if self.asked<=2 else 1)

def test_lost_tasks_are_sent_again(nodes, monkeypatch):
    from supernet_nas import engine
    monkeypatch.setattr(engine, 'PATIENCE', 3)
    said = []
    with Forgetful(nodes.address, PACKAGE) as cluster:
        found = [o.value for o in cluster.run(halve, taker([2, 4]), say=said.append)]
    assert sorted(found)==[1, 2] and said==['nothing computes on the cluster; 2 tasks are sent again']

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@pytest.mark.parametrize('address', 'auto HERE:PORT nowhere.invalid:6379 127.0.0.1 x:1:2 ray://127.0.0.1:PORT'.split())
def test_no_cluster(address, tmp_path, monkeypatch, capfd):
    "One line, exit code 2, at once"
    monkeypatch.setattr('supernet_nas.engine.CURRENT', tmp_path/'none')
    monkeypatch.delenv('RAY_ADDRESS', raising=False)
    address,start = address.replace('HERE', '127.0.0.1').replace('PORT', str(free_port())),time.time()
    def enter():
        with Cluster(address, PACKAGE): pass
    assert call('supernet_study', enter)==2
    err = capfd.readouterr().err
    assert time.time()-start<10 and len(err.splitlines())==1 and f'no Ray cluster at {address}' in err

def test_no_gpu(nodes):
    with pytest.raises(NoCluster, match='has no GPU'): Cluster(nodes.address, PACKAGE, .5).__enter__()

def test_sigterm_stays(nodes):
    "Ray's C code sets the default when it is left; but the report that follows is to end in words too"
    def caught():
        status = Path('/proc/self/status').read_text()
        return int(status.split('SigCgt:')[1].split()[0], 16)>>(signal.SIGTERM-1)&1
    def mine(*a): pass
    before = signal.signal(signal.SIGTERM, mine)
    try:
        with Cluster(nodes.address, PACKAGE): assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGTERM) is mine and caught()
    finally: signal.signal(signal.SIGTERM, before)

def where(task, tick):
    import supernet_nas
    folder = Path(supernet_nas.__file__).parent
    return str(folder), (folder/'marker.txt').read_text(), sorted(f.name for f in (folder/'mnist').iterdir())

def test_package_travels(nodes, tmp_path):
    "The nodes' own Python has another copy, or none; what is sent is the given folder as it is"
    copy = shutil.copytree(PACKAGE, tmp_path/'supernet_nas', ignore=shutil.ignore_patterns('__pycache__'))
    (copy/'marker.txt').write_text('latest')
    with Cluster(nodes.address, copy) as cluster: (found,) = cluster.run(where, taker([1]))
    assert found.error is None, found.error
    folder,marker,embedded = found.value
    assert marker=='latest' and not Path(folder).is_relative_to(tmp_path) and folder!=str(PACKAGE)
    assert embedded==sorted(f.name for f in (PACKAGE/'mnist').iterdir())

# Ends of the driver

DRIVER = '''
import signal, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from supernet_nas.console import _terminate, call
from supernet_nas.engine import Cluster, Pool
from test_engines import taker, trace
if __name__=='__main__':
    signal.signal(signal.SIGTERM, _terminate)
    engine = Cluster({address!r}, Path({package!r})) if {address!r} else Pool(2)
    if {address!r}:
        import ray.cloudpickle, test_engines
        ray.cloudpickle.register_pickle_by_value(test_engines)
    def work():
        with engine: list(engine.run(trace, taker([({folder!r}+'/a', 600), ({folder!r}+'/b', 600)])))
    sys.exit(call('study', work))
'''

@pytest.mark.parametrize('number,code,line', [(signal.SIGINT, 130, 'stopped'), (signal.SIGTERM, 143, 'terminated'),
    (signal.SIGKILL, -9, None)])
@pytest.mark.parametrize('kind', ['pool', 'ray'])
def test_driver_ends(kind, number, code, line, tmp_path, request):
    "Whatever ends the driver, its tasks end too; one line, and the exit code says which signal it was"
    address = request.getfixturevalue('nodes').address if kind=='ray' else ''
    script = tmp_path/'driver.py'
    where = dict(tests=str(ROOT/'tests'), package=str(PACKAGE), address=address, folder=str(tmp_path))
    script.write_text(DRIVER.format(**where))
    env = os.environ|dict(PYTHONPATH=str(ROOT))
    p = subprocess.Popen([sys.executable, script], stdout=-1, stderr=-1, text=True, env=env, start_new_session=True)
    assert waited(lambda: marks(tmp_path/'a') and marks(tmp_path/'b'), 60), p.communicate(timeout=5)
    workers = marks(tmp_path/'a')+marks(tmp_path/'b')
    (os.killpg if number==signal.SIGINT else os.kill)(p.pid, number)  # Ctrl-C reaches all of a terminal's processes
    out,err = p.communicate(timeout=30)
    assert p.returncode==code
    if line: assert (out, err)==('', f'study: {line}; finished runs are kept\n')
    assert waited(lambda: not any(map(alive, workers)))

# Last: one node is gone

def test_node_killed(nodes, tmp_path, capfd):
    "Tasks of the lost node are tried again on the other; nothing of it on the terminal"
    tasks = [(str(tmp_path/f'{i}'), 5) for i in range(4)]
    def kill():
        assert waited(lambda: len({pid for f,_ in tasks for pid in marks(f)})>=2)  # both nodes compute
        nodes.kill()
    killer = threading.Thread(target=kill)
    with Cluster(nodes.address, PACKAGE) as cluster:
        killer.start()
        outcomes = list(cluster.run(trace, taker(tasks)))
    killer.join()
    assert sorted(o.value for o in outcomes)==sorted(f for f,_ in tasks), outcomes
    assert sum(len(marks(f)) for f,_ in tasks)>len(tasks), 'none was tried again: the kill hit nothing'
    assert capfd.readouterr()==('', '')
