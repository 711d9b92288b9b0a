"What a fresh clone must be: exported, clean, complete, its README and report following from notebooks and results."
import ast, configparser, io, re, shlex, shutil, subprocess, sys, zipfile
from pathlib import Path
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
sys.path.insert(0, str(ROOT/'tools'))

def git(*args, cwd): return subprocess.run(['git', *args], cwd=cwd, capture_output=True, text=True, check=True).stdout

@pytest.fixture
def clone(tmp_path):
    "The tracked files as they are in the working tree, in a repository of their own"
    for f in git('ls-files', cwd=ROOT).splitlines():
        if (ROOT/f).exists():
            (tmp_path/f).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT/f, tmp_path/f)
    git('init', '-q', cwd=tmp_path)
    git('add', '-A', cwd=tmp_path)
    return tmp_path

@pytest.mark.parametrize('command', ['nbdev_export', 'nbdev_clean'])
def test_no_diff(clone, command):
    subprocess.run([BIN/command], cwd=clone, check=True, capture_output=True)
    assert git('diff', '--stat', cwd=clone)==''
    assert git('status', '--porcelain', '--untracked-files=all', cwd=clone).count('??')==0

def test_readme_follows_from_index():
    from build_readme import readme
    assert (ROOT/'README.md').read_text(encoding='utf-8')==readme()

def test_readme_numbers_come_from_results():
    "Every row of the README's table stands in one committed report"
    rows = [l for l in (ROOT/'README.md').read_text(encoding='utf-8').splitlines()
            if re.match(r'\| \d,\d \|', l)]
    reports = [f.read_text(encoding='utf-8') for f in (ROOT/'results'/'report').rglob('table.md')]
    assert len(rows)==9 and any(all(r in t for r in rows) for t in reports)

def test_readme_commands():
    "The two commands are there verbatim, and CI runs the second"
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    assert '\npython3 dev.py supernet_study\n' in text and '\npython3 dev.py test\n' in text
    assert 'python3 dev.py test' in (ROOT/'.ci'/'run').read_text()

def test_report_follows_from_results(tmp_path):
    from supernet_nas.report import report
    from supernet_nas.store import Results
    shutil.copytree(ROOT/'results', tmp_path/'r', ignore=shutil.ignore_patterns('report', 'weights'))
    report(Results(tmp_path/'r', readonly=True), draw=False)
    def tables(folder):
        found = [f for f in (folder/'report').rglob('*') if f.suffix in ('.md', '.csv') and f.name not in SPREADSHEETS]
        return {f.relative_to(folder): f.read_text() for f in found}
    assert tables(tmp_path/'r')==tables(ROOT/'results')!={}

SPREADSHEETS = 'runs.csv', 'scores.csv'  # all runs once more: written for those who want them, not committed

BEFORE = 'ca4e685'  # the last commit with tables in the place of one file for each run
KEYS = dict(runs=['run'], scores=['run', 'arch', 'bn', 'split'], curves=['run', 'epoch', 'arch'],
            probes=['run', 'epoch', 'probe', 'where', 'arch', 'other'])
TAKEN_OUT = set('0bf6855af4a4 0eca93ee463d 2064cebf4633 7cecd36f9a62 86035573db04 8a1a87420b6a '
                'c64b48dadea5 f270a9764aa7'
                .split())  # of a teacher whose averages had been moved: see results/README.md

@pytest.mark.parametrize('table', KEYS)
def test_conversion_lost_nothing(table):
    "The 501 runs of the tables, but for eight that were wrong, number by number"
    show = subprocess.run(['git', 'show', f'{BEFORE}:results/{table}.csv'], cwd=ROOT, capture_output=True, text=True)
    if show.returncode: pytest.skip('a clone without the history')
    from supernet_nas.store import Results
    new,keys = Results(ROOT/'results', readonly=True).read(table),KEYS[table]
    text = {k: str for k in new if pd.api.types.is_string_dtype(new[k])}
    old = pd.read_csv(io.StringIO(show.stdout), dtype=text).drop_duplicates(keys, keep='last')
    old,new = old[~old.run.isin(TAKEN_OUT)],new[new.run.isin(old.run)][list(old)]
    assert not TAKEN_OUT&set(new.run)
    pd.testing.assert_frame_equal(*(d.sort_values(keys, ignore_index=True) for d in (new, old)))

def test_requirements_are_what_is_imported():
    "By the package: each declared, and none more; what only extras need is theirs"
    cp = configparser.ConfigParser(delimiters=['='])
    cp.read(ROOT/'settings.ini')
    def names(key): return {re.match(r'[\w-]+', r)[0] for r in shlex.split(cp['DEFAULT'][key])}
    nodes = [n for f in (ROOT/'supernet_nas').glob('*.py') for n in ast.walk(ast.parse(f.read_text()))]
    found = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    found |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}
    found = {'pillow' if m=='PIL' else m for m in (f.split('.')[0] for f in found)}
    found.remove('IPython')  # there wherever a notebook runs: `say` shows below its cells
    assert (found-sys.stdlib_module_names-{'supernet_nas'}-names('ray_requirements')-names('export_requirements')
            ==names('requirements'))

def test_wheel_holds_the_data(clone, tmp_path_factory):
    "The package works away from its repository: MNIST travels in the wheel"
    out = tmp_path_factory.mktemp('wheel')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', out, clone],
                   check=True, capture_output=True)
    names = zipfile.ZipFile(next(out.glob('*.whl'))).namelist()
    assert sum(n.startswith('supernet_nas/mnist/') and n.endswith('.gz') for n in names)==4
    assert 'supernet_nas/supernet.py' in names

def test_weights_say_what_their_runs_say():
    "Each committed network knows its scores, its precision, and how images become its input"
    from supernet_nas.files import load_net
    from supernet_nas.store import Results
    records = Results(ROOT/'results', readonly=True).records
    for f in (ROOT/'results'/'weights').iterdir():
        _,said = load_net(f)
        node = [s for s in records[f.stem]['scores'] if s['bn'] in ('node', 'own')]
        assert {(s['arch'], s['split']): s['n_correct'] for s in said['scores']}=={
            (a, s['split']): n for s in node for a,n in s['n_correct'].items()}
        assert said['precision']==records[f.stem]['runtime']['precision']
        assert (len(said['classes']), said['size'])==(10, [28,28]) and abs(said['mean'][0]-.1307)<1e-3
