"Choosing a network from a saved supernet and taking it away, as a user does: supernet_choose, _predict, _export."
import re, sys
from pathlib import Path
from unittest.mock import patch
import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))
from trial import command, check_refused, file_limit, refused, snapshot, succeeds, tiny, tiny_arrays, write_root
from supernet_nas import take
from supernet_nas.data import load_data
from supernet_nas.files import load_net, save_net
from supernet_nas.supernet import SuperNet, show_arch

CPU = '--device', 'cpu', '--precision', 'fp32', '--threads', 1

class World:
    "A tiny data root, a trained supernet of four networks, two chosen ones and six image files"
    def __init__(self, folder):
        self.folder,self.root = folder,write_root(folder/'root')
        self.supernet,self.net,self.other = (folder/f'{n}.safetensors' for n in ('supernet', 'net', 'other'))
        succeeds('supernet_train', self.supernet,
                 *tiny(self.root, '--epochs', 30, '--widths', '4,8', '--depths', '2,2'))
        self.said = self.choose('--max-macs', '500k', '--save', self.net)
        save_net(load_net(self.supernet)[0].with_shared_stats().subnet((2,2)), self.other, **load_net(self.net)[1])
        self.data,self.images = load_data('KMNIST', self.root),[]
        for i,p in enumerate(tiny_arrays()[2][:40]):
            self.images.append(folder/f'{i}.png')
            Image.fromarray(p.astype(np.uint8)).save(self.images[-1])

    def choose(self, *args, root=None):
        return succeeds('supernet_choose', self.supernet, '--data-root', root or self.root, *CPU, *args)

@pytest.fixture(scope='module')
def world(tmp_path_factory): return World(tmp_path_factory.mktemp('take'))

ROW = re.compile(r'^ *([\d,]+)  (\d+)/50 = [\d.]+ %  +([\d,]+) MACs  +([\d,]+) parameters(  front)?(  chosen)?$', re.M)

def rows(said):
    "Network, correct, MACs, parameters, whether it is on the front, whether it is chosen"
    found = [(a, *(int(n.replace(',', '')) for n in m), bool(f), bool(c)) for a,*m,f,c in ROW.findall(said)]
    assert len(found)==4, said
    return found

def test_choice_is_the_best_within_the_budget(world):
    found = rows(world.said)
    fits = [r for r in found if r[2]<=500_000]
    best = min(fits, key=lambda r: (-r[1], r[2], r[3]))
    assert 0<len(fits)<4 and best[5] and sum(r[5] for r in found)==1 and best[4]
    assert 'standard error' in world.said
    free = rows(world.choose())
    assert next(r for r in free if r[5])[1]==max(r[1] for r in free)
    assert [r[0] for r in rows(world.choose('--arch', '2,1')) if r[5]]==['2,1']
    few = min(r[3] for r in free)
    assert [r[3] for r in rows(world.choose('--max-params', few)) if r[5]]==[few]

def test_saved_choice_scores_the_same(world):
    "On the validation images, evaluated from its file alone; with the statistics of its own"
    net,about = load_net(world.net)
    chosen = next(r for r in rows(world.said) if r[5])
    assert show_arch(net.arch)==chosen[0] and about['chosen']==dict(correct=chosen[1], images=50)
    said = succeeds('supernet_eval', world.net, '--data-root', world.root, *CPU)
    assert f'own          valid  {chosen[1]}/50' in said and chosen[1]>15, said
    assert about['size']==[28,28] and len(about['classes'])==10 and about['recal_images']==550

def test_test_images_do_not_choose(world, tmp_path):
    "With other test images it says the same, and saves the same weights, if its file does not say which it is of"
    x,y,xt,yt = tiny_arrays()
    root = write_root(tmp_path/'root', [x, y, 255-xt, (yt+1)%10])
    args = '--data-root', root, *CPU, '--max-macs', '500k', '--save', tmp_path/'a.safetensors'
    refused('supernet_choose', world.supernet, *args, says=('was trained on other images',))
    net,about = load_net(world.supernet)
    old = save_net(net, tmp_path/'old.safetensors', **{k: v for k,v in about.items() if k!='data'})
    assert succeeds('supernet_choose', old, *args).splitlines()[:6]==world.said.splitlines()[:6]
    first,second = (load_net(f)[0].state_dict() for f in (world.net, tmp_path/'a.safetensors'))
    assert all(torch.equal(v, second[k]) for k,v in first.items())

def test_figure_is_replaced_only_if_it_is_ours(world, tmp_path):
    f = tmp_path/'a.png'
    for _ in range(2): assert f'saved {f}' in world.choose('--png', f)
    assert Image.open(f).size[0]>500
    f.write_bytes(world.images[0].read_bytes())
    refused('supernet_choose', world.supernet, '--png', f, says=('another file',), within=tmp_path)

def test_large_space_is_searched(world, tmp_path):
    "4,096 networks: a budget of evaluations, finalists, the same again"
    f = tmp_path/'large.safetensors'
    torch.manual_seed(0)
    save_net(SuperNet((1,)*4, (8,)*4), f, dataset='KMNIST')
    args = f, '--data-root', world.root, *CPU, '--evaluations', 20, '--max-macs', '50k', '--seed', 3
    said = succeeds('supernet_choose', *args)
    assert re.search(r'evolutionary search, seed 3: 20 of [\d,]+ networks within the budget scored on 50 validation',
                     said)
    lines = ROW.findall(said)
    assert len(lines)==16 and all(int(r[2].replace(',', ''))<=50_000 for r in lines) and said.count('chosen')==2

def expected(net, world, n):
    with torch.no_grad(): return net(world.data.test.x[:n]).softmax(1).max(1)

def test_predictions(world):
    "Of files as of tensors"
    said = [l.split() for l in succeeds('supernet_predict', world.net, *world.images).splitlines()]
    confidence,label = expected(load_net(world.net)[0], world, 40)
    names = load_net(world.net)[1]['classes']
    assert ([l[0] for l in said]==[names[i] for i in label] and len(names)==10
            and [l[-1] for l in said]==list(map(str, world.images)))
    assert np.allclose([float(l[1]) for l in said], 100*confidence, atol=.006)

def test_comparison(world, tmp_path):
    a,b = (expected(load_net(f)[0], world, 40)[1] for f in (world.net, world.other))
    n,f = int((a!=b).sum()), tmp_path/'d.png'
    said = succeeds('supernet_predict', world.net, *world.images, '--compare', world.other, '--png', f)
    assert 0<n<40 and f'disagree on {n} of 40 images' in said and said.count(' or ')==n
    assert Image.open(f).size[0]>500
    said = succeeds('supernet_predict', world.net, *world.images, '--compare', world.net, '--png', tmp_path/'e.png')
    assert 'disagree on 0 of 40' in said and not (tmp_path/'e.png').exists()

@pytest.mark.parametrize('suffix', ['.pt2', '.onnx'])
def test_export(world, tmp_path, suffix):
    "Any number of images, the same logits, no BatchNorm, and what a reader must know"
    f,(net,about) = tmp_path/f'net{suffix}',load_net(world.net)
    said = succeeds('supernet_export', world.net, f, '--data-root', world.root)
    assert f'{f.stat().st_size:,} bytes' in said and len(list(tmp_path.iterdir()))==1
    run,meta = take.FORMATS[suffix][1](f.read_bytes())
    for n in (1, 7, 200):
        with torch.no_grad(): assert torch.allclose(run(world.data.test.x[:n]), net(world.data.test.x[:n]), atol=1e-4)
    assert {k: meta[k] for k in take.READING}=={k: about[k] for k in take.READING}
    assert meta['arch']==show_arch(net.arch) and b'BatchNorm' not in f.read_bytes()
    assert str(ROOT).encode() not in f.read_bytes(), 'a path of this machine'

def test_export_that_is_wrong_is_not_written(world, tmp_path):
    right = take.folded
    def wrong(net):
        net = right(net)
        net.transitions[0].conv.bias.data[0] += .1
        return net
    with patch.object(take, 'folded', wrong):
        refused('supernet_export', world.net, tmp_path/'a.pt2', says=('nothing is written',), within=tmp_path)

def test_missing_extra_is_one_line(world, tmp_path):
    with patch('importlib.util.find_spec', lambda m: None):
        refused('supernet_export', world.net, tmp_path/'a.onnx', says=('pip install ".[export]"',), within=tmp_path)

def test_full_disk(world, tmp_path):
    with file_limit(3000): e = command('supernet_export', world.net, tmp_path/'a.pt2')
    check_refused(e, 'a.pt2')
    with file_limit(3000):
        e = command('supernet_predict', world.net, *world.images, '--compare', world.other, '--png', tmp_path/'a.png')
    check_refused(e, 'a.png')
    assert not snapshot(tmp_path)

SUPER,NET,IMAGE,NONE = 'supernet.safetensors', 'net.safetensors', '0.png', 'none'

@pytest.mark.parametrize('args,says', [
    (('choose', NET), 'nothing to choose'), (('choose', NONE), 'No such file'), (('choose', IMAGE), '0.png'),
    (('choose', SUPER, '--max-macs', '7 MB'), "max_macs '7 MB'"),
    (('choose', SUPER, '--max-macs', '-1'), "max_macs '-1'"),
    (('choose', SUPER, '--max-params', '9'*5000), 'max_params'),
    (('choose', SUPER, '--max-params', '0'), "max_params '0'"),
    (('choose', SUPER, '--max-macs', '1k', '--data-root', 'root'), 'no network has at most 1,000 MACs: the least is'),
    (('choose', SUPER, '--evaluations', 0), 'evaluations 0'), (('choose', SUPER, '--seed', -1), 'seed -1'),
    (('choose', SUPER, '--save', SUPER), 'would replace the supernet'),
    (('choose', SUPER, '--save', 'own.safetensors'), 'would replace the supernet'),
    (('choose', SUPER, '--arch', '3,3', '--data-root', 'root'), '3,3'),
    (('choose', SUPER, '--arch', '2,2', '--max-params', '1.5k', '--data-root', 'root'), 'beyond the budget'),
    (('choose', SUPER, '--save', 'a.pt'), 'ends in .safetensors'),
    (('choose', SUPER, '--png', 'a.jpg'), 'ends in .png'), (('choose', SUPER, '--png', IMAGE), 'another file'),
    (('choose', SUPER, '--dataset', 'x'), "dataset 'x'"), (('choose', SUPER, '--data-root', NONE), 'no such folder'),
    (('choose', SUPER, '--threads', 0), 'threads 0'), (('choose', SUPER, '--device', 'tpu'), "device 'tpu'"),
    (('predict', NET), 'images'), (('predict', SUPER, IMAGE), 'holds a supernet'),
    (('predict', NET, NONE), 'No such file'),
    (('predict', NET, NET), 'cannot be read'), (('predict', NET, '.'), 'not a regular file'),
    (('predict', NONE, IMAGE), 'No such file'),
    (('predict', NET, IMAGE, '--png', 'a.png'), '--compare'),
    (('predict', NET, IMAGE, '--compare', NONE), 'No such file'),
    (('predict', NET, IMAGE, '--compare', NET, '--png', 'a.gif'), 'ends in .png'),
    (('predict', 'bare.safetensors', IMAGE), 'does not say how images are read'),
    (('export', NET, 'a.txt'), 'ends in .onnx or .pt2'), (('export', SUPER, 'a.pt2'), 'holds a supernet'),
    (('export', NONE, 'a.pt2'), 'No such file'), (('export', NET, 'mine.pt2'), 'another file'),
    (('export', NET), 'required'),
    (('export', 'bare.safetensors', 'a.pt2'), 'does not say how images are read'),
    (('export', NET, 'a\0.pt2'), 'null byte')],
    ids=lambda v: ' '.join(map(str, v))[:60] if isinstance(v, tuple) else '')
def test_bad_input(world, args, says, monkeypatch):
    "One line that names it, exit code 2, and nothing is written"
    monkeypatch.chdir(world.folder)
    if not Path('bare.safetensors').exists():
        save_net(load_net(world.net)[0], 'bare.safetensors', dataset='KMNIST')
        Path('mine.pt2').write_text('mine')
        save_net(SuperNet((4,8), (2,2), endings='own'), 'own.safetensors')
    refused(f'supernet_{args[0]}', *args[1:], says=(says,), within=world.folder)
