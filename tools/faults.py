"""Bad input and faults: every case in one list, which tests/test_faults.py goes through too.

    python3 dev.py python tools/faults.py [CLASS]   tries all, or one class; the counts go to results/faults.csv
"""
import functools, gzip, hashlib, json, os, pickle, random, re, signal, stat, subprocess, sys, tempfile, time, traceback
import shutil, zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
import numpy as np
import pandas as pd
import torch
from safetensors.torch import load, save, save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))
from PIL import Image
from trial import (Started, check_refused, command, copy, damages_nothing, file_limit, idx, records, refused, snapshot,
    study_options, succeeds, tiny, tiny_arrays, wait_gone, write_images, write_root)
from supernet_nas import commands, files
from supernet_nas.data import IDX_FILES, BadInput, Data, Split, load_data
from supernet_nas.files import load_net, save_net, write_whole
from supernet_nas.runs import config_from, run, scratch_config, supernet_config
from supernet_nas.sampler import make_sampler
from supernet_nas.store import Results, unseal
from supernet_nas.supernet import SubNet, SuperNet, parse_arch
from supernet_nas.train import Recipe, Runtime, evaluate, evaluate_all, recalibrate_bn, runtime, train

@dataclass(frozen=True)
class Case:
    "One thing that can be wrong; `attempt(world, folder)` raises if it is not met as expected"
    kind: str
    name: str
    attempt: object
    expected: str = 'refused' # Or 'handled': accepted, and right

    def __str__(self): return f'{self.kind}: {self.name}'

CASES = []

def add(kind, name, attempt, expected='refused'): CASES.append(Case(kind, name, attempt, expected))

def case(kind, name, expected='refused'):
    "A decorator: the function is the attempt"
    def mark(f):
        add(kind, name, f, expected)
        return f
    return mark

class World:
    "What cases share, made when the first asks for it"
    def __init__(self, folder, many=False): self.folder,self.many = Path(folder),many

    @functools.cached_property
    def root(self)->Path:
        "A tiny data root"
        return write_root(self.folder/'root')

    @functools.cached_property
    def study(self)->Path:
        "The folder of a finished study: a supernet of two networks, and both from scratch"
        succeeds('supernet_study', *study_options(self.root, self.folder/'study'))
        return self.folder/'study'

    @functools.cached_property
    def calibrated(self)->Path:
        "The same with a file beside the supernet's run"
        out = copy(self.study, self.folder/'calibrated')
        succeeds('supernet_calibrate', '--out', out, '--data-root', self.root, '--device', 'cpu', '--jobs', 1)
        return out

    @functools.cached_property
    def supernet(self)->str:
        "The name of the study's supernet"
        return next((self.study/'weights').iterdir()).stem

    @property
    def weights(self)->Path: return self.study/'weights'/f'{self.supernet}.safetensors'

    @functools.cached_property
    def data(self)->Data: return load_data('KMNIST', self.root)

    @functools.cached_property
    def photos(self)->Path:
        "Images of two classes in a folder"
        return write_images(self.folder/'photos', each=12)

    @functools.cached_property
    def own(self)->Path:
        "The folder of a supernet of these, one of its networks, the same with other classes, and one of two channels"
        own = self.folder/'own'
        succeeds('supernet_train', own/'supernet.safetensors', '--images', self.photos, *PHOTO_OPTIONS)
        succeeds('supernet_choose', own/'supernet.safetensors', '--images', self.photos, *ON_CPU,
                 '--save', own/'net.safetensors')
        taken,about = load_net(own/'net.safetensors')
        save_net(taken, own/'other.safetensors', **about|dict(classes=['cat', 'dog']))
        save_net(SubNet((1,1), (2,4), 2, 2), own/'two.safetensors', **about|dict(mean=[0, 0], std=[1, 1]))
        return own

ON_CPU = '--device', 'cpu', '--precision', 'fp32', '--threads', 1
PHOTO_OPTIONS = *ON_CPU, '--widths', '2,4', '--depths', '2,1', '--epochs', 1, '--batch-size', 8

def altered(content, path, value):
    "A copy of nested dictionaries and lists with one value replaced; without it, if the value is `GONE`"
    content = json.loads(json.dumps(content))
    at = content
    for k in path[:-1]: at = at[k]
    if value is GONE: del at[path[-1]]
    else: at[path[-1]] = value
    return content

GONE,LONG = object(),'@5000@'  # LONG becomes a number of 5,000 digits in a file

def forged(content)->bytes:
    "What `seal` would not write, with a SHA-256 that is right"
    lines = [f'{json.dumps(k)}: {json.dumps(v)}' for k,v in (dict(schema=1)|content).items()]
    return rehashed((',\n'.join(lines)+'\n}\n').encode().replace(f'"{LONG}"'.encode(), b'9'*5000))

def rehashed(rest)->bytes: return f'{{\n"sha256": "{hashlib.sha256(rest).hexdigest()}",\n'.encode()+rest

def body(raw)->bytes: return raw.split(b'\n', 2)[2]

# Damaged run files: each in a copy of a study of one supernet

def uncounted(world, folder, damage, reason='', at=None):
    "A run's file is damaged: it is named with the reason, counts as not done, and can be written anew"
    out = copy(world.study, folder/'out')
    path = out/'runs'/f'{world.supernet}.json'
    whole = records(out)
    damage(path)
    said = command('supernet_report', '--out', out)
    where = f'{at or path.name}: '
    line = next((l for l in (said.out+said.err).splitlines() if where in l or f'{at or path.name} is' in l), '')
    assert said.code in (0, 2) and 'Traceback' not in said.err and reason in line and line, (reason, said)
    results = Results(out)
    assert not results.has(world.supernet) and world.supernet not in set(results.read('scores').run)
    results.add(Results(world.study, readonly=True).records[world.supernet])
    assert results.records[world.supernet]['scores']==whole[world.supernet]['scores']
    if at is None: assert not results.refused and records(out)==whole

def damaged_file(name, change, reason=''):
    def attempt(world, folder): uncounted(world, folder, lambda p: p.write_bytes(change(p.read_bytes())), reason)
    add('damaged run files', name, attempt)

def flipped(raw, seed):
    "One bit of a file turned round, at a place that the seed chooses"
    r,raw = random.Random(seed),bytearray(raw)
    raw[r.randrange(len(raw))] ^= 1<<r.randrange(8)
    return bytes(raw)

def with_markers(raw):
    "A merge conflict within the scores"
    lines = raw.decode().splitlines(keepends=True)
    i = next(i for i,l in enumerate(lines) if l.startswith('"scores"'))
    both = ['<<<<<<< HEAD\n', lines[i], '=======\n', lines[i].replace('"n_correct"', '"n_correct" '), '>>>>>>> other\n']
    return ''.join(lines[:i]+both+lines[i+1:]).encode()

for i in range(16): damaged_file(f'cut after {i}/16', lambda raw, i=i: raw[:len(raw)*i//16], 'damaged')
for i in (1, 2, 3): damaged_file(f'{i} bytes short', lambda raw, i=i: raw[:-i], 'damaged')
for i in range(32): damaged_file(f'bit flipped, seed {i}', lambda raw, i=i: flipped(raw, i), 'damaged')
damaged_file('merge markers', with_markers, 'damaged')
damaged_file('written twice', lambda raw: raw+raw, 'damaged')
damaged_file('zeros for the second half', lambda raw: raw[:len(raw)//2].ljust(len(raw), b'\0'), 'damaged')
damaged_file('carriage returns', lambda raw: raw.replace(b'\n', b'\r\n'), 'damaged')
damaged_file('another text', lambda raw: b'run,accuracy\n1,2\n', 'damaged')
damaged_file('JSON of somebody else', lambda raw: b'{"run": 1}', 'damaged')
damaged_file('not UTF-8', lambda raw: rehashed(body(raw).replace(b'supernet', b'\xff\xfe')), 'not JSON')
damaged_file('deeply nested', lambda raw: rehashed(body(raw)[:-2]+b', "x": '+b'['*10**5+b']'*10**5+b'}\n'), 'not JSON')
damaged_file('a list', lambda raw: rehashed(b'[]\n'), 'damaged')
damaged_file('of a newer schema', lambda raw: forged(unseal(raw)|dict(schema=2)), 'newer')
damaged_file('of schema true', lambda raw: forged(unseal(raw)|dict(schema=True)), 'not a file of')
damaged_file('without a schema', lambda raw: rehashed(body(raw).replace(b'"schema": 1,\n', b'')), 'not a file of')

def in_its_place(name, make, reason, at=None, expected='refused'):
    "Something else where a run's file was"
    def attempt(world, folder):
        def damage(path):
            kept = path.rename(path.parent.parent/'kept')
            make(path, kept)
        uncounted(world, folder, damage, reason, at)
    add('not a run file', name, attempt, expected)

def huge(path, kept):
    with open(path, 'wb') as f: f.truncate(2**32)

in_its_place('a folder', lambda p, kept: p.mkdir(), 'not a regular file')
in_its_place('a folder with files', lambda p, kept: write_root(p), 'not a regular file')
in_its_place('a pipe', lambda p, kept: os.mkfifo(p), 'not a regular file')
in_its_place('a link to nowhere', lambda p, kept: p.symlink_to('nowhere'), 'cannot read')
in_its_place('a link to itself', lambda p, kept: p.symlink_to(p.name), 'cannot read')
in_its_place('a link to a device', lambda p, kept: p.symlink_to('/dev/zero'), 'not a regular file')
in_its_place('a file of 4 GiB', huge, 'more than')
in_its_place('an empty file', lambda p, kept: p.touch(), 'damaged')
in_its_place('its file under another run\'s name', lambda p, kept: kept.rename(p.with_name('0123456789ab.json')),
             'another name', '0123456789ab.json')
in_its_place('its file under another name', lambda p, kept: kept.rename(p.with_name('copy.json')), 'not a file of',
             'copy.json')

@case('not a run file', 'a link to a run file', 'handled')
def _(world, folder):
    out = copy(world.study, folder/'out')
    path = out/'runs'/f'{world.supernet}.json'
    path.symlink_to(path.rename(out/'kept'))
    assert records(out)==records(world.study)

@case('damaged run files', 'ten kinds at once, computed again', 'handled')
def _(world, folder):
    "The report names each, the study computes each again, with the numbers that there were"
    out,seeds = folder/'out',','.join(map(str, range(10)))
    args = study_options(world.root, out, '--seeds', seeds, '--depths', '1,1')
    succeeds('supernet_study', *args)
    whole,files = records(out),sorted((out/'runs').glob('*.json'))[::2]
    def emptied(p): p.write_bytes(b'')
    def cut(p): p.write_bytes(p.read_bytes()[:400])
    def flip(p): p.write_bytes(flipped(p.read_bytes(), 0))
    def markers(p): p.write_bytes(with_markers(p.read_bytes()))
    def renamed(p): p.rename(p.with_name('0123456789ab.json'))
    def newer(p): p.write_bytes(forged(unseal(p.read_bytes())|dict(schema=7)))
    def too_many(p): p.write_bytes(forged(altered(unseal(p.read_bytes()), ('curves', 'n_correct', '1,1'), [51, 52])))
    def a_folder(p): p.unlink(); p.mkdir()
    def a_pipe(p): p.unlink(); os.mkfifo(p)
    def a_link(p): p.unlink(); p.symlink_to('nowhere')
    for f,damage in zip(files, (emptied, cut, flip, markers, renamed, newer, too_many, a_folder, a_pipe,
                                a_link)): damage(f)
    said = succeeds('supernet_report', '--out', out)
    refused_files = Results(out, readonly=True).refused
    assert len(refused_files)==10 and all(f in said for f in refused_files)
    said = succeeds('supernet_study', *args)
    assert '20 runs, 10 already' in said and all(f in said for f in refused_files)
    (out/'runs'/'0123456789ab.json').unlink()
    assert records(out)==whole

# What cannot be, though the checksum is right

def impossible(name, path, value, reason=''):
    def attempt(world, folder):
        def damage(p): p.write_bytes(forged(altered(unseal(p.read_bytes()), path, value)))
        uncounted(world, folder, damage, reason)
    add('impossible run files', name, attempt)

_first = ('scores', 0, 'n_correct', '1,1')
for name,value in dict(above=51, far_above=10**9, negative=-1, floating=6.0, fraction=6.5, true=True, text='6',
                       null=None, infinite=float('inf'),
                       minus_infinite=-float('inf'), nan=float('nan'), a_list=[6], digits_5000=LONG,
                       digits_400=10**400).items():
    impossible(f'n_correct {name.replace("_", " ")}', _first, value)
    impossible(f'curve {name.replace("_", " ")}', ('curves', 'n_correct', '1,1'), [6, value])
for name,value in dict(zero=0, negative=-50, floating=50.0, true=True, text='50', null=None, infinite=float('inf'),
                       other=60,
                       digits_5000=LONG, digits_400=10**400).items():
    impossible(f'n_total {name.replace("_", " ")}', ('scores', 0, 'n_total'), value)
    impossible(f'curve n_total {name.replace("_", " ")}', ('curves', 'n_total'), value)
for section in 'run config cost networks scores curves runtime made'.split():
    impossible(f'without {section}', (section,), GONE)
    impossible(f'{section} null', (section,), None)
    impossible(f'{section} a number', (section,), 7)
    if section!='run': impossible(f'{section} empty', (section,), {} if section!='scores' else [])
for section,keys in dict(cost='steps net_updates train_flops train_loss', made='seconds when machine torch',
                         curves='n_total epoch n_correct',
                         runtime='device precision threads').items():
    for k in keys.split(): impossible(f'without {section} {k}', (section, k), GONE)
for k in 'bn split n_total n_correct'.split(): impossible(f'without scores {k}', ('scores', 0, k), GONE)
for k in ('steps', 'net_updates', 'train_flops', 'train_loss'):
    for value in (-1, float('nan'), float('inf'), 'x', True, [1], 10**400, LONG): impossible(f'{k} {str(value)[:12]}',
                                                                                             ('cost', k), value)
impossible('seconds negative', ('made', 'seconds'), -1.)
impossible('parameters negative', ('networks', '1,1', 'parameters'), -1)
impossible('parameters of 400 digits', ('networks', '1,1', 'parameters'), 10**400)
impossible('macs floating', ('networks', '1,1', 'macs'), 1.5)
impossible('an unknown architecture', ('networks', '9,9'), dict(parameters=1, macs=1))
impossible('a missing architecture', ('networks', '2,1'), GONE)
impossible('a missing score', ('scores', 0, 'n_correct', '2,1'), GONE)
impossible('an unknown score', ('scores', 0, 'n_correct', '3,1'), 5)
impossible('a missing curve', ('curves', 'n_correct', '2,1'), GONE)
impossible('a curve of another length', ('curves', 'n_correct', '2,1'), [1, 2, 3])
impossible('an epoch beyond the last', ('curves', 'epoch'), [1, 3])
impossible('epochs out of order', ('curves', 'epoch'), [2, 1])
impossible('an epoch twice', ('curves', 'epoch'), [2, 2])
impossible('a floating epoch', ('curves', 'epoch'), [1, 2.0])
impossible('an unknown kind of statistics', ('scores', 0, 'bn'), 'best')
impossible('an unknown split', ('scores', 0, 'split'), 'train')
impossible('a kind of statistics twice', ('scores', 0, 'bn'), 'node')
impossible('of another run', ('run',), '0123456789ab')
impossible('a device that is a list', ('runtime', 'device'), ['cpu'])

def impossible_config(name, path, value):
    "A configuration that cannot be, under the name that belongs to it"
    def attempt(world, folder):
        def damage(p):
            content = altered(unseal(p.read_bytes()), ('config', *path), value)
            plain = json.dumps(content['config'], sort_keys=True)
            content['run'] = hashlib.sha256(plain.encode()).hexdigest()[:12]
            p.unlink()
            (p.parent/f"{content['run']}.json").write_bytes(forged(content))
            names.append(f"{content['run']}.json")
        names = _Later()
        uncounted(world, folder, damage, '', names)
    add('impossible run files', f'configuration: {name}', attempt)

class _Later(list):
    "A file's name that is only known after the damage"
    def __str__(self): return self[0]
    def __format__(self, spec): return self[0]

for name,path,value in [
    ('an unknown arm', ('arm',), 'best'), ('an arm that is a list', ('arm',), []),
    ('an unknown sampler', ('sampler',), 'best'),
    ('no sampler', ('sampler',), GONE), ('an arch beside a sampler', ('arch',), [1, 1]),
    ('an unknown field', ('x',), 1),
    ('widths of a billion', ('widths',), [10**9, 10**9]), ('widths as text', ('widths',), '2,4'),
    ('no widths', ('widths',), []),
    ('three widths', ('widths',), [2, 4, 8]), ('floating widths', ('widths',), [2., 4.]),
    ('depths of 99999', ('max_depths',), [99999, 99999]),
    ('depth of a billion', ('max_depths',), [10**9, 1]), ('depth 0', ('max_depths',), [0, 1]),
    ('depths as text', ('max_depths',), '2,1'),
    ('seed as text', ('seed',), '0'), ('seed -1', ('seed',), -1), ('seed 0.5', ('seed',), 0.5),
    ('seed true', ('seed',), True),
    ('no epochs', ('epochs',), 0), ('10**400 epochs', ('epochs',), 10**400), ('floating epochs', ('epochs',), 2.),
    ('epochs nan', ('epochs',), float('nan')),
    ('n_train -1', ('n_train',), -1), ('n_train as text', ('n_train',), 'x'),
    ('recal_images -1', ('recal_images',), -1),
    ('10**400 images', ('n_train',), 10**400), ('10**400 to recalibrate', ('recal_images',), 10**400),
    ('dataset a list', ('dataset',), ['KMNIST']), ('dataset a number', ('dataset',), 5),
    ('an unknown loss', ('loss',), 'x'),
    ('bn a list', ('bn',), ['affine']), ('an unknown head', ('head',), '../x'), ('recipe a list', ('recipe',), []),
    ('an unknown hyper-parameter', ('recipe', 'x'), 1), ('batches of -1', ('recipe', 'batch_size'), -1),
    ('lr nan', ('recipe', 'lr'), float('nan')),
    ('lr as text', ('recipe', 'lr'), '0.1')]: impossible_config(name, path, value)

def beside(name, change, reason):
    "Something wrong beside a run: it is named and not counted, and computed again; the run itself counts"
    def attempt(world, folder):
        out = copy(world.calibrated, folder/'out')
        path = out/'runs'/f'{world.supernet}.calibration.json'
        good = Results(out, readonly=True).beside('calibration')[world.supernet]['scores']
        changed = change(path.read_bytes())
        path.write_bytes(changed)
        said = succeeds('supernet_report', '--out', out)
        assert path.name in said and reason in said, said
        results = Results(out, readonly=True)
        assert results.has(world.supernet) and not results.beside('calibration')
        assert not results.read('scores').bn.str.startswith(('recalibrated-', 'batch')).any()
        succeeds('supernet_calibrate', '--out', out, '--data-root', world.root, '--device', 'cpu', '--jobs', 1)
        assert Results(out, readonly=True).beside('calibration')[world.supernet]['scores']==good
    add('beside a run', name, attempt)

def beside_changed(name, path, value, reason):
    beside(name, lambda raw: forged(altered(unseal(raw), path, value)), reason)

beside('cut in the middle', lambda raw: raw[:len(raw)//2], 'damaged')
beside('a bit flipped', lambda raw: flipped(raw, 1), 'damaged')
beside('merge markers', with_markers, 'damaged')
beside_changed('more correct than images', _first, 51, '51 correct of 50')
beside_changed('of no known kind', ('kind',), 'x', 'another name')
beside_changed('of another run', ('run',), '0123456789ab', 'another name')
beside_changed("the run's own scores", ('scores', 0, 'bn'), 'node', 'no such file has them')
beside_changed('without networks', ('networks',), GONE, 'incomplete')
beside_changed('probes of another form', ('probes',), [[1, 2]], 'a probe of')
beside_changed('probes that are no list', ('probes',), 7, 'another form')

@case('beside a run', 'without its run')
def _(world, folder):
    out = copy(world.calibrated, folder/'out')
    (out/'runs'/f'{world.supernet}.json').unlink()
    said = command('supernet_report', '--out', out)
    assert said.code in (0, 2) and 'Traceback' not in said.err
    assert f'{world.supernet}.calibration.json' in said.out and 'its run is not there' in said.out

# Names that would lead outside

def outside(name, field, value, expected):
    "A supernet and its networks from scratch, sealed and named rightly, with a name that is a path"
    def attempt(world, folder):
        out = folder/'a'/'b'/'c'/'out'
        (out/'runs').mkdir(parents=True)
        for content in Results(world.study, readonly=True).records.values():
            if field=='sampler' and 'sampler' not in content['config']: continue
            content = altered(content, ('config', field), value)
            content['run'] = hashlib.sha256(json.dumps(content['config'], sort_keys=True).encode()).hexdigest()[:12]
            (out/'runs'/f"{content['run']}.json").write_bytes(forged(content))
        said = command('supernet_report', '--out', out)
        assert said.code in (0, 2) and 'Traceback' not in said.err, said
        others = [f for f in folder.rglob('*') if f.is_file() and not {out/'report', out/'runs'}&{*f.parents}]
        assert not others, others
        written = [f for f in (out/'report').rglob('*') if f.is_dir()]
        assert all(re.fullmatch('[a-z0-9_-]+', f.name) for f in written), written
        if expected=='handled': assert len(written)==1, (written, said)
        else: assert not written and ('not counted' in said.out), said
    add('names that lead outside', f'{field} {name}', attempt, expected)

for value in ('../../../evil', '/tmp/evil', '..', 'a/b', 'a\0b', '\n', 'a'*300, '', '\u202eevil', 'C:\\evil', '~',
              '$HOME', '%s', '-rf'):
    outside(repr(value)[:20], 'dataset', value, 'handled')
    outside(repr(value)[:20], 'sampler', value, 'refused')

# Weight files

def forged_net(source, change=None, tensors=None)->bytes:
    "A weight file with something changed and a checksum that is right"
    data = source.read_bytes()
    info,found = files._read_info(data, '')[0],load(data)
    if change: info = altered(info, *change)
    if tensors: found = tensors(found)
    return save(found, {files.KEY: files._canonical(info|dict(sha256=files._sha256(found, info)))})

def bad_weights(name, make, reason=''):
    "A file that supernet_eval must refuse"
    def attempt(world, folder):
        f = folder/'net.safetensors'
        made = make(world.weights, f)
        if isinstance(made, bytes): f.write_bytes(made)
        refused('supernet_eval', f, '--data-root', world.root, '--device', 'cpu', says=(reason or f.name,))
    add('weight files', name, attempt)

def forged_info(name, path, value): bad_weights(name, lambda good, f: forged_net(good, (path, value)))

for name,path,value in [
    ('an unknown kind', ('kind',), 'Evil'), ('kind null', ('kind',), None), ('kind a list', ('kind',), ['SuperNet']),
    ('no kind', ('kind',), GONE),
    ('the other kind', ('kind',), 'SubNet'), ('no configuration', ('config',), GONE),
    ('configuration null', ('config',), None),
    ('configuration a list', ('config',), []), ('configuration empty', ('config',), {}),
    ('an extra key', ('config', 'x'), 1),
    ('no about', ('about',), GONE), ('about null', ('about',), None), ('about a list', ('about',), []),
    ('an extra section', ('x',), 1),
    ('dataset a number', ('about', 'dataset'), 5), ('dataset null', ('about', 'dataset'), None),
    ('n_train as text', ('about', 'n_train'), 'x'), ('n_train 1.5', ('about', 'n_train'), 1.5),
    ('n_train -1', ('about', 'n_train'), -1),
    ('scores a number', ('about', 'scores'), 5), ('scores null', ('about', 'scores'), None),
    ('scores a table', ('about', 'scores'), {'1,1': 5}),
    ('a score of numbers', ('about', 'scores'), [5]), ('a score without arch', ('about', 'scores', 0, 'arch'), GONE),
    ('a score of no arch', ('about', 'scores', 0, 'arch'), '9,9'),
    ('a score of arch null', ('about', 'scores', 0, 'arch'), None),
    ('a score on no split', ('about', 'scores', 0, 'split'), 'x'),
    ('a score of text', ('about', 'scores', 0, 'n_correct'), 'x'),
    ('a negative score', ('about', 'scores', 0, 'n_correct'), -1), ('classes null', ('about', 'classes'), None),
    ('mean null', ('about', 'mean'), None), ('size null', ('about', 'size'), None),
    ('size of 10**10 pixels', ('about', 'size'), [10**5, 10**5])]: forged_info(name, path, value)
for k in 'widths max_depths in_channels num_classes bn head'.split():
    forged_info(f'no {k}', ('config', k), GONE)
    forged_info(f'{k} null', ('config', k), None)
    forged_info(f'{k} as text', ('config', k), '2,4')
    forged_info(f'{k} a billion', ('config', k), [10**9, 10**9] if k in ('widths', 'max_depths') else 10**9)
    forged_info(f'{k} other', ('config', k), dict(widths=[2, 5], max_depths=[2, 2], in_channels=3, num_classes=11,
                                                  bn='affine', head='node')[k])
    if k in ('widths', 'max_depths'):
        forged_info(f'{k} floats', ('config', k), [2., 1.])
        forged_info(f'{k} empty', ('config', k), [])
        forged_info(f'{k} nested', ('config', k), [[2], [4]])
        forged_info(f'{k} true', ('config', k), [True, True])

def a_tensor_less(t): return dict(list(t.items())[1:])
def a_tensor_more(t): return t|dict(x=torch.zeros(3))
def a_tensor_longer(t): return t|{'head.linear.bias': torch.zeros(11)}
def a_tensor_of_ints(t): return {k: v.int() if k=='head.linear.bias' else v for k,v in t.items()}
def all_nan(t): return {k: torch.full_like(v, float('nan')) if v.is_floating_point() else v for k,v in t.items()}
for f in (a_tensor_less, a_tensor_more, a_tensor_longer, a_tensor_of_ints):
    bad_weights(f.__name__.replace('_', ' '), lambda good, path, f=f: forged_net(good, tensors=f))
bad_weights('weights that are NaN', lambda good, f: forged_net(good, tensors=all_nan), 'NaN')

class Planted:
    "Unpickled, it leaves a trace"
    def __reduce__(self): return os.mkdir, (os.environ.get('PLANTED', 'planted'),)

def _renamed_type(good, f): return good.read_bytes().replace(b'"F32"', b'"I32"')
def _pickled(good, f): return pickle.dumps(Planted())
def _torch_saved(good, f): torch.save(dict(x=torch.zeros(3)), f)
def _somebody_elses(good, f): save_file(dict(x=torch.zeros(3)), f)
def _old(good, f): return save(load(good.read_bytes()), dict(info='{}', sha256='0'))
def _endless_header(good, f): return (2**63-1).to_bytes(8, 'little')+good.read_bytes()[8:]
def _nested_header(good, f): return _with_header(b'{"__metadata__":'+b'{"a":'*50000+b'1'+b'}'*50000+b'}')
def _with_header(h): return len(h).to_bytes(8, 'little')+h
def _no_json(good, f): return save(load(good.read_bytes()), {files.KEY: '{'})
def _deep_json(good, f): return save(load(good.read_bytes()), {files.KEY: '['*10**5+']'*10**5})
def _json_list(good, f): return save(load(good.read_bytes()), {files.KEY: '[]'})
def _nan_json(good, f): return save(load(good.read_bytes()),
                                    {files.KEY: '{"kind":"SuperNet","config":NaN,"about":{},"sha256":"0"}'})
def _no_sum(good, f): return save(load(good.read_bytes()), {files.KEY: '{"kind":"SuperNet","config":{},"about":{}}'})
def _sum_number(good, f): return save(load(good.read_bytes()),
                                      {files.KEY: '{"kind":"SuperNet","config":{},"about":{},"sha256":5}'})
def _huge_net(good, f):
    with open(f, 'wb') as out: out.truncate(2**33)
for name,make in dict(types_renamed=_renamed_type, a_pickle=_pickled, saved_by_torch=_torch_saved,
                      of_somebody_else=_somebody_elses,
        of_an_earlier_version=_old, a_header_without_end=_endless_header, a_nested_header=_nested_header,
        no_JSON=_no_json, deep_JSON=_deep_json,
        a_JSON_list=_json_list, NaN_in_JSON=_nan_json, no_checksum=_no_sum, a_number_as_checksum=_sum_number,
        of_8_GiB=_huge_net).items():
    bad_weights(name.replace('_', ' '), make)
for i in range(8): bad_weights(f'cut after {i}/8', lambda good, f, i=i: good.read_bytes()[:good.stat().st_size*i//8])
for i in range(16): bad_weights(f'bit flipped, seed {i}', lambda good, f, i=i: flipped(good.read_bytes(), i))
bad_weights('a byte more', lambda good, f: good.read_bytes()+b'x')
bad_weights('nothing there', lambda good, f: None, 'No such file')
bad_weights('a folder', lambda good, f: f.mkdir(), 'not a regular file')
bad_weights('a pipe', lambda good, f: os.mkfifo(f), 'not a regular file')
bad_weights('a device', lambda good, f: f.symlink_to('/dev/zero'), 'not a regular file')
bad_weights('a link to nowhere', lambda good, f: f.symlink_to('nowhere'), 'No such file')

@case('weight files', 'a link to a good one', 'handled')
def _(world, folder):
    (folder/'net.safetensors').symlink_to(world.weights)
    assert 'same as saved' in succeeds('supernet_eval', folder/'net.safetensors', '--data-root', world.root, '--device',
                                       'cpu')

def in_weights(name, damage, reason, n=1):
    "Something wrong in a study's folder of weights: it is named, nothing is scored with it, and runs stay"
    def attempt(world, folder):
        out = copy(world.study, folder/'out')
        damage(world, out/'weights'/f'{world.supernet}.safetensors')
        before = snapshot(out)
        e = command('supernet_calibrate', '--out', out, '--data-root', world.root, '--device', 'cpu', '--jobs', 1)
        assert e.code in (1, 2) and reason in e.out+e.err and len(e.err.splitlines())==1, e
        assert snapshot(out)==before
    add('weight files', f'in weights/: {name}', attempt)

def _cut(world, path): path.write_bytes(path.read_bytes()[:-100])
def _emptied(world, path): path.write_bytes(b'')
def _other_net(world, path): save_net(SuperNet((2,4), (2,1)), path, dataset='KMNIST')
def _other_space(world, path): save_net(SuperNet((2,4), (2,2)), path, **load_net(path)[1]|dict(scores=[]))
def _from_scratch(world, path): save_net(SubNet((1,1), (2,4)), path, dataset='KMNIST')
def _other_seed(world, path): save_net(load_net(path)[0], path, **load_net(path)[1]|dict(seed=1))
def _folder(world, path): path.unlink(); path.mkdir()
in_weights('cut', _cut, 'unreadable')
in_weights('empty', _emptied, 'unreadable')
in_weights('of nobody knows what', _other_net, '.safetensors')
in_weights('of another space', _other_space, 'architecture')
in_weights('from scratch', _from_scratch, '.safetensors')
in_weights('of another run', _other_seed, '.safetensors')
in_weights('a folder', _folder, 'regular file')

# Data files

def bad_data(name, change, reason=''):
    "A data root that must be refused before anything is written"
    def attempt(world, folder):
        root = folder/'root'
        change(root, tiny_arrays())
        refused('supernet_study', *study_options(root, folder/'out'), says=(reason,))
        assert not (folder/'out').exists()
    add('data files', name, attempt)

def _fields(change):
    "A root with changed arrays"
    def write(root, arrays):
        change(arrays)
        write_root(root, arrays)
    return write

def _less_labels(a): a[1] = a[1][:-1]
def _more_labels(a): a[1] = np.append(a[1], 1)
def _less_test_labels(a): a[3] = a[3][:-1]
def _more_test_labels(a): a[3] = np.append(a[3], 1)
def _label_10(a): a[1][5] = 10
def _label_200(a): a[3][5] = 200
def _test_size(a): a[2] = a[2][:,:20,:20]
def _test_larger(a): a[2] = np.pad(a[2], ((0,0), (2,2), (2,2)))
def _constant(a): a[0][:] = 7
def _three(a): a[0],a[1] = a[0][:3],a[1][:3]
def _none(a): a[0],a[1] = a[0][:0],a[1][:0]
def _no_test(a): a[2],a[3] = a[2][:0],a[3][:0]
def _flat(a): a[0] = a[0].reshape(600, -1)
def _no_pixels(a): a[0],a[2] = a[0][:,:0],a[2][:,:0]
for name,change,reason in [('fewer labels', _less_labels, '600 training images'),
                           ('more labels', _more_labels, '600 training images'),
        ('fewer test labels', _less_test_labels, '200 test images'),
        ('more test labels', _more_test_labels, '200 test images'),
        ('a label 10', _label_10, '0..9'), ('a test label 200', _label_200, '0..9'),
        ('smaller test images', _test_size, 'shape'),
        ('larger test images', _test_larger, 'shape'), ('images all equal', _constant, 'equal'),
        ('three images', _three, 'at least'),
        ('no images', _none, ''), ('no test images', _no_test, ''), ('images without pixels', _no_pixels, ''),
        ('images in rows', _flat, '')]:
    bad_data(name, _fields(change), reason)

def _file(i, make):
    "A root in which the i-th file is another"
    def write(root, arrays):
        write_root(root)
        path = root/f'{IDX_FILES[i]}.gz'
        good = path.read_bytes()
        path.unlink()
        made = make(good, path)
        if made is not None: path.write_bytes(made)
    return write

def _bomb(good, path): return gzip.compress(gzip.decompress(good)+bytes(300*2**20), 1)
def _bomb_of_labels(good, path): return gzip.compress(bytes([0, 0, 8, 1])+bytes(200*2**20), 1)
def _promise(good, path): return gzip.compress(bytes([0, 0, 8, 3])+b'\xff'*12)
def _wrong_kind(good, path): return gzip.compress(idx(np.zeros((600, 2, 2, 2))))
def _sum(good, path): return good[:-8]+bytes(4)+good[-4:]
for i,part in enumerate(('images', 'labels', 'test images', 'test labels')):
    for n in (0, 5, 20): bad_data(f'{part} cut after {n} bytes', _file(i, lambda good, path, n=n: good[:n]),
                                  IDX_FILES[i])
    bad_data(f'{part} cut at the end', _file(i, lambda good, path: good[:-9]), IDX_FILES[i])
    bad_data(f'{part} no gzip', _file(i, lambda good, path: b'not a gzip file'), IDX_FILES[i])
    bad_data(f'{part} a wrong gzip sum', _file(i, _sum), IDX_FILES[i])
    bad_data(f'{part} missing', _file(i, lambda good, path: None))
    bad_data(f'{part} of more dimensions', _file(i, _wrong_kind), IDX_FILES[i])
bad_data('a gzip bomb of images', _file(0, _bomb), 'more than')
bad_data('a gzip bomb of labels', _file(1, _bomb_of_labels), IDX_FILES[1])
bad_data('a promise of 2**96 bytes', _file(0, _promise), 'promises')
bad_data('a folder as file', _file(0, lambda good, path: path.mkdir()), IDX_FILES[0])
bad_data('a pipe as file', _file(3, lambda good, path: os.mkfifo(path)), IDX_FILES[3])
bad_data('a device as file', _file(1, lambda good, path: path.symlink_to('/dev/zero')), IDX_FILES[1])
bad_data('a file as root', lambda root, arrays: root.write_text('x'), 'no such folder')
bad_data('an empty root', lambda root, arrays: root.mkdir(), 'has neither')

@case('data files', 'MNIST with a changed pixel')
def _(world, folder):
    root = write_root(folder/'root')
    refused('supernet_study', *study_options(root, folder/'out', '--dataset', 'MNIST'),
            says=('SHA-256 expected', 'found'))

@case('data files', 'CIFAR10 with code in its pickles')
def _(world, folder):
    root,trace = folder/'cifar-10-batches-py',folder/'planted'
    root.mkdir()
    with patch.dict(os.environ, PLANTED=str(trace)):
        for f in [*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch',
                  'batches.meta']: (root/f).write_bytes(pickle.dumps(Planted()))
    refused('supernet_study', *study_options(folder, folder/'out', '--dataset', 'CIFAR10'), says=('CIFAR10',))
    assert not trace.exists() and not (folder/'out').exists()

@case('data files', 'others than those of the runs there')
def _(world, folder):
    out = copy(world.study, folder/'out')
    root = write_root(folder/'root', tiny_arrays(1))
    refused('supernet_study', *study_options(root, out), says=('other data',), within=out)

# One's own images

def bad_images(name, change, reason, *more):
    "A folder of images, changed, that must be refused before anything is written"
    def attempt(world, folder):
        photos = copy(world.photos, folder/'photos')
        change(photos)
        refused('supernet_train', folder/'net.safetensors', '--images', photos, *PHOTO_OPTIONS, *more, says=(reason,),
                within=folder)
    add('own images', name, attempt)

def _of(change):
    "A change of the first image of a class"
    def at(photos): change(photos/'left'/'00.png')
    return at

def _replaced(make):
    "Something else in its place"
    def change(f): f.unlink(); make(f)
    return _of(change)

def _drawn(array): return _of(lambda f: Image.fromarray(array).save(f))
def _cleared(photos): shutil.rmtree(photos); photos.mkdir()
def _one_class(photos): shutil.rmtree(photos/'left')
def _flattened(photos):
    for f in sorted(photos.glob('*/*')): f.rename(photos/f'{f.parent.name}-{f.name}')
    for d in [d for d in photos.iterdir() if d.is_dir()]: d.rmdir()
def _kept(n): return lambda photos: [f.unlink() for f in sorted((photos/'left').iterdir())[n:]]
def _all_drawn(array): return lambda photos: [Image.fromarray(array).save(f) for f in photos.rglob('*.png')]
def _beside(name, text): return lambda photos: (photos/'left'/name).write_text(text)
_grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
for name,change,reason in [
    ('an empty folder', _cleared, 'no subfolders'), ('no subfolders', _flattened, 'no subfolders'),
    ('one class', _one_class, 'has one class, right'), ('an empty class', _kept(0), 'class left has 0'),
    ('one image of a class', _kept(1), 'class left has 1'), ('nine of a class', _kept(9), 'give at least 10'),
    ('text as .png', _of(lambda f: f.write_text('hello')), '00.png: cannot be read'),
    ('an empty image', _of(lambda f: f.write_bytes(b'')), '00.png: cannot be read'),
    ('an image cut short', _of(lambda f: f.write_bytes(f.read_bytes()[:200])), '00.png: cannot be read'),
    ('a stray text', _beside('notes.txt', 'x'), 'notes.txt: cannot be read'),
    ('a folder in a class', _replaced(lambda f: f.mkdir()), 'not a regular file'),
    ('a pipe', _replaced(os.mkfifo), 'not a regular file'),
    ('a device', _replaced(lambda f: f.symlink_to('/dev/zero')), 'not a regular file'),
    ('a link to nowhere', _replaced(lambda f: f.symlink_to('nowhere')), 'cannot be read'),
    ('several sizes', _drawn(_grey[:12]), '00.png 16 x 12'),
    ('16 bits', _drawn(_grey.astype(np.uint16)), 'more than 8 bits'),
    ('all equal', _all_drawn(_grey*0), 'equal'), ('of one pixel', _all_drawn(_grey[:1,:1]), 'give a size from 8'),
    ('a bomb', _of(lambda f: Image.new('1', (10_000, 9_000)).save(f)), '00.png: cannot be read')]:
    bad_images(name, change, reason)

def bad_arrays(name, make, reason):
    "A .npz file that must be refused; whatever is pickled in it stays so"
    def attempt(world, folder):
        f,trace = folder/'mine.npz',folder/'planted'
        with patch.dict(os.environ, PLANTED=str(trace)):
            made = make(f)
            if isinstance(made, dict): np.savez(f, **made)
            refused('supernet_train', folder/'net.safetensors', '--images', f, *PHOTO_OPTIONS, says=(reason,),
                    within=folder)
        assert not trace.exists()
    add('own images', f'.npz: {name}', attempt)

_x,_y = np.random.default_rng(0).integers(0, 256, (40, 16, 16)).astype(np.uint8),np.arange(40)%2
_planted = np.array([Planted()]*40, object)
def _names(*names): return dict(x=_x, y=_y, classes=np.array(names))
def _zipped(f):
    with zipfile.ZipFile(f, 'w') as z: z.writestr('x', 'hello'); z.writestr('y', 'hello')
for name,made,reason in [
    ('no arrays', dict(), 'give x and y'), ('no labels', dict(x=_x), "has ['x']"),
    ('others', dict(a=_x, b=_y), 'give x and y'),
    ('NaN', dict(x=np.full(_x.shape, np.nan), y=_y), 'x is float64'), ('floats', dict(x=_x/255, y=_y), 'give uint8'),
    ('int64', dict(x=_x.astype(int), y=_y), 'x is int64'), ('rows', dict(x=_x.reshape(40, -1), y=_y), '(40, 256)'),
    ('two channels', dict(x=np.stack([_x]*2, -1), y=_y), '(40, 16, 16, 2)'),
    ('channels first', dict(x=np.stack([_x]*3, 1), y=_y), '(40, 3, 16, 16)'),
    ('no images', dict(x=_x[:0], y=_y[:0]), '(0, '),
    ('no pixels', dict(x=_x[:,:0], y=_y), '(40, 0, 16)'), ('few pixels', dict(x=_x[:,:1], y=_y), '16 x 1 pixels'),
    ('many pixels', dict(x=np.zeros((40, 2000, 8), np.uint8), y=_y), '8 x 2000 pixels'),
    ('a number', dict(x=np.uint8(1), y=_y), 'x is uint8 ()'),
    ('fewer labels', dict(x=_x, y=_y[:39]), 'y is int64 (39,)'),
    ('labels (N, 1)', dict(x=_x, y=_y[:,None]), '(40, 1)'), ('labels NaN', dict(x=_x, y=_y*np.nan), 'y is float64'),
    ('labels text', dict(x=_x, y=_y.astype(str)), 'y is <U'), ('labels bool', dict(x=_x, y=_y>0), 'y is bool'),
    ('labels -1', dict(x=_x, y=_y-1), 'from 0'), ('labels of one class', dict(x=_x, y=_y*0), 'of two'),
    ('a class left out', dict(x=_x, y=_y*2), '[20, 0, 20]'), ('few of a class', dict(x=_x[:12], y=_y[:12]), '[6, 6]'),
    ('labels of 10**12', dict(x=_x, y=_y*10**12), 'label 1000000000000'),
    ('labels of 2**64', dict(x=_x, y=_y.astype(np.uint64)*np.uint64(2**64-1)), 'label 18446744073709551615'),
    ('three names', _names('a', 'b', 'c'), 'give 2 different names'),
    ('equal names', _names('a', 'a'), 'give 2 different'),
    ('names (2, 2)', _names(['a', 'b'], ['c', 'd']), 'give 2 different'),
    ('names NaN', _names(np.nan, 1.), 'give 2 different'),
    ('one text as names', dict(x=_x, y=_y, classes=np.array('ab')), 'give 2 different'),
    ('objects as images', dict(x=_planted, y=_y), 'allow_pickle=False'),
    ('objects as labels', dict(x=_x, y=_planted), 'allow_pickle=False'),
    ('objects as names', dict(x=_x, y=_y, classes=_planted[:2]), 'allow_pickle=False'),
    ('objects beside', dict(x=_x, y=_y, other=_planted), 'allow_pickle=False')]:
    bad_arrays(name, lambda f, made=made: made, reason)
bad_arrays('files that are no arrays', _zipped, 'no array: x')
bad_arrays('a pickle', lambda f: f.write_bytes(pickle.dumps(Planted())), 'cannot be read')
bad_arrays('text', lambda f: f.write_text('hello'), 'cannot be read')
bad_arrays('nothing', lambda f: f.touch(), 'cannot be read')
bad_arrays('a pipe', os.mkfifo, 'not a regular file')

@case('own images', 'palettes, transparency, names for a formula', 'handled')
def _(world, folder):
    "Read, and drawn as they are called"
    photos,seen = copy(world.photos, folder/'photos'),bytes(range(256))
    for f in photos.rglob('*.png'): Image.open(f).convert('P').save(f, transparency=seen)
    (photos/'left').rename(photos/'$a_{$')
    a,b,png = folder/'a.safetensors', folder/'$_{.safetensors', folder/'a.png'
    succeeds('supernet_train', a, '--images', photos, *PHOTO_OPTIONS, '--arch', '1,1')
    taken,about = load_net(a)
    with torch.no_grad(): taken.head.linear.weight *= -1; taken.head.linear.bias *= -1
    save_net(taken, b, **about)
    said = succeeds('supernet_predict', a, *sorted(photos.rglob('*.png')), '--compare', b, '--png', png)
    assert 'disagree on 24 of 24' in said and png.stat().st_size

@case('own images', 'not square', 'handled')
def _(world, folder):
    "A saved network finds images as it saw them"
    photos,f,taken = copy(world.photos, folder/'photos'),folder/'a.safetensors',folder/'b.safetensors'
    for p in photos.rglob('*.png'): Image.open(p).crop((0, 0, 16, 9)).save(p)
    succeeds('supernet_train', f, '--images', photos, *PHOTO_OPTIONS)
    assert succeeds('supernet_eval', f, '--images', photos, *ON_CPU).count('same as saved')==2
    succeeds('supernet_choose', f, '--images', photos, *ON_CPU, '--save', taken)
    assert load_net(taken)[1]['size']==[9,16]

@case('own images', 'more of them when one chooses')
def _(world, folder):
    "Another split: images of the training would be among those that choose"
    photos = copy(world.photos, folder/'photos')
    for i in range(9): Image.fromarray(np.full((16,16,3), 255-i, np.uint8)).save(photos/'left'/f'white{i}.png')
    choose = 'supernet_choose', world.own/'supernet.safetensors', '--images', photos, *ON_CPU
    check_refused(command(*choose), 'was trained on other images')

@case('own images', 'beside other data in a study', 'handled')
def _(world, folder):
    "Each supernet is calibrated on its own; other images are refused"
    out,photos = copy(world.study, folder/'out'),copy(world.photos, folder/'photos')
    shape = '--widths', '2,4', '--depths', '2,1', '--supernet-epochs', 1, '--scratch-epochs', 1, '--jobs', 1
    succeeds('supernet_study', '--images', photos, '--size', 8, *shape, *ON_CPU, '--batch-size', 8, '--out', out)
    options = '--out', out, '--data-root', world.root, '--device', 'cpu', '--jobs', 1, '--images', photos
    check_refused(command('supernet_calibrate', *options), 'was computed on other data')
    succeeds('supernet_calibrate', *options, '--size', 8)
    assert len(Results(out, readonly=True).beside('calibration'))==2

# What a stopped training has left

def kept_training(name, change, *args, says='checkpoint'):
    "The checkpoint of a training in the way of another, or damaged: refused, and it stays as it is"
    def attempt(world, folder):
        f = folder/'net.safetensors'
        def stop(epoch, net, hist):
            if epoch==2: raise BadInput('stopped')
        options = '--images', world.photos, *PHOTO_OPTIONS, '--epochs', 3
        with patch.object(commands, 'run', functools.partial(_stopped_run, stop)):
            check_refused(command('supernet_train', f, *options), 'stopped')
        kept = folder/f'{f.name}.checkpoint'
        change(kept)
        refused('supernet_train', f, *options, *args, says=(says,), within=folder)
    add('checkpoints', name, attempt)

def _stopped_run(stop, *args, on_epoch, **kw): return run(*args, on_epoch=stop, **kw)
def _as_it_is(kept): assert kept.exists()
def _state(change):
    def damage(kept):
        state = torch.load(kept, weights_only=True)
        change(state)
        torch.save(state, kept)
    return damage

for name,args,says in [('another lr', ('--lr', .2), 'lr is'), ('other batches', ('--batch-size', 4), 'batch_size is'),
                       ('another weight decay', ('--weight-decay', .1), 'weight_decay is'),
                       ('more epochs', ('--epochs', 4), 'not 4'),
                       ('another seed', ('--seed', 1), 'not 1'), ('images of another size', ('--size', 8), 'another size'),
                       ('fewer images', ('--n-train', 9), 'fewer'),
                       ('another sampler', ('--sampler', 'fair'), 'Fair'),
                       ('other widths', ('--widths', '2,5'), 'widths is'),
                       ('from scratch', ('--arch', '1,1'), 'SubNet')]:
    kept_training(name, _as_it_is, *args, says=says)
kept_training('cut', lambda f: f.write_bytes(f.read_bytes()[:-50]), says='remove it')
kept_training('empty', lambda f: f.write_bytes(b''), says='remove it')
kept_training('a pickle', lambda f: f.write_bytes(pickle.dumps(Planted())), says='remove it')
kept_training('a folder', lambda f: (f.unlink(), f.mkdir()), says='it is a folder')
kept_training("somebody else's", lambda f: torch.save(dict(x=1), f), says='of another training')
for key in ('net', 'opt', 'sched', 'order', 'sampler', 'hist'):
    kept_training(f'without {key}', _state(lambda state, key=key: state.pop(key)), says='damaged')
    kept_training(f'{key} a number', _state(lambda state, key=key: state.update({key: 5})), says='damaged')
kept_training('training a number', _state(lambda state: state.update(training=5)), says='of another training')

# Options

def bad_option(name, *args, says=''):
    "Refused before anything is loaded or written; FILE, OUT and ROOT stand for paths"
    def attempt(world, folder):
        paths = dict(FILE=str(folder/'net.safetensors'), OUT=str(folder/'out'), ROOT=str(world.root),
                     STUDY=str(world.study), NET=str(world.weights), PHOTOS=str(world.photos),
                     IMAGE=str(world.photos/'left'/'00.png'), OWN=str(world.own/'supernet.safetensors'),
                     TAKEN=str(world.own/'net.safetensors'), OTHER=str(world.own/'other.safetensors'),
                     TWO=str(world.own/'two.safetensors'))
        refused(name, *(paths.get(a, a) for a in args), says=(says,), within=folder)
        assert not list(folder.iterdir())
    add('options', f'{name} {" ".join(str(a)[:24] for a in args if a not in ("FILE", "OUT"))}', attempt)

NINES = '9'*5000
for option,values in {
    '--threads': '1000000 2147483648 0 -1 x 1.5 '+NINES, '--jobs': '0 -1 1000000 x '+NINES,
    '--supernet-epochs': f'0 -1 x 1e3 {10**400} {NINES}', '--scratch-epochs': f'0 -1 nan {10**400}',
    '--n-train': f'0 -1 60000 x {NINES}',
    '--seeds': f'-1 1,-2 x 1,,2 , 4294967296 1.5 {NINES}',
    '--widths': f'16 0,2 -1,2 a,b 1000000000,1000000000 16,32,64 2,4097 {NINES},2',
    '--depths': f'3 0,1 3000,3000 99999,99999 1000000000,1 3,3,3 x {NINES}', '--dataset': 'mnist ../x x',
    '--sampler': 'best ../x few_shot_4',
    '--device': 'tpu cuda:99 x', '--precision': 'int8 bf61 x', '--loss': 'kd x', '--gradient': 'x', '--bn': 'shared x',
    '--head': 'x', '--state': 'x',
    '--data-root': '/nowhere', '--gpu-share': '0.5 nan 2 x'}.items():
    for value in values.split(): bad_option('supernet_study', '--out', 'OUT', option, value)
for option in 'threads seeds widths depths dataset sampler device precision loss bn data-root jobs'.split():
    bad_option('supernet_study', '--out', 'OUT', f'--{option}', '')
bad_option('supernet_study', '--out', '')
bad_option('supernet_study', '--out', 'OUT', '--seed', 1, says='--seed')
bad_option('supernet_study', '--out', 'OUT', '--nonsense', says='--nonsense')
bad_option('supernet_study', '--out', 'OUT', '--seeds', says='expected one argument')
bad_option('supernet_study', '--out', 'OUT', 'x', says='x')
bad_option('supernet_study', '--out', '   ')
bad_option('supernet_study', '--out', 'OUT', '--loss', 'in_place', says='needs several networks')
bad_option('supernet_study', '--out', 'OUT', '--jobs', 2, '--cluster', 'auto', says='--cluster')
for arch in ('', '0,1', '4,1', '2', '2->3', '1,x', '1,1,1', '1.5,1', '-1,1', '١,١', NINES, f'{NINES},1'):
    bad_option('supernet_train', 'FILE', '--arch', arch)
for option,values in {'--epochs': f'0 -1 x {10**400}', '--seed': f'-1 4294967296 x {NINES}',
                      '--widths': '1000000000,1000000000', '--depths': '3000,3000',
                      '--threads': '1000000', '--n-train': '60000'}.items():
    for value in values.split(): bad_option('supernet_train', 'FILE', f'{option}={value}')
bad_option('supernet_train', 'FILE', '--arch', '1,3', '--sampler', 'fair', says='for supernets')
bad_option('supernet_train', says='required')
for args in (('--arch', '3,1'), ('--arch', ''), ('--threads', 1000000), ('--dataset', 'x'), ('--device', 'tpu'),
             ('--precision', 'x'), ('--data-root', '/nowhere')):
    bad_option('supernet_eval', 'NET', *args)
for args in (('--threads', 0), ('--jobs', 0), ('--out', ''), ('--out', '/nowhere'),
             ('--seeds', 1)): bad_option('supernet_calibrate', *args)
for args in (('--threads', 0), ('--out', '/nowhere'), ('--seeds', ''), ('--epochs', 0),
             ('--epochs', 10**400)): bad_option('supernet_probe', *args)
bad_option('supernet_probe', '--out', 'STUDY', '--seeds', '0,7', says='run supernet_study first')
for args in (('--out', '/nowhere'), ('--out', ''), ('--out', '/dev/null'), ('x',)): bad_option('supernet_report', *args)
for args in (('--steps', 1000000), ('--steps', 8), ('--steps', NINES), ('--repeats', 0), ('--repeats', 10**6),
             ('--device', 'tpu'), ('--precision', 'x'), ('--out', '')):
    bad_option('supernet_bench', *args)

# Options of own images, of the recipe, and of what is done with a network

for name,first in dict(supernet_train='FILE', supernet_study='--keep').items():
    for option,values in {'--size': '0 -1 7 1025 1.5 big '+NINES, '--lr': '0 -1 nan inf 1e308 1,5 x',
                          '--batch-size': f'0 -3 1.5 1000001 x {NINES}',
                          '--weight-decay': '-1 nan inf 1e300 x'}.items():
        for value in (*values.split(), ''):
            more = ('--out', 'OUT') if name=='supernet_study' else ()
            bad_option(name, first, '--images', 'PHOTOS', *more, f'{option}={value}', says=value[:2])
for args,says in [
    (('--images', 'PHOTOS', '--dataset', 'KMNIST'), "dataset 'KMNIST': not beside --images"),
    (('--images', 'PHOTOS', '--dataset', 'MNIST'), "dataset 'MNIST': not beside --images"),
    (('--images', 'PHOTOS', '--data-root', 'ROOT'), 'not beside --images'), (('--size', 32), 'for --images only'),
    (('--images', 'PHOTOS', '--n-train', 19), 'choose 1..18'),
    (('--images', 'PHOTOS', '--n-train', 0), 'n_train 0: choose at least 1'),
    (('--images', ''), 'give a folder'), (('--images', ' '), 'give a folder'), (('--images', '/nowhere'), 'no such'),
    (('--images', '/dev/zero'), 'give a folder'), (('--images', 'IMAGE'), 'give a folder'),
    (('--images', 'n'*300), 'too long'), (('--images', 'a\0b'), 'no such'), (('--images',), 'expected one argument'),
    (('--keep',), '--keep')]: bad_option('supernet_train', 'FILE', *args, says=says)
bad_option('supernet_study', '--out', 'OUT', '--keep=yes', says='--keep')
bad_option('supernet_study', '--out', 'OUT', '--keep', 'yes', says='yes')
bad_option('supernet_predict', '--version=2', says='--version')
bad_option('supernet_calibrate', '--out', 'STUDY', '--size', 8, says='for --images only')
for name in ('supernet_eval', 'supernet_choose'):
    for args,says in [
        (('OWN',), 'give --images'), (('OWN', '--images', ''), 'give a folder'),
        (('OWN', '--images', '/nowhere'), 'no such'), (('OWN', '--images', 'ROOT'), 'no subfolders'),
        (('OWN', '--images', 'PHOTOS', '--dataset', 'KMNIST'), 'not beside --images'),
        (('OWN', '--images', 'PHOTOS', '--data-root', 'ROOT'), 'not beside --images'),
        (('OWN', '--dataset', 'KMNIST', '--data-root', 'ROOT'), "'left'"), (('OWN', '--dataset', ''), 'dataset'),
        (('NET', '--images', 'PHOTOS'), "'left'"), (('PHOTOS',), 'not a regular file'), ((), 'required')]:
        bad_option(name, *args, *ON_CPU, says=says)
for option in ('--max-macs', '--max-params'):
    for value in ('7Q', '-5', '0', 'nan', 'inf', '1e6', '7.55', '0x10', '7MM', 'M', '1_000', '٧M', '7 M', '', NINES):
        bad_option('supernet_choose', 'OWN', f'{option}={value}', says='such as 7000000, 7.5M or 250k')
    bad_option('supernet_choose', 'OWN', '--images', 'PHOTOS', *ON_CPU, option, '1', says='the least is')
for args,says in [
    (('TAKEN',), 'nothing to choose'), (('OWN', 'OWN'), 'unrecognized'), (('OWN', '--evaluations', 0), 'choose 1..'),
    (('OWN', '--evaluations', '1e3'), '1e3'), (('OWN', '--save', ''), 'ends in .safetensors'),
    (('OWN', '--save', 'n.pt'), 'ends in .safetensors'), (('OWN', '--save', 'OWN'), 'would replace the supernet'),
    (('OWN', '--save', '/proc/n.safetensors'), 'cannot write'), (('OWN', '--save', 'PHOTOS'), 'ends in .safetensors'),
    (('OWN', '--png', ''), 'ends in .png'), (('OWN', '--png', 'n.jpg'), 'ends in .png'),
    (('OWN', '--png', 'IMAGE'), 'another file'), (('OWN', '--png', '/proc/n.png'), 'cannot write')]:
    bad_option('supernet_choose', *args, *([] if args[-1]=='OWN' else ['--images', 'PHOTOS']), says=says)
for args,says in [
    (('TAKEN',), 'images'), ((), 'required'), (('TAKEN', '/nowhere'), 'No such file'), (('TAKEN', ''), 'not a regular'),
    (('TAKEN', 'PHOTOS'), 'not a regular'), (('TAKEN', '/dev/zero'), 'not a regular'), (('TAKEN', 'n'*300), 'too long'),
    (('TAKEN', 'TAKEN'), 'cannot identify'), (('TAKEN', 'a\0b'), 'null byte'),
    (('TAKEN', 'IMAGE', '/nowhere'), '/nowhere'),
    (('OWN', 'IMAGE'), 'holds a supernet'), (('IMAGE', 'IMAGE'), 'unreadable'), (('TWO', 'IMAGE'), '2 channels'),
    (('TAKEN', 'IMAGE', '--compare', 'OTHER'), "['cat', 'dog']"), (('TAKEN', 'IMAGE', '--compare', 'OWN'), 'supernet'),
    (('TAKEN', 'IMAGE', '--compare', ''), 'cannot read'), (('TAKEN', 'IMAGE', '--compare', 'IMAGE'), 'unreadable'),
    (('TAKEN', 'IMAGE', '--compare'), 'expected one argument'), (('TAKEN', 'IMAGE', '--png', ''), '--compare'),
    (('TAKEN', 'IMAGE', '--png', 'n.png'), '--compare'), (('TAKEN', 'IMAGE', '--dataset', 'x'), "dataset 'x'"),
    (('TAKEN', 'IMAGE', '--compare', 'TAKEN', '--png', ''), 'ends in .png'),
    (('TAKEN', 'IMAGE', '--compare', 'TAKEN', '--png', 'IMAGE'), 'another file')]:
    bad_option('supernet_predict', *args, says=says)
for args,says in [
    (('TAKEN',), 'required'), (('TAKEN', ''), '.onnx or .pt2'), (('TAKEN', 'n.txt'), '.onnx or .pt2'),
    (('TAKEN', 'n.ONNX'), '.onnx or .pt2'), (('TAKEN', 'TAKEN'), '.onnx or .pt2'),
    (('TAKEN', '.onnx'), '.onnx or .pt2'),
    (('TAKEN', '/proc/n.pt2'), 'cannot write'), (('TAKEN', f'{"n"*300}.pt2'), 'too long'),
    (('OWN', '/tmp/n.pt2'), 'holds a supernet'), (('/nowhere', '/tmp/n.pt2'), 'No such file'),
    (('PHOTOS', '/tmp/n.pt2'), 'not a regular file'), (('IMAGE', '/tmp/n.pt2'), 'unreadable'),
    (('TAKEN', '/tmp/n.pt2', '--dataset', 'x'), "dataset 'x'"),
    (('TAKEN', '/tmp/n.pt2', '--dataset', 'KMNIST', '--data-root', 'ROOT'), 'the network takes (3, 16, 16)'),
    (('TAKEN', '/tmp/n.pt2', 'n.pt2'), 'unrecognized')]: bad_option('supernet_export', *args, says=says)

@case('options', 'supernet_study --seeds 0,0', 'handled')
def _(world, folder):
    assert '3 runs, 0 already' in succeeds('supernet_study', *study_options(world.root, folder/'out', '--seeds', '0,0'))
    assert records(folder/'out')==records(world.study)

# Paths to write to

def bad_path(name, make, *args, says=''):
    "A path that cannot be written, found out before the work; what is there stays"
    def attempt(world, folder):
        path = make(folder)
        given = [path if a=='PATH' else a for a in args[1:]]
        more = tiny(world.root) if args[0]=='supernet_train' else []
        if args[0]=='supernet_study': more = study_options(world.root, path)
        before = snapshot(folder)
        e = command(args[0], *given, *more)
        check_refused(e, says)
        after = snapshot(folder)
        left = {k for k in after if before.get(k)!=after[k]!=stat.S_IFDIR}  # an empty folder may be there
        assert not left and before.keys()<=after.keys(), left
        assert not e.out, 'it began to work'
    add('paths', f'{args[0]}: {name}', attempt)

def made(folder, name, f):
    f(folder/name)
    return folder/name

def _text(p): p.write_text('mine')
def _link_to_text(p): _text(p.parent/'target'); p.symlink_to('target')
def _link_to_folder(p): (p.parent/'target').mkdir(); p.symlink_to('target')
_things = dict(other_file=_text, link=_link_to_text, link_to_nowhere=lambda p: p.symlink_to('nowhere'),
               folder=lambda p: p.mkdir(), pipe=os.mkfifo,
               link_to_dev_null=lambda p: p.symlink_to('/dev/null'))
for name,f in _things.items():
    bad_path(name.replace('_', ' '), lambda folder, f=f: made(folder, 'net.safetensors', f), 'supernet_train', 'PATH')
bad_path('/dev/null', lambda folder: '/dev/null', 'supernet_train', 'PATH', says='safetensors')
bad_path('another ending', lambda folder: folder/'net.pt', 'supernet_train', 'PATH', says='safetensors')
bad_path('empty', lambda folder: '', 'supernet_train', 'PATH', says='safetensors')
bad_path('a name of 300 characters', lambda folder: folder/f'{"n"*300}.safetensors', 'supernet_train', 'PATH',
         says='too long')
bad_path('a zero byte', lambda folder: f'{folder}/a\0b.safetensors', 'supernet_train', 'PATH')
bad_path('below a file', lambda folder: made(folder, 'file', _text)/'net.safetensors', 'supernet_train', 'PATH',
         says='cannot write')
bad_path('below /proc', lambda folder: '/proc/net.safetensors', 'supernet_train', 'PATH', says='cannot write')
for name in ('supernet_study', 'supernet_bench'):
    option = ['--out', 'PATH'] if name=='supernet_bench' else []
    bad_path('a file', lambda folder: made(folder, 'file', _text), name, *option, says='cannot write')
    bad_path('below a file', lambda folder: made(folder, 'file', _text)/'out', name, *option, says='cannot write')
    bad_path('a link to nowhere', lambda folder: made(folder, 'link', lambda p: p.symlink_to('/nowhere/at/all')), name,
             *option, says='cannot write')
    bad_path('a name of 300 characters', lambda folder: folder/('n'*300), name, *option, says='too long')
    bad_path('a zero byte', lambda folder: f'{folder}/a\0b', name, *option)
    bad_path('below /proc', lambda folder: '/proc/out', name, *option, says='cannot write')
    bad_path('/dev/null', lambda folder: '/dev/null', name, *option, says='cannot write')
for part in ('runs', 'weights', 'report'):
    bad_path(f'{part} is a file', lambda folder, part=part: made(folder, 'out', lambda p: (p.mkdir(), _text(p/part))),
             'supernet_study')
bad_path('runs is a file', lambda folder: made(folder, 'out', lambda p: (p.mkdir(), _text(p/'runs'))),
         'supernet_report', '--out', 'PATH')

@case('paths', 'supernet_train: a saved network there', 'handled')
def _(world, folder):
    f = folder/'net.safetensors'
    f.write_bytes(world.weights.read_bytes())
    succeeds('supernet_train', f, *tiny(world.root), '--epochs', 1, '--seed', 3)
    assert load_net(f)[1]['seed']==3 and [p.name for p in folder.iterdir()]==[f.name]

@case('paths', 'supernet_study: a link to a folder', 'handled')
def _(world, folder):
    (folder/'there').mkdir()
    (folder/'out').symlink_to('there')
    succeeds('supernet_study', *study_options(world.root, folder/'out'))
    assert records(folder/'there')==records(world.study)

@case('paths', 'supernet_study: any alphabet', 'handled')
def _(world, folder):
    out = folder/'ß λ 訓練\n\udcff'
    succeeds('supernet_study', *study_options(world.root, out))
    assert records(out)==records(world.study)

@case('paths', 'supernet_report: report is a file')
def _(world, folder):
    out = copy(world.study, folder/'out')
    for f in sorted((out/'report').rglob('*'), reverse=True): f.rmdir() if f.is_dir() else f.unlink()
    (out/'report').rmdir()
    (out/'report').write_text('mine')
    refused('supernet_report', '--out', out, says=('report',), within=out)

@case('paths', 'supernet_report: a folder in place of a table')
def _(world, folder):
    out = copy(world.study, folder/'out')
    table = next((out/'report').rglob('table.md'))
    table.unlink()
    table.mkdir()
    refused('supernet_report', '--out', out, says=('table.md',), within=out)

# Python calls

X,Y = torch.linspace(-1, 1, 8*64).reshape(8, 1, 8, 8),torch.arange(8)
CPU = Runtime('cpu', 'fp32')

def bad_call(name, f, says=''):
    "A call that must raise `BadInput` with one short line"
    def attempt(world, folder):
        try: f(folder)
        except BadInput as e: assert 0<len(str(e))<500 and '\n' not in str(e) and says in str(e), e
        else: raise AssertionError('accepted')
        assert not list(folder.iterdir())
    add('Python calls', name, attempt)

def net(): return SubNet((1,1), (2,4))
def supernet(): return SuperNet((2,4), (2,1))
def frozen(n):
    for p in n.parameters(): p.requires_grad_(False)
    return n
def filled_with(n, value):
    with torch.no_grad(): next(n.parameters()).fill_(value)
    return n
def with_value(x, value):
    x = x.clone()
    x[3,0,2,2] = value
    return x

for name,(x,y) in {
    'labels (N, 1)': (X, Y[:,None]), 'fewer labels': (X, Y[:7]), 'more labels': (X, torch.arange(9)),
    'one-hot labels': (X, torch.eye(8)),
    'floating labels': (X, Y.float()), 'bool labels': (X, Y>3), 'negative labels': (X, Y-1),
    'labels a list': (X, list(range(8))),
    'no labels': (X, None), 'nothing': (X[:0], Y[:0]), 'images uint8': (X.byte(), Y), 'images int64': (X.long(), Y),
    'images (N, H, W)': (X[:,0], Y), 'one image': (X[0], Y), 'images a list': ([1], Y),
    'NaN': (with_value(X, float('nan')), Y),
    'infinite': (with_value(X, float('inf')), Y), 'minus infinite': (with_value(X, -float('inf')), Y),
    'complex': (X+0j, Y),
    'sparse': (X.to_sparse(), Y), 'meta': (X.to('meta'), Y), 'without pixels': (X[...,:0], Y)}.items():
    bad_call(f'Split: {name}', lambda _, x=x, y=y: Split(x, y))
for device,precision in [('cpu', 'bf61'), ('cpu', 'fp16'), ('tpu', 'fp32'), ('', ''), (None, None), ('cpu', ['fp32'])]:
    bad_call(f'Runtime({device!r}, {precision!r})', lambda _, d=device, p=precision: Runtime(d, p))
for args in [('gpu',), ('cpu', 'int8'), (5,), ('cuda:9',)]: bad_call(f'runtime{args}', lambda _, a=args: runtime(*a))

def train_case(name, make, says='', **kw):
    given = dict(epochs=1, rt=CPU, tick=lambda: None)|kw
    def call(_):
        n,split = make()
        train(n, split, **given)
    bad_call(f'train: {name}', call, says)

train_case('a label of no class', lambda: (SubNet((1,1), (2,4), 1, 5), Split(X, Y)), 'label 7')
train_case('images of 3 channels', lambda: (net(), Split(X.repeat(1, 3, 1, 1), Y)), 'channels')
train_case('nothing to train', lambda: (frozen(net()), Split(X, Y)), 'nothing to train')
train_case('not a network', lambda: (None, Split(X, Y)))
train_case('tensors instead of a Split', lambda: (net(), (X, Y)), 'Split')
train_case('one value per channel', lambda: (net(), Split(X[:1,:,:2,:2], Y[:1])), 'one value per channel')
train_case('a supernet without a sampler', lambda: (supernet(), Split(X, Y)), 'sampler')
train_case('a sampler without a supernet', lambda: (net(), Split(X, Y)), sampler=make_sampler('uniform', (1,1)))
train_case('a sampler of another space', lambda: (supernet(), Split(X, Y)), sampler=make_sampler('uniform', (3,3)))
for epochs in (0, -1, 1.5, True, None, '3', 10**9, float('nan')): train_case(f'epochs {epochs!r}',
                                                                             lambda: (net(), Split(X, Y)),
                                                                             epochs=epochs)
train_case('on_epoch no function', lambda: (net(), Split(X, Y)), on_epoch=5)
train_case('a loss of one number too few', lambda: (net(), Split(X, Y)), loss=lambda *a: [])
bad_call('evaluate: labels of no class', lambda _: evaluate(SubNet((1,1), (2,4), 1, 5), Split(X, Y), CPU))
bad_call('evaluate: weights NaN', lambda _: evaluate(filled_with(net(), float('nan')), Split(X, Y), CPU), 'NaN')
bad_call('evaluate: weights infinite', lambda _: evaluate(filled_with(net(), float('inf')), Split(X, Y), CPU), 'NaN')
bad_call('evaluate: a supernet', lambda _: evaluate(supernet(), Split(X, Y), CPU))
bad_call('evaluate: tensors', lambda _: evaluate(net(), (X, Y), CPU))
bad_call('evaluate: a network of another output', lambda _: evaluate(torch.nn.Flatten(0), Split(X, Y), CPU))
bad_call('evaluate_all: a network', lambda _: evaluate_all(net(), Split(X, Y), CPU))
bad_call('evaluate_all: weights NaN', lambda _: evaluate_all(filled_with(supernet(), float('nan')), Split(X, Y), CPU),
         'NaN')
bad_call('recalibrate_bn: no images', lambda _: recalibrate_bn(net(), X[:0], rt=CPU))
bad_call('recalibrate_bn: NaN', lambda _: recalibrate_bn(net(), with_value(X, float('nan')), rt=CPU))
bad_call('recalibrate_bn: no arch', lambda _: recalibrate_bn(supernet(), X, rt=CPU))
bad_call('recalibrate_bn: an arch too large', lambda _: recalibrate_bn(supernet(), X, (3,1), rt=CPU))
bad_call('recalibrate_bn: an arch too much', lambda _: recalibrate_bn(net(), X, (1,1), rt=CPU))
bad_call('recalibrate_bn: batches of 0', lambda _: recalibrate_bn(net(), X, batch_size=0, rt=CPU))
bad_call('recalibrate_bn: no BatchNorm', lambda _: recalibrate_bn(torch.nn.Flatten(), X, rt=CPU))

class Mine(SubNet): pass

for name,make in dict(a_subclass=lambda: Mine((1,1), (2,4)), compiled=lambda: torch.compile(net()),
                      on_meta=lambda: net().to('meta'),
                      int_weights=lambda: net().to(torch.complex64), another=lambda: torch.nn.Linear(2, 2)).items():
    bad_call(f'save_net: {name}', lambda folder, make=make: save_net(make(), folder/'x.safetensors'), 'cannot save')
for name,about in dict(a_tensor=dict(x=X), nan=dict(x=float('nan')), a_set=dict(x={1}),
                       scores_of_text=dict(scores='x')).items():
    bad_call(f'save_net: {name}', lambda folder, about=about: save_net(net(), folder/'x.safetensors', **about),
             'cannot save')
bad_call('save_net: below a device', lambda _: save_net(net(), '/dev/null/x.safetensors'), 'cannot write')
bad_call('save_net: a path of 300 characters', lambda folder: save_net(net(), folder/('n'*300)), 'too long')
bad_call('save_net: a number as path', lambda _: save_net(net(), 10**400))
bad_call('save_net: an empty path', lambda _: save_net(net(), ''))
bad_call('load_net: nothing there', lambda folder: load_net(folder/'none'), 'No such file')
bad_call('load_net: a number', lambda _: load_net(1.5))
bad_call('load_net: a folder', lambda folder: load_net(folder), 'not a regular file')
for name,f in dict(widths_of_a_billion=lambda: SuperNet((10**9, 10**9)),
                   depths_of_a_billion=lambda: SuperNet((2,4), (10**9, 1)), no_widths=lambda: SuperNet(()),
        widths_as_text=lambda: SuperNet('16'), floating_widths=lambda: SuperNet((2., 4.)),
        width_0=lambda: SuperNet((0, 4)), three_widths=lambda: SuperNet((2, 4, 8)),
        unknown_bn=lambda: SuperNet((2,4), bn='x'), unknown_head=lambda: SuperNet((2,4), head='x'),
        no_classes=lambda: SuperNet((2,4), num_classes=0),
        too_many_networks=lambda: SuperNet((1,)*8, (1000,)*8), endless=lambda: SuperNet(iter(int, 1)),
        none=lambda: SuperNet(None)).items():
    bad_call(f'SuperNet: {name.replace("_", " ")}', lambda _, f=f: f())
for name,arch in dict(zero=(0, 1), large=(10**9, 1), text='1,1', short=(1,), floating=(1., 1.), true=(True, True),
                      none=None).items():
    bad_call(f'SubNet: arch {name}', lambda _, a=arch: SubNet(a, (2,4)))
    bad_call(f'forward: arch {name}', lambda _, a=arch: supernet()(X, a))
    bad_call(f'subnet: arch {name}', lambda _, a=arch: supernet().subnet(a))
for k,values in dict(batch_size=[0, -1, 1.5, None, True], lr=[0, -1, float('nan'), float('inf'), 'x', None],
                     warmup=[0, 1, 2, None], momentum=[1, -1, 'x'],
                     weight_decay=[-1, float('nan'), None]).items():
    for v in values: bad_call(f'Recipe({k}={v!r})', lambda _, k=k, v=v: Recipe(**{k: v}))
for name in ('best', '', None, 5, '../x'): bad_call(f'make_sampler({name!r})', lambda _, n=name: make_sampler(n))
for s in ('', '1', '1,x', '0,1', '4,1', '9'*5000, '1,1,1'): bad_call(f'parse_arch({s[:8]!r})', lambda _,
                                                                     s=s: parse_arch(s, (3,3)))
for saved in (None, [], {}, dict(arm='x'), 5, dict(recipe={})): bad_call(f'config_from({saved!r})', lambda _,
                                                                         s=saved: config_from(s))
for name,value in dict(loss='x', bn='shared', head=5, gradient='x', state='x').items():
    bad_call(f'supernet_config({name}={value!r})', lambda _, k=name, v=value: supernet_config(0, 1, **{k: v}))
bad_call('load_data: another name', lambda _: load_data('mnist'))
bad_call('load_data: a number', lambda _: load_data(5))
bad_call('load_data: nowhere', lambda _: load_data('KMNIST', '/nowhere'))
for n in (0, -1, 55_001, 1.5, True, 'x'): bad_call(f'load_data: n_train {n!r}', lambda _, n=n: load_data(n_train=n))
bad_call('load_data: an unknown device', lambda _: load_data(device='tpu'))
bad_call('Results: a file', lambda folder: Results('/dev/null/x'))
bad_call('Results: nothing to read', lambda folder: Results(folder, readonly=True), 'holds no results')
bad_call('write_whole: below a device', lambda _: write_whole('/dev/null/x', b''), 'cannot write')

@case('Python calls', 'run: data of another size')
def _(world, folder):
    try: run(scratch_config(0, 1, (1,1), dataset='KMNIST', n_train=100), world.data, CPU)
    except BadInput as e: assert 'n_train' in str(e)
    else: raise AssertionError('accepted')

@case('Python calls', 'Results.add: a record that cannot be')
def _(world, folder):
    results,good = Results(folder),Results(world.study, readonly=True).records[world.supernet]
    for bad in ({}, dict(run='x'), altered(good, _first, 51), altered(good, ('run',), '../../x'),
                good|dict(kind='../../x')):
        try: results.add(bad)
        except BadInput: continue
        raise AssertionError(f'accepted {str(bad)[:60]}')
    assert not results.records and not [f for f in folder.rglob('*') if f.is_file()]

def right(name, f):
    "Accepted, and right"
    def attempt(world, folder): assert f(folder)
    add('Python calls', name, attempt, 'handled')

def _saved_as(dtype, folder):
    n = net().to(dtype)
    again = load_net(save_net(n, folder/'x.safetensors'))[0]
    return all(torch.equal(a, b) and a.dtype==b.dtype for a,
               b in zip(n.state_dict().values(), again.state_dict().values()))

right('Split: labels int32', lambda _: Split(X, Y.int()).y.dtype==torch.long)
right('Split: labels uint8', lambda _: Split(X, Y.byte()).y.equal(Y))
right('Split: images float64', lambda _: Split(X.double(), Y).x.equal(X))
right('Split: images bf16', lambda _: Split(X.bfloat16(), Y).x.dtype==torch.float32)
right('Split: strided images', lambda _: Split(X.transpose(2, 3), Y).x.equal(X.transpose(2, 3)))
right('Split: images that require gradients', lambda _: not Split(X.clone().requires_grad_(), Y).x.requires_grad)
right('save_net: bf16', lambda folder: _saved_as(torch.bfloat16, folder))
right('save_net: fp16', lambda folder: _saved_as(torch.float16, folder))
right('save_net: fp64', lambda folder: _saved_as(torch.float64, folder))
right('evaluate: strided labels', lambda _: evaluate(net(), Split(X.repeat(2, 1, 1, 1), torch.arange(32)[::2]%8),
                                                     CPU)>=0)
right('train: one image', lambda _: train(net(), Split(X[:1], Y[:1]), 1, rt=CPU, tick=lambda: None).steps==1)

# A disk that is full: no file may become longer than so many bytes

def full_disk(name, size, prepare, args):
    "One line, exit code 2; what was there stays, and without the limit the command succeeds"
    def attempt(world, folder):
        out = copy(world.study, folder/'out') if prepare else folder/'out'
        world.data
        given = [{'OUT': out, 'FILE': folder/'net.safetensors'}.get(a, a) for a in args]
        if args[0]=='supernet_study': given = [args[0], *study_options(world.root, out, '--seeds', '0,1')]
        if args[0]=='supernet_train':
            given += tiny(world.root)
            (folder/'net.safetensors').write_bytes(world.weights.read_bytes())
        if args[0]=='supernet_calibrate': given += ['--data-root', world.root, '--device', 'cpu', '--jobs', 1]
        commands_loaded(world)
        before = snapshot(folder)
        with file_limit(size): e = command(*given)
        check_refused(e)
        damages_nothing(folder, {k: v for k,v in before.items() if not k.startswith('out/report')})
        if (out/'runs').is_dir(): records(out)
        succeeds(*given)
    add('full disk', f'{name}, {size} bytes', attempt)

def commands_loaded(world): commands.Worker('KMNIST', str(world.root), None, 'cpu', 'fp32', 1).ready()

for size in (0, 1000, 5000): full_disk('supernet_study', size, False, ['supernet_study'])
for size in (500, 20_000): full_disk('supernet_study, going on', size, True, ['supernet_study'])
for size in (0, 700): full_disk('supernet_calibrate', size, True, ['supernet_calibrate', '--out', 'OUT'])
for size in (0, 5000): full_disk('supernet_train', size, False, ['supernet_train', 'FILE', '--epochs', 1])
for size in (0, 1000, 20_000): full_disk('supernet_report', size, True, ['supernet_report', '--out', 'OUT'])

@case('full disk', 'no room to unpack data')
def _(world, folder):
    root = write_root(folder/'root')
    with file_limit(10_000): check_refused(command('supernet_study', *study_options(root, folder/'out')))
    assert not (folder/'out').exists()

@case('full disk', 'bench.csv, 1000 bytes')
def _(world, folder):
    "As supernet_bench writes it, after a minute of measuring"
    f = folder/'bench.csv'
    f.write_text('old')
    with file_limit(1000):
        try: write_whole(f, 'new'*1000)
        except BadInput as e: assert 'bench.csv' in str(e)
        else: raise AssertionError('accepted')
    assert f.read_text()=='old' and len(list(folder.iterdir()))==1

# Folders that vanish, or are replaced, while a study runs

def vanishing(name, damage, code=2):
    "The first supernet has been computed when it happens: one line, and what could be kept is"
    def attempt(world, folder):
        out = folder/'out'
        class Vandal(commands.Worker):
            def __call__(self, task, tick):
                value = super().__call__(task, tick)
                if task.what.arm=='scratch' and not damaged: damaged.append(damage(out))
                return value
        damaged = []
        with patch.object(commands, 'Worker', Vandal): e = command('supernet_study', *study_options(world.root, out))
        assert damaged
        if code==2: check_refused(e)
        else: assert (e.code, e.err)==(0, ''), e
        for f in folder.iterdir():
            if f!=out: f.rename(folder/'elsewhere') if f.is_dir() else f.unlink()
        if not out.is_dir(): out.unlink(missing_ok=True)
        for part in ('runs', 'weights'):
            if (out/part).is_file(): (out/part).unlink()
        succeeds('supernet_study', *study_options(world.root, out))
        assert records(out)==records(world.study)
    add('folders that vanish', name, attempt, 'refused' if code==2 else 'handled')

def _runs_gone(out): (out/'runs').rename(out.parent/'runs_moved')
def _runs_a_file(out): _runs_gone(out); (out/'runs').write_text('mine')
def _all_gone(out): out.rename(out.parent/'out_moved')
def _all_a_file(out): _all_gone(out); out.write_text('mine')
def _report_a_file(out): (out/'report').write_text('mine')
def _weights_gone(out): (out/'weights').rename(out.parent/'weights_moved')
vanishing('runs moved away', _runs_gone)
vanishing('runs a file', _runs_a_file)
vanishing('all moved away', _all_gone)
vanishing('all a file', _all_a_file)
vanishing('weights moved away', _weights_gone, 0)

@case('folders that vanish', 'report a file')
def _(world, folder):
    out = folder/'out'
    class Vandal(commands.Worker):
        def __call__(self, task, tick):
            if (out/'report').is_dir(): (out/'report').rmdir(); _report_a_file(out)
            return super().__call__(task, tick)
    with patch.object(commands, 'Worker', Vandal): check_refused(command('supernet_study',
                                                                         *study_options(world.root, out)), 'report')
    assert records(out)==records(world.study)

# Two at once

LINE = re.compile(r'^\d+/\d+ .*: \d+ s$', re.M)  # of a run that a process has computed

def at_once(world, folder, n, *more):
    "So many studies of one folder, started together: what they said, after each has ended well"
    out = folder/'out'
    args = study_options(world.root, out, *more)
    started = [Started(folder/f'{i}.txt', 'supernet_study', *args) for i in range(n)]
    codes = [s.end() for s in started]
    assert codes==[0]*n, [s.text for s in started]
    return [s.text for s in started]

for n in (2, 3):
    @case('two at once', f'{n} studies of 9 runs', 'handled')
    def _(world, folder, n=n):
        said = at_once(world, folder, n, '--seeds', '0,1,2')
        assert sum(len(LINE.findall(s)) for s in said)==9, said
        assert not list((folder/'out'/'runs').glob('.*'))
        succeeds('supernet_study', *study_options(world.root, folder/'alone', '--seeds', '0,1,2'))
        assert records(folder/'out')==records(folder/'alone')

for i in range(4):
    @case('two at once', f'paired start {i}', 'handled')
    def _(world, folder):
        said = at_once(world, folder, 2)
        assert sum(len(LINE.findall(s)) for s in said)==3, said
        assert records(folder/'out')==records(world.study)

@case('two at once', 'a study and its report', 'handled')
def _(world, folder):
    study = Started(folder/'study.txt', 'supernet_study', *study_options(world.root, folder/'out', '--seeds', '0,1,2'))
    study.wait_for('1/9')
    for _ in range(3): assert command('supernet_report', '--out', folder/'out').code==0
    assert study.end()==0
    assert len(records(folder/'out'))==9

# Signals

def stopped(jobs, number, code, word):
    "A study is stopped within its runs: no process is left behind, finished runs stay, and it can go on"
    def attempt(world, folder):
        out = folder/'out'
        args = study_options(world.root, out, '--seeds', '0,1', '--jobs', jobs, '--supernet-epochs', 4,
                             '--scratch-epochs', 4)
        study = Started(folder/'said.txt', 'supernet_study', *args)
        study.wait_for(r'(?m)^1/6 .* s$')
        workers = study.children()
        assert len(workers)>=jobs or jobs==1
        start = time.monotonic()
        study.send(number)
        assert study.end()==code, study.text
        wait_gone(workers)
        assert time.monotonic()-start<10
        kept = records(out)
        assert 1<=len(kept)<6, 'it ended before it was stopped'
        if word: assert study.text.splitlines()[-1]==f'supernet_study: {word}; finished runs are kept', study.text
        assert 'Traceback' not in study.text
        said = succeeds('supernet_study', *args[:args.index('--jobs')+1], 1, *args[args.index('--jobs')+2:])
        assert f'6 runs, {len(kept)} already' in said
        assert len(records(out))==6 and {k: records(out)[k] for k in kept}==kept
        assert not list((out/'runs').glob('.*'))
    add('signals', f'{signal.Signals(number).name} with --jobs {jobs}', attempt, 'handled')

for jobs in (1, 2):
    stopped(jobs, signal.SIGINT, 130, 'stopped')
    stopped(jobs, signal.SIGTERM, 143, 'terminated')
    stopped(jobs, signal.SIGKILL, -9, '')

@case('signals', 'a worker killed', 'handled')
def _(world, folder):
    out = folder/'out'
    args = study_options(world.root, out, '--jobs', 2, '--supernet-epochs', 30)
    study = Started(folder/'said.txt', 'supernet_study', *args)
    study.wait_for(r'(?m)^about ')
    import psutil
    workers = [p for p in study.children() if 'spawn_main' in ' '.join(psutil.Process(p).cmdline())]
    os.kill(workers[0], signal.SIGKILL)
    assert study.end()==0, study.text
    assert 'tried once more' in study.text and len(records(out))==3

@case('signals', 'killed again and again', 'handled')
def _(world, folder):
    "SIGKILL at moments nobody chose; what results is what an undisturbed study computes"
    out,r = folder/'out',random.Random(0)
    args = study_options(world.root, out, '--seeds', '0,1,2')
    for i in range(20 if world.many else 4):
        study = Started(folder/f'{i}.txt', 'supernet_study', *args)
        study.process.join(r.uniform(0.3, 2.5))
        study.process.kill()
        study.end()
    succeeds('supernet_study', *args)
    succeeds('supernet_study', *study_options(world.root, folder/'alone', '--seeds', '0,1,2'))
    assert records(out)==records(folder/'alone')
    assert all(f.stat().st_size for f in out.rglob('*.*') if f.suffix!='.claim' and not f.name.endswith('.tmp'))

BIN = Path(sys.executable).parent

for number,code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
    @case('signals', f'{signal.Signals(number).name} while torch is imported', 'handled')
    def _(world, folder, number=number, code=code):
        p = subprocess.Popen([BIN/'supernet_study', '--out', folder/'out'], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        maps,end = Path(f'/proc/{p.pid}/maps'),time.monotonic()+30
        while 'libtorch' not in maps.read_text(): assert p.poll() is None and time.monotonic()<end; time.sleep(0.002)
        p.send_signal(number)
        out,err = p.communicate(timeout=20)
        assert (p.returncode, out, len(err.splitlines()))==(code, '', 1), (p.returncode, out, err)
        assert not (folder/'out').exists()

# Output that nobody reads

def shell(name, line, code, lines, expected='handled'):
    "A command as a shell starts it"
    def attempt(world, folder):
        values = dict(BIN=BIN, STUDY=copy(world.study, folder/'out'), NET=world.weights, ROOT=world.root)
        text = re.sub('[A-Z]{3,}', lambda m: str(values.get(m[0], m[0])), line)
        p = subprocess.run(['bash', '-c', text], capture_output=True, text=True, timeout=120)
        assert p.returncode==code and len(p.stderr.splitlines())==lines and 'Traceback' not in p.stderr, p
        if lines: assert p.stderr.startswith('supernet_'), p
        damages_nothing(folder/'out', {k: v for k,v in snapshot(world.study).items() if not k.startswith('report')})
    add('output that nobody reads', name, attempt, expected)

shell('| head -1', 'BIN/supernet_report --out STUDY | head -1 >/dev/null; exit ${PIPESTATUS[0]}', 141, 1)
shell('> /dev/full', 'BIN/supernet_report --out STUDY > /dev/full', 2, 1, 'refused')
shell('stdout closed', 'BIN/supernet_report --out STUDY >&-', 0, 0)
shell('stderr closed', 'BIN/supernet_eval /nowhere.safetensors 2>&-', 2, 0)
shell('both closed', 'BIN/supernet_report --out STUDY >&- 2>&-', 0, 0)
shell('ASCII output of another alphabet', 'PYTHONIOENCODING=ascii LC_ALL=C BIN/supernet_eval /訓練.safetensors', 2, 1,
      'refused')

shell('--help > /dev/full', 'env -u PYTHONUNBUFFERED BIN/supernet_report --help > /dev/full', 2, 1, 'refused')

# The table of counts

def tried(world, c, folder)->str:
    "How a case went: as expected, or wrong"
    folder.mkdir()
    try: c.attempt(world, folder)
    except (Exception, SystemExit): traceback.print_exc()
    else: return c.expected
    print(f'WRONG: {c}', flush=True)
    return 'wrong'

def main(only=None):
    rows = {}
    with tempfile.TemporaryDirectory() as tmp:
        world = World(tmp, many=True)
        for i,c in enumerate(CASES):
            if only in (None, c.kind): rows.setdefault(c.kind, Counter())[tried(world, c, Path(tmp)/f'case-{i}')] += 1
    columns = 'refused', 'handled', 'wrong'
    new = [dict(tried=n.total(), **{k: n[k] for k in columns})|{'class': kind} for kind,n in rows.items()]
    file = ROOT/'results'/'faults.csv'
    old = pd.read_csv(file) if only and file.exists() else pd.DataFrame(columns=['class'])
    table = pd.concat([old[~old['class'].isin(rows)], pd.DataFrame(new)])[['class', 'tried', *columns]]
    print(table.to_string(index=False))
    write_whole(file, table.to_csv(index=False, lineterminator='\n'))
    sys.exit(any(n['wrong'] for n in rows.values()))

if __name__=='__main__': main(*sys.argv[1:])
