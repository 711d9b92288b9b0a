#!/usr/bin/env python3
"""Set up .venv (once), then run a command in it:

    python3 dev.py supernet_study [options]   the main job; also supernet_train, _eval, _report, _calibrate, _probe,
                                              _bench, _choose, _export, _predict
    python3 dev.py test                       all tests
    python3 dev.py docs                       the documentation, as web pages in _docs/
    python3 dev.py setup                      only set up
    python3 dev.py COMMAND [options]          anything else that .venv has: nbdev_export, jupyter, python
"""
import hashlib, json, os, subprocess, sys, urllib.request
from pathlib import Path
from urllib.parse import urljoin

ROOT = Path(__file__).resolve().parent
BIN = ROOT/'.venv'/('Scripts' if os.name=='nt' else 'bin')

def run(*cmd, cwd=ROOT, **kw): return subprocess.run([str(c) for c in cmd], cwd=cwd, **kw).returncode

def pip_wheel():
    "The newest pip from the registry, for a Python that has neither ensurepip nor pip; a wheel can be run as it is"
    index = 'https://pypi.org/pypi/pip/json'
    files = json.load(urllib.request.urlopen(index))['urls']
    url = urljoin(index, next(f['url'] for f in files if f['packagetype']=='bdist_wheel'))
    path = ROOT/'.venv'/url.rsplit('/', 1)[1]
    path.write_bytes(urllib.request.urlopen(url).read())
    return path

def make_venv():
    "Debian's Python has venv, but not ensurepip: then take pip from this Python, or else from the registry"
    if run(sys.executable, '-m', 'venv', '.venv', capture_output=True)==0: return
    if run(sys.executable, '-m', 'venv', '--clear', '--without-pip', '.venv'):
        sys.exit('dev.py: this Python cannot make virtual environments; '
                 'on Debian and Ubuntu: apt install python3-venv')
    python = BIN/'python'
    if run(sys.executable, '-m', 'pip', '--python', python, 'install', '-q', 'pip', capture_output=True)==0: return
    if run(python, f'{pip_wheel()}/pip', 'install', '-q', 'pip'): sys.exit('dev.py: cannot install pip into .venv')

def setup():
    "Install the package, editable, with what its tests need; again only when the requirements change"
    if sys.version_info<(3,10): sys.exit(f'dev.py: Python {sys.version.split()[0]} is too old; 3.10 or newer is needed')
    stamp,done = (hashlib.sha256((ROOT/'settings.ini').read_bytes()+(ROOT/'setup.py').read_bytes()).hexdigest(),
                  ROOT/'.venv'/'installed')
    if done.exists() and done.read_text()==stamp: return
    print('setting up .venv: PyTorch and a few packages, several GB, a few minutes', flush=True)
    make_venv()
    if run(BIN/'python', '-m', 'pip', 'install', '-q', '-e', '.[dev]'): sys.exit('dev.py: installation failed')
    done.write_text(stamp)

def test():
    "The notebooks' inline tests, then pytest; two of either at a time, with a thread each"
    env = os.environ | dict(OMP_NUM_THREADS='1')
    pytest = 'pytest', '-q', '-n', 2, '--durations', 10, 'tests'
    return run(BIN/'nbdev_test', '--n_workers', 2, '--do_print', env=env) or run(BIN/'python', '-m', *pytest, env=env)

def docs(): return run(BIN/'python', 'tools/build_docs.py')

def main(command=None, *args):
    if command in (None, '-h', '--help'): sys.exit(__doc__)
    setup()
    if command=='setup': return
    os.environ['PATH'] = f'{BIN}{os.pathsep}{os.environ["PATH"]}'
    if command in ('test', 'docs'): sys.exit(dict(test=test, docs=docs)[command]())
    try:
        if os.name=='nt': sys.exit(run(BIN/command, *args, cwd=None))
        os.execv(BIN/command, [str(BIN/command), *args])  # in the place of this process, so that signals reach it
    except FileNotFoundError: sys.exit(f'dev.py: .venv has no {command}')

if __name__=='__main__': main(*sys.argv[1:])
