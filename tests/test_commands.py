"The console scripts as a user meets them, in this process where enough: help, results; faults are in test_faults."
import configparser, re, signal, subprocess, sys
from pathlib import Path
from unittest.mock import patch
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
sys.path.insert(0, str(ROOT/'tools'))
from trial import (Started, command, records, refused, study_options, succeeds, tiny, tiny_arrays, write_images,
                   write_root)
from supernet_nas.files import load_net, save_net
from supernet_nas.runs import config_from
from supernet_nas.store import Results
from supernet_nas.train import evaluate_all

COMMANDS = [f'supernet_{c}' for c in 'study train eval report calibrate probe bench choose export predict'.split()]

@pytest.fixture(scope='module')
def root(tmp_path_factory): return write_root(tmp_path_factory.mktemp('data')/'root')

@pytest.fixture(scope='module')
def study(root, tmp_path_factory):
    "The options of a finished study, its folder, and what it said"
    out = tmp_path_factory.mktemp('study')/'out'
    options = study_options(root, out)
    return options, out, succeeds('supernet_study', *options)

@pytest.mark.parametrize('name', COMMANDS)
def test_help(name, capsys):
    "Every option is explained"
    e = command(name, '--help')
    assert e.code==0 and f'usage: {name}' in e.out
    said = e.out.split('options:')[1]
    assert all(len(line.split())>1 for line in said.splitlines() if line.strip().startswith('--'))

def test_entry_points():
    "Each command is a script of the package, and starts"
    cp = configparser.ConfigParser(delimiters=['='])
    cp.read(ROOT/'settings.ini')
    scripts = dict(s.split('=') for s in cp['DEFAULT']['console_scripts'].split())
    assert scripts==dict.fromkeys(COMMANDS, 'supernet_nas.console:main')
    p = subprocess.run([BIN/'supernet_report', '--out', '/nowhere/x'], capture_output=True, text=True)
    assert (p.returncode, p.stdout, len(p.stderr.splitlines()))==(2, '', 1) and 'holds no results' in p.stderr

def test_eval_finds_the_same_numbers(root, tmp_path):
    f = tmp_path/'net.safetensors'
    trained = succeeds('supernet_train', f, *tiny(root, '--epochs', 40, '--widths', '4,8'))
    found = succeeds('supernet_eval', f, '--data-root', root, '--device', 'cpu', '--precision', 'fp32', '--threads', 1)
    lines = [l for l in found.splitlines() if '/' in l]
    assert len(lines)==4 and set(lines)<=set(trained.splitlines())
    assert found.count('same as saved')==2
    assert max(float(l.split('=')[1].split()[0]) for l in lines)>20, 'a network that guesses would pass'
    with patch('supernet_nas.commands.evaluate_all', wraps=evaluate_all) as scored:
        one = succeeds('supernet_eval', f, '--data-root', root, '--device', 'cpu', '--precision', 'fp32',
                       '--threads', 1, '--arch', '2,1')
    assert [l for l in one.splitlines() if '/' in l]==[l for l in lines if '2,1' in l] and one.count('same as saved')==2
    assert [c.args[3] for c in scored.call_args_list]==[[(2,1)]]*2, 'no other network is scored'
    refused('supernet_eval', f, '--arch', '3,1', says=('3,1', '1..2'))

def test_eval_reads_images_as_they_were_trained_on(root, tmp_path):
    "Other training images of that name have another mean; the network's own counts, so equal test images score equally"
    x,y,xt,yt = tiny_arrays()
    other,f = write_root(tmp_path/'other', [x//2, y, xt, yt]),tmp_path/'net.safetensors'
    succeeds('supernet_train', f, *tiny(root, '--epochs', 40, '--widths', '4,8'))
    on = ['--device', 'cpu', '--precision', 'fp32', '--threads', 1]
    def tested(where):
        said = succeeds('supernet_eval', f, '--data-root', where, *on)
        return [l.split(' (')[0] for l in said.splitlines() if '/' in l and 'test' in l],said
    (same,_),(found,said) = tested(root),tested(other)
    assert found==same!=[] and 'other images than it was trained on' in said

def test_few_shot_networks_alone_are_scored_and_chosen(root, tmp_path):
    f = tmp_path/'few.safetensors'
    succeeds('supernet_train', f, *tiny(root, '--depths', '3,1', '--sampler', 'few_shot_3', '--epochs', 2))
    on = ['--data-root', root, '--device', 'cpu', '--precision', 'fp32', '--threads', 1]
    assert '1,1' not in succeeds('supernet_eval', f, *on)
    refused('supernet_eval', f, *on, '--arch', '1,1', says=('few_shot_3 has not trained 1,1',))
    assert '2,1' not in succeeds('supernet_choose', f, *on)

def test_nothing_is_computed_twice(study):
    options,out,first = study
    before = {f: f.read_bytes() for f in (out/'runs').iterdir()}
    again = succeeds('supernet_study', *options)
    assert '3 runs, 0 already' in first and '3 runs, 3 already' in again
    assert {f: f.read_bytes() for f in (out/'runs').iterdir()}==before

def test_report_from_the_runs_alone(study, tmp_path):
    "Each file again, byte for byte, and two tables for spreadsheets"
    first = {f: f.read_bytes() for f in (study[1]/'report').rglob('*.*')}
    for f in first: f.unlink()
    succeeds('supernet_report', '--out', study[1])
    assert {f: f.read_bytes() for f in first}==first
    assert {'table.md', 'summary.csv', 'ranking.csv', 'cost.csv', 'gaps.csv', 'compare.png'}<={f.name for f in first}
    assert len(pd.read_csv(study[1]/'report'/'runs.csv'))==3
    assert set(pd.read_csv(study[1]/'report'/'scores.csv').split)=={'valid', 'test'}

def test_calibrate_once(study):
    "More kinds of statistics for the saved supernets, once, beside their runs"
    options = ['--out', study[1], '--data-root', study[0][study[0].index('--data-root')+1], '--device', 'cpu',
               '--jobs', 1]
    with (patch('tempfile.TemporaryFile', side_effect=OSError(30, 'Read-only file system')),
          patch('supernet_nas.commands.compute') as work):
        refused('supernet_calibrate', *options, says=('cannot write to folder', 'Read-only'), within=study[1])
    assert not work.called
    said = succeeds('supernet_calibrate', *options)
    assert '3 kinds of statistics' in said, said
    found, = (study[1]/'runs').glob('*.calibration.json')
    before = found.read_bytes()
    assert succeeds('supernet_calibrate', *options).endswith(': 1, already scored: 1\n')
    assert found.read_bytes()==before

def test_fixes_from_the_command_line(root, tmp_path):
    "Each fix is another run of the same supernet, and is reported"
    out,fixes = tmp_path/'out',['--endings shared', '--sampler nested --bn affine --head node',
        '--loss in_place --sampler fair', '--loss teacher', '--gradient pcgrad --sampler nested --state separate']
    space = '--depths', '2,2'  # nested needs a last block to choose from
    for fix in fixes: said = succeeds('supernet_study', *study_options(root, out, *space), *fix.split())
    assert '5 runs, 4 already' in said
    losses = [r['cost']['train_loss'] for r in records(out).values() if r['config']['arm']=='supernet']
    assert len(losses)==len(set(losses))==len(fixes)
    assert len([f for f in (out/'report').iterdir() if f.is_dir()])==len(fixes)

def test_own_endings_beside(root, tmp_path):
    "A study without fixes has a second supernet, which is another and stands in the same table"
    out = tmp_path/'out'
    options = study_options(root, out, '--depths', '1,2')
    said = succeeds('supernet_study', *options)
    assert '4 runs, 0 already' in said and 'With own endings the mean gap is' in said
    found = [r for r in records(out).values() if r['config']['arm']=='supernet']
    assert sorted(r['config'].get('endings', '') for r in found)==['', 'own']
    assert len({r['cost']['train_loss'] for r in found})==2
    folder, = (f for f in (out/'report').iterdir() if f.is_dir())
    table = pd.read_csv(folder/'summary.csv').query('split=="test"').groupby('way')['mean'].first()
    assert {'per node', 'own endings', 'from scratch'}<=set(table.index)
    assert '3 runs, 3 already' in succeeds('supernet_study', *options, '--endings', 'shared')

def test_probe_needs_its_runs(study):
    refused('supernet_probe', '--seeds', '0,7', '--out', study[1], says=('seeds 0, 7', 'run supernet_study first'))
    uniform = next(r for r in Results(study[1], readonly=True).records.values() if r['config']['arm']=='supernet')
    same = lambda seed, epochs: config_from(uniform['config'])
    with (patch('supernet_nas.commands.supernet_config', same),
          patch('tempfile.TemporaryFile', side_effect=OSError(30, 'Read-only'))):
        refused('supernet_probe', '--out', study[1], says=('cannot write to folder', 'Read-only'), within=study[1])

def test_two_at_a_time_are_the_same(study, root, tmp_path):
    "One thread a run: the numbers do not depend on the number of cores"
    out = tmp_path/'out'
    succeeds('supernet_study', *study_options(root, out, '--jobs', 2))
    assert records(out)==records(study[1])
    name = next((out/'weights').iterdir()).name
    assert (out/'weights'/name).read_bytes()==(study[1]/'weights'/name).read_bytes()

def test_own_images(tmp_path):
    "From a folder to two arms and back, with the weights of both"
    photos,f,out = write_images(tmp_path/'photos'),tmp_path/'net.safetensors',tmp_path/'out'
    options = '--images', photos, '--widths', '4,8', '--depths', '2,1', '--batch-size', 16, '--threads', 1
    trained = succeeds('supernet_train', f, *options, '--epochs', 20, '--arch', '1,1')
    found = succeeds('supernet_eval', f, '--images', photos, '--threads', 1)
    assert found.count('same as saved')==2 and ' 10/10 ' in found, found
    assert 'epoch 20/20' in trained
    succeeds('supernet_study', *options, '--supernet-epochs', 2, '--scratch-epochs', 1, '--out', out,
             '--jobs', 1, '--keep')
    assert {p.stem for p in (out/'weights').iterdir()}==set(records(out)) and len(records(out))==3
    refused('supernet_eval', f, '--threads', 1, says=('own images', '--images'))
    (photos/'left').rename(photos/'other')
    refused('supernet_eval', f, '--images', photos, '--threads', 1, says=("'other'", "'left'"))
    refused('supernet_train', f, '--images', photos, '--data-root', photos, says=('not beside --images',))
    refused('supernet_calibrate', '--out', out, '--jobs', 1, says=('--images',))

def test_own_test_set(tmp_path):
    "Folders train and test: what lies in test is scored, all of it and nothing else"
    photos,f = tmp_path/'photos',tmp_path/'net.safetensors'
    write_images(photos/'train')
    write_images(photos/'test')
    (photos/'test'/'left'/'00.png').unlink()
    n = sum(p.is_file() for p in (photos/'test').glob('*/*'))
    options = '--images', photos, '--threads', 1
    said = succeeds('supernet_train', f, *options, '--widths', '2,4', '--depths', '1,1', '--epochs', 1, '--batch-size', 16)
    assert f' {n} to test; ' in said and f'/{n} = ' in succeeds('supernet_eval', f, *options)

def test_other_images_than_trained_on(tmp_path):
    "One image more moves others from training to test: no score is compared, and nothing is chosen by them"
    photos,f,old = write_images(tmp_path/'photos'),tmp_path/'net.safetensors',tmp_path/'old.safetensors'
    images = '--images', photos, '--threads', 1
    succeeds('supernet_train', f, *images, '--widths', '2,4', '--depths', '2,1', '--epochs', 2, '--n-train', 40)
    net,about = load_net(f)
    save_net(net, old, **{k: v for k,v in about.items() if k!='data'})  # as files of earlier versions are
    (photos/'left'/'more.png').write_bytes((photos/'left'/'00.png').read_bytes())
    found = succeeds('supernet_eval', f, *images)
    assert (found.startswith('other images than it was trained on: some may be training images\n')
            and 'saved' not in found)
    refused('supernet_choose', f, *images, says=('net.safetensors was trained on other images',), within=tmp_path)
    assert 'saved' in succeeds('supernet_eval', old, *images) and 'chosen' in succeeds('supernet_choose', old, *images)
    for i in range(12): (photos/'left'/f'{i:02}.png').unlink()
    images = '--images', photos.rename(tmp_path/'fewer'), '--threads', 1  # another name: what is loaded is kept
    assert 'other images' in succeeds('supernet_eval', f, *images), 'no training image is needed'
    refused('supernet_choose', f, *images, says=('was trained on other images',))
    refused('supernet_choose', old, *images, says=('was trained on 40 images, here are',))

def test_stopped_training_goes_on(root, tmp_path):
    "Ctrl-C says what is kept, and the same command ends with the file of an undisturbed training"
    f,whole = tmp_path/'net.safetensors',tmp_path/'whole.safetensors'
    options = tiny(root, '--epochs', 60)
    started = Started(tmp_path/'said', 'supernet_train', f, *options)
    started.wait_for('epoch 3/')
    started.send(signal.SIGINT)
    assert started.end()==130 and 'epochs are kept, the same command goes on' in started.text, started.text
    again = Started(tmp_path/'again', 'supernet_train', f, *options)
    again.wait_for('to go on from it')
    again.send(signal.SIGINT)
    assert again.end()==130
    first,second = (int(re.search(r'(\d+) epochs are kept', t)[1]) for t in (started.text, again.text))
    assert 2<=first<=second, 'the third may be told before it is kept; what was kept before is kept'
    refused('supernet_train', f, *options, '--seed', 1, says=('checkpoint', 'seed is 0, not 1'))
    assert 'to go on from it' in succeeds('supernet_train', f, *options)
    succeeds('supernet_train', whole, *options)
    assert f.read_bytes()==whole.read_bytes()
    assert not list(tmp_path.glob('*.checkpoint'))

def test_import_is_light():
    "Nobody who builds a network waits for plotting, tables or torchvision"
    heavy = ("torchvision", "pandas", "matplotlib", "scipy")
    code = f'import sys, supernet_nas.supernet; print([m for m in {heavy} if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip()=='[]'

@pytest.mark.parametrize('widths,depths', [('4', '2'), ('4,4,4', '1,1,2')])
def test_spaces_of_one_and_of_three_stages(root, tmp_path, widths, depths):
    "Widths that are given count; a study trains own endings where they are a difference"
    space = '--widths', widths, '--depths', depths
    f = tmp_path/'net.safetensors'
    succeeds('supernet_train', f, *tiny(root, '--epochs', 1, '--endings', 'shared'), *space)
    assert load_net(f)[0].config['widths']==tuple(map(int, widths.split(',')))
    said = succeeds('supernet_study', *study_options(root, tmp_path/'out'), *space)
    found = [r['config'].get('endings') for r in records(tmp_path/'out').values() if r['config']['arm']=='supernet']
    assert set(found)=={None, 'own'}
    assert said.count('.safetensors  supernet (uniform')==2, 'its weights are named'

def test_diverged_training_goes_on_with_a_lower_rate(root, tmp_path):
    f = tmp_path/'net.safetensors'
    e = command('supernet_train', f, *tiny(root, '--epochs', 9, '--lr', '1e9'))
    assert e.code==1 and 'give a lower --lr, it was 1e+09' in e.err, e.err
    succeeds('supernet_train', f, *tiny(root, '--epochs', 2, '--lr', '0.01'))
