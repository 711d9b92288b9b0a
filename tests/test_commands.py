"The console scripts as a user meets them: help, bad input, interruption, damaged files."
import gzip, os, signal, subprocess, sys, time
from pathlib import Path
import pandas as pd
import pytest

BIN = Path(sys.executable).parent
TINY = '--n-train 600 --widths 4,8 --depths 2,2 --device cpu --threads 1'.split()
STUDY = [*TINY, '--supernet-epochs', '3', '--scratch-epochs', '2']

def cli(command, *args, **kw):
    return subprocess.run([BIN/command, *map(str, args)], capture_output=True, text=True, timeout=120, **kw)

def refused(p, *parts):
    assert p.returncode==2, p
    assert len(p.stderr.strip().splitlines())==1, p.stderr
    for part in parts: assert part in p.stderr

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    "A small trained supernet"
    f = tmp_path_factory.mktemp('w')/'net.safetensors'
    p = cli('supernet_train', f, '--epochs', 12, *'--n-train 2000 --widths 8,16 --depths 2,2 --device cpu'.split())
    assert p.returncode==0, p.stderr
    return f, p.stdout

@pytest.mark.parametrize('command', 'study train eval report calibrate probe bench'.split())
def test_help(command):
    p = cli(f'supernet_{command}', '--help')
    assert p.returncode==0 and f'usage: supernet_{command}' in p.stdout

@pytest.mark.parametrize('arch', ['0,1', '4,1', '2', '2->3', '1,x'])
def test_bad_architecture(arch, tmp_path):
    f = tmp_path/'net.safetensors'
    refused(cli('supernet_train', f, '--arch', arch), arch, 'give 2 depths, 1..3 and 1..3')
    assert not list(tmp_path.iterdir())

@pytest.mark.parametrize('option,value,allowed', [
    ('--dataset', 'mnist', 'choose one of MNIST'), ('--sampler', 'best', 'choose one of uniform'),
    ('--seeds', '1,-2', 'at least 0'), ('--supernet-epochs', '0', 'at least 1'), ('--supernet-epochs', 'x', 'invalid int'),
    ('--widths', '16', 'one of each per stage'), ('--n-train', '60000', 'choose 1..55000'), ('--device', 'tpu', 'choose auto'),
    ('--precision', 'int8', 'choose auto, bf16 or fp32'), ('--loss', 'kd', 'choose in_place or teacher'), ('--gradient', 'x', 'choose pcgrad'),
    ('--bn', 'shared', 'choose affine'), ('--head', 'x', 'choose node'), ('--state', 'x', 'choose separate'), ('--threads', '0', 'at least 1'), ('--data-root', '/nowhere', 'no such folder')])
def test_bad_option(option, value, allowed, tmp_path):
    out = tmp_path/'out'
    refused(cli('supernet_study', '--out', out, option, value), value, allowed)
    assert not out.exists()

def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path/'file').write_text('')
    for command,args in (('supernet_study', [*STUDY, '--out', tmp_path/'file'/'out']), ('supernet_bench', ['--out', tmp_path/'file'/'out']),
                         ('supernet_train', [tmp_path/'file'/'out'/'net.safetensors', *TINY[:-2]])):
        refused(cli(command, *args), 'cannot write', str(tmp_path/'file'/'out'))

def test_results_of_another_schema(tmp_path):
    (tmp_path/'runs.csv').write_text('run,accuracy\n')
    refused(cli('supernet_study', *STUDY, '--out', tmp_path), 'runs.csv', 'another schema', 'run,accuracy')
    refused(cli('supernet_report', '--out', tmp_path/'none'), 'holds no results')

def test_damaged_data(tmp_path):
    from supernet_nas.data import EMBEDDED, IDX_FILES, SHA256
    for f in IDX_FILES: (tmp_path/f'{f}.gz').write_bytes((EMBEDDED/f'{f}.gz').read_bytes())
    victim = tmp_path/'t10k-labels-idx1-ubyte.gz'
    good = victim.read_bytes()
    raw = bytearray(gzip.decompress(good)); raw[100] ^= 1
    for bad in (good[:-100], gzip.compress(bytes(raw))):
        victim.write_bytes(bad)
        refused(cli('supernet_study', *STUDY, '--data-root', tmp_path, '--out', tmp_path/'out'), victim.name, SHA256['MNIST'][victim.stem], 'found')
    assert not (tmp_path/'out').exists()

def test_eval_finds_the_same_numbers(weights):
    file, trained = weights
    p = cli('supernet_eval', file, '--device', 'cpu')
    assert p.returncode==0, p.stderr
    lines = [l for l in p.stdout.splitlines() if '/' in l]
    assert min(float(l.split('=')[1].split()[0]) for l in lines)>20, 'a net that guesses would pass below'
    assert len(lines)==8 and set(lines)<=set(trained.splitlines())
    assert p.stdout.count('same as saved')==2

def test_damaged_weights(weights, tmp_path):
    good, f = weights[0].read_bytes(), tmp_path/'net.safetensors'
    for bad,why in ((good[:-50], 'unreadable'), (b'', 'unreadable'), (good[:-4]+b'abcd', 'SHA-256 expected')):
        f.write_bytes(bad)
        refused(cli('supernet_eval', f), f.name, why)
    refused(cli('supernet_eval', tmp_path/'none.safetensors'), 'none.safetensors')
    refused(cli('supernet_eval', weights[0], '--arch', '3,1'), '3,1', '1..2')
    refused(cli('supernet_eval', weights[0], '--dataset', 'CIFAR10', '--data-root', tmp_path), 'CIFAR10')

def tables(folder):
    "What must not depend on interruptions"
    from supernet_nas.runs import Results, _keys
    r = Results(folder, readonly=True)
    return {t: r.read(t).sort_values(k, ignore_index=True).drop(columns=['seconds', 'when'], errors='ignore') for t,k in _keys.items()}

def test_kill_and_resume(tmp_path):
    "kill -9 twice, at moments nobody chose; the finished study equals one that was never interrupted"
    args = [str(BIN/'supernet_study'), *STUDY, '--out', str(tmp_path/'killed')]
    for enough in (1, 3):
        p = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        runs,end = tmp_path/'killed'/'runs.csv',time.time()+90
        while time.time()<end and not (runs.exists() and runs.read_text().count('\n')>enough): time.sleep(0.02)
        time.sleep(0.1*enough)  # somewhere within the next run
        p.send_signal(signal.SIGKILL); p.wait()
        assert runs.read_text().count('\n')-1<5, 'the study ended before it was killed'
    kept = runs.read_bytes()
    for out in ('killed', 'whole'):
        p = cli('supernet_study', *STUDY, '--out', tmp_path/out)
        assert p.returncode==0, p.stderr
    assert runs.read_bytes().startswith(kept)
    killed, whole = tables(tmp_path/'killed'), tables(tmp_path/'whole')
    for t in whole: pd.testing.assert_frame_equal(killed[t], whole[t])
    assert len(whole['runs'])==5
    again = cli('supernet_study', *STUDY, '--out', tmp_path/'whole')
    assert '5 runs, 5 already' in again.stdout

def test_report_from_the_tables_alone(tmp_path):
    p = cli('supernet_study', *STUDY, '--out', tmp_path)
    assert p.returncode==0, p.stderr
    first = {f: f.read_bytes() for f in (tmp_path/'report').rglob('*.*')}
    assert len(first)==9
    for f in first: f.unlink()
    p = cli('supernet_report', '--out', tmp_path)
    assert p.returncode==0, p.stderr
    assert {f: f.read_bytes() for f in first}==first

def test_calibrate_once(tmp_path):
    "More kinds of statistics for the saved supernets, appended once"
    assert cli('supernet_study', *STUDY, '--out', tmp_path).returncode==0
    p = cli('supernet_calibrate', '--out', tmp_path, '--device', 'cpu', '--threads', 1)
    assert p.returncode==0 and '3 kinds of statistics' in p.stdout, p.stderr
    scores = (tmp_path/'scores.csv').read_text()
    assert scores.count('recalibrated-128')==scores.count('recalibrated-500')==scores.count(',batch,')==4*2
    assert cli('supernet_calibrate', '--out', tmp_path, '--device', 'cpu').stdout.endswith(': 1, already scored: 1\n')
    assert (tmp_path/'scores.csv').read_text()==scores

def test_fixes_from_the_command_line(tmp_path):
    "Each fix is another run of the same supernet, and is reported"
    for fix in ((), ('--sampler', 'nested', '--bn', 'affine', '--head', 'node'), ('--loss', 'in_place', '--sampler', 'fair'), ('--loss', 'teacher'), ('--gradient', 'pcgrad', '--sampler', 'nested', '--state', 'separate')):
        p = cli('supernet_study', *STUDY, *fix, '--out', tmp_path)
        assert p.returncode==0 and '4 already' in p.stdout or not fix, p
    runs = tables(tmp_path)['runs']
    assert (runs.arm=='supernet').sum()==5 and runs.train_loss[runs.arm=='supernet'].nunique()==5
    assert len(list((tmp_path/'report').iterdir()))==5

def test_probe_needs_its_runs(tmp_path):
    assert cli('supernet_study', *STUDY, '--out', tmp_path).returncode==0
    refused(cli('supernet_probe', '--seeds', '0,7', '--out', tmp_path), 'seeds 0, 7', 'run supernet_study first')

def test_import_is_light():
    "Nobody who builds a network waits for plotting, tables or torchvision"
    code = 'import sys, supernet_nas.supernet; print([m for m in ("torchvision", "pandas", "matplotlib", "scipy") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip()=='[]'
