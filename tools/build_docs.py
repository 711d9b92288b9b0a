"""Build the documentation into _docs/ from the notebooks and the outputs stored in them: python3 dev.py docs

nbdev processes the notebooks (hides, `show_doc`, backtick links), `page` writes what comes out as markdown into
a temporary folder, Sphinx makes the pages, `problems` checks them. Where Quarto is installed, `nbdev_docs` renders
the same notebooks."""
import ast, base64, json, os, re, shutil, subprocess, sys, tempfile, textwrap
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from string import Template
from urllib.parse import unquote, urlsplit

from execnb.nbio import read_nb
from nbdev.config import get_config
from nbdev.processors import FilterDefaults, mv_exports
from supernet_nas.evidence import Evidence, alone, confirming, contrast, fp32_first, shared, show
from supernet_nas.report import pairs, table
from supernet_nas.store import Results
import draw_data

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT/'tools'/'docs'
CFG = get_config(path=ROOT)
SITE,BLOB = f'{CFG.doc_host}{CFG.doc_baseurl}/',f'{CFG.git_url}/blob/{CFG.branch}/'
FOLD = 12  # exported cells with more lines are folded

# Notebooks to markdown

def show_exports(cell):
    "`export` as `exports`: this study is read for its code"
    if 'export' in cell.directives_: cell.directives_['exports'] = cell.directives_.pop('export')

class Filter(FilterDefaults):
    "nbdev's processing, with exported code before its `show_doc`"
    def base_procs(self): return [show_exports, *(p for p in super().base_procs() if p is not mv_exports)]

def url_of(stem): return re.sub(r'^\d+[a-z]*_', '', stem)+'.html'  # nbdev's naming
def text(s): return ''.join(s or '')
def raw(html): return f'````{{raw}} html\n{html}\n````'
def code(src, lang='python'): return f'````{lang}\n{src}\n````'
def fold(summary, body):
    return '\n\n'.join([raw(f'<details class="fold"><summary>{summary}</summary>'), body, raw('</details>')])

def drawing(m):
    "An SVG in the page itself, so that it follows the page's light or dark mode; the supernet can be operated"
    svg = (ROOT/'nbs'/m[2]).read_text(encoding='utf-8').replace(
        '<svg ', f'<svg role="img" aria-label="{escape(m[1])}" ')
    return raw(picker(svg) if m[2].endswith('supernet.svg') else f'<figure class="drawing">{svg}</figure>')

OWN = 'own endings, per node', 'from scratch, seeds of own endings', 'gap with own endings'
SEEDS = 'seeds of own endings'

def picked():
    "The pair that the interactive figure shows, and its table"
    ev = Evidence(Results(ROOT/'results', readonly=True))
    p = next(p for p in pairs(ev) if (p.sup, p.scr)==(shared(), alone()))
    fresh,own = fp32_first(ev.results, confirming),shared(endings='own')  # other seeds, see chapter 5b
    by_seed = fresh.gap(own, alone())
    gaps,arms = contrast(by_seed),[fresh.accuracy(s).loc[by_seed.index] for s in (own, alone())]
    scores = [[show(dict(mean=x[a].mean(), std=x[a].std(), n=len(x))) for a in x] for x in arms]
    columns = dict(zip(OWN, (*scores, [show(gaps.loc[a]) for a in arms[0]])))
    return p, table(ev, p).drop(columns='own endings').assign(seeds=len(p.seeds), **columns, **{SEEDS: len(by_seed)})

INHERITED = {k: f'inherited, {k}' for k in ('shared', 'recalibrated', 'per node')}

def by_endings(t):
    "What the interactive figure says of each network, by the choice of endings"
    plain,own = t.drop(columns=[*OWN, SEEDS]),t.drop(columns=[*INHERITED.values(), 'from scratch', 'gap', 'seeds'])
    names = {OWN[1]: 'from scratch', SEEDS: 'seeds'}
    rows = zip(plain.to_dict('records'), own.rename(columns=names).to_dict('records'))
    return [dict(shared=s, own=o) for s,o in rows]

def picker(svg):
    "The interactive figure; its numbers are those of one comparison's table"
    p,t = picked()
    t = t.drop(columns='binomial').rename(columns={'arch': 'd₁,d₂'}|INHERITED)
    caption = (f'{p.name}. Test accuracy in %, ± standard deviation over seeds: inherited from the supernet with '
               'three kinds of BatchNorm statistics, which this chapter is about, and from scratch. Gap: per node '
               'minus from scratch, in percentage points with its 95 % interval. With own endings each depth of '
               'block 2 has a last convolution and a linear layer of its own, here with a thick border; they have '
               'other seeds (chapter 5b).')
    return Template((HERE/'picker.html').read_text(encoding='utf-8')).substitute(
        svg=svg, caption=escape(caption), rows=json.dumps(by_endings(t), ensure_ascii=False),
        table=t.to_html(index=False, border=0, classes='docutils'))

def live(name, shown):
    "What can be operated, and under it what stands there where there is no JavaScript"
    return [raw((HERE/f'{name}.html').read_text(encoding='utf-8')), raw('<div class="still">'), *shown, raw('</div>')]

def links(md):
    "Links to notebooks as links to pages, links into the repository as links to GitHub"
    # nbdev's own, which has one anchor for `Runtime` and `runtime`
    md = re.sub(rf'\[`([\w.]+)(\(\))?`\]\({SITE}(\w+\.html)#.*?\)', r'[`\1\2`](\3#api.\1)', md)
    md = re.sub(r'\]\((\w+)\.ipynb', lambda m: f']({url_of(m[1])}', md)
    md = re.sub(r'(?<!!)\[([^]]*)\]\(\.\./', rf'[\1]({BLOB}', md)
    return re.sub(r'^!\[(.*)\]\((images/\w+\.svg)\)$', drawing, md, flags=re.M)

def dataframe(html):
    return raw(f'<div class="table-wrapper container">{html}</div>'.replace('border="1" class="', 'class="docutils '))

def options(src):
    "The `#| key: value` lines at the top of a cell, and the rest"
    opts = dict(re.findall(r'^#\| ([\w-]+): "?(.*?)"?$', src, re.M))
    return opts, re.sub(r'^#\|.*\n?', '', src, flags=re.M).strip('\n')

def head(lines, node):
    "A definition up to its body"
    first = node.body[0]
    out = [*lines[node.lineno-1:first.lineno-1], lines[first.lineno-1][:first.col_offset].rstrip()]
    while not out[-1] or out[-1].lstrip().startswith('#'): out.pop()
    return out

def signature(src, name):
    "As its author wrote it, with a class's fields or `__init__`, and whether it has a docstring; None if not in `src`"
    *outer,last = name.split('.')
    tree,lines = ast.parse(src).body,src.split('\n')
    scope = next((n.body for n in tree if isinstance(n, ast.ClassDef) and [n.name]==outer), tree)
    node = next((n for n in scope if getattr(n, 'name', None)==last), None)
    if not node: return
    out = head(lines, node)
    for n in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(n, ast.AnnAssign): out += lines[n.lineno-1:n.end_lineno]
        if getattr(n, 'name', None)=='__init__': out += head(lines, n)
    return textwrap.dedent('\n'.join(out)), ast.get_docstring(node)

SHOWN = re.compile(r'---\n+\[source\]\((\S+?)\).*?\n+### (\S+)\n+```python\n(.*?)\n```(.*)', re.S)  # by `show_doc`

def anchor(url, name, text='source '): return raw(f'<a class="source" id="api.{name}" href="{url}">{text}</a>')

def api(md, src='', brief=False):
    "What `show_doc` says: heading, link to source, and unless the code itself is shown, signature and docstring"
    url,name,sig,doc = SHOWN.match(md).groups()
    parts = [f'### `{name}`', anchor(url, name)]
    if brief: return '\n\n'.join(parts)
    sig,has_doc = signature(src, name) or (sig, True)
    return '\n\n'.join([*parts, code(sig), links(doc.strip('\n')) if has_doc else ''])

def merged(outputs):
    "Outputs, with what was printed in one piece"
    out = []
    for o in outputs:
        if 'text' in o and out and 'text' in out[-1]: out[-1]['text'] = text(out[-1]['text'])+text(o['text'])
        else: out.append(o)
    return out

def output(o, opts, png):
    "One stored output; a picture is written to `png`"
    data = {k: text(v) for k,v in o.get('data', {}).items()}
    if 'image/png' in data:
        png.write_bytes(base64.b64decode(data['image/png']))
        size = o['metadata'].get('image/png', {}).get('width')
        return '\n'.join([f'````{{figure}} {png.name}', f":alt: {opts.get('fig-alt', '')}",
                          *([f':width: {size}px'] if size else []), '', opts.get('fig-cap', ''), '````'])
    if 'text/markdown' in data: return links(data['text/markdown'])
    if 'text/html' in data: return dataframe(re.sub(r'<style.*?</style>', '', data['text/html'], flags=re.S))
    return code(f":class: output\n\n{data.get('text/plain') or text(o.get('text')).rstrip()}", '{code-block} text')

def exported(src, docs, title=None):
    "An exported cell after what `show_doc` says about it; folded where long, or only imports, or wholly if titled"
    if title:
        names = [SHOWN.match(d).groups()[:2] for d in docs]
        return [fold(title, '\n\n'.join([*(anchor(url, name, f'source of {name}') for url,name in names), code(src)]))]
    n,imports = src.count('\n')+1,re.fullmatch(r'((from|import) .*\n?)+', src)
    short = n<=FOLD and not imports
    docs = sorted(docs, key=lambda d: src.find(re.search(r'### (?:\w+\.)?(\w+)', d)[1]))
    body = code(src) if short else fold('Imports' if imports else f'Source, {n} lines', code(src))
    return [*(api(d, src, short) for d in docs), body]

def page(path, folder):
    "Processed notebook as markdown in `folder`; returns its title"
    nb = read_nb(path)
    Filter()(nb)
    fm,parts = nb.frontmatter_,[]
    cells = [c for c in nb.cells if c.cell_type!='raw' and not c.source.startswith('<!-- WARNING')]
    while cells:
        c = cells.pop(0)
        opts,src = options(c.source)
        if c.cell_type=='markdown': parts.append(links(c.source))
        elif 'code-fold' in opts:
            docs = []
            while cells and options(cells[0].source)[0].get('output')=='asis':
                docs.append(text(cells.pop(0).outputs[0]['data']['text/markdown']))
            parts += exported(src, docs, opts.get('fold'))
        elif opts.get('output')=='asis': parts.append(api(text(c.outputs[0]['data']['text/markdown'])))
        else:
            shown = [output(o, opts, folder/f'{path.stem}-{c.id}.png') for o in merged(c.outputs)]
            if opts.get('echo')!='false': shown = [code(src), *shown]
            if 'fold' in opts: shown = [fold(opts['fold'], '\n\n'.join(shown))]
            parts += live(opts['live'], shown) if 'live' in opts else shown
    meta = f"---\nmyst:\n  html_meta:\n    description: {json.dumps(fm['description'])}\n---"
    head = f"{meta}\n\n# {fm['title']}\n\n{{.lead}}\n{fm['description']}"
    (folder/url_of(path.stem)).with_suffix('.md').write_text('\n\n'.join([head, *parts])+'\n', encoding='utf-8')
    return f"{path.stem.split('_')[0]} {fm['title']} <{url_of(path.stem)[:-5]}>"

def build(out):
    "Pages of all notebooks below `out`, by way of a folder of its own, so two can be built at once; Sphinx's exit code"
    os.chdir(ROOT)  # nbdev looks for settings.ini from here
    if out.exists() and any(out.iterdir()) and not (out/'index.html').exists():
        sys.exit(f'build_docs: {out} is no documentation: remove it')
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix='_proc', dir=ROOT) as folder:
        folder = Path(folder)
        *chapters,_ = [page(p, folder) for p in sorted((ROOT/'nbs').glob('*.ipynb'))]
        with open(folder/'index.md', 'a', encoding='utf-8') as f:
            f.write('\n'.join(['', '```{toctree}', ':hidden:', '', *chapters, '```', '']))
        sphinx = [sys.executable, '-m', 'sphinx', '-qW', '--keep-going', '-c', HERE, '-d', folder/'doctrees',
                  folder, out]
        failed = subprocess.run([str(a) for a in sphinx]).returncode
    if not failed: draw_data.write(out/'_static'/'draw_data.js')
    return failed

# Checks

class Page(HTMLParser):
    "What a page refers to, and what it lacks"
    def __init__(self, path):
        super().__init__()
        self.ids,self.links,self.loads,self.no_alt = [],[],[],[]
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        if d.get('id'): self.ids.append(d['id'])
        if tag=='a' and d.get('href'): self.links.append(d['href'])
        elif tag=='link' and not {'next', 'prev', 'search', 'index', 'canonical'}&set(d.get('rel', '').split()):
            self.loads.append(d['href'])
        elif tag!='a':
            self.loads += ([d[k] for k in ('src', 'srcset', 'data', 'poster') if d.get(k)]
                           + css_urls(d.get('style') or ''))
        if tag=='img' and not d.get('alt') or tag=='svg' and d.get('role')=='img' and not d.get('aria-label'):
            self.no_alt.append(d.get('src', 'svg'))

    def handle_data(self, data):
        if self.lasttag=='style': self.loads += css_urls(data)

def css_urls(css): return re.findall(r'(?:url\(|@import\s+(?!url))\s*["\']?([^"\')\s;]+)', css)
def remote(u): return bool(urlsplit(u).netloc) or urlsplit(u).scheme not in ('', 'data')

def problems(out):
    "One line for each dead link, missing or doubled anchor, missing alternative text and load from the network"
    pages = {p.name: Page(p) for p in out.glob('*.html')}
    for name,p in pages.items():
        yield from (f'{name}: doubled anchor: {i}' for i in set(p.ids) if p.ids.count(i)>1)
        yield from (f'{name}: no alternative text: {s}' for s in p.no_alt)
        yield from (f'{name}: loads from the network: {u}' for u in p.loads if remote(u))
        for u in [*p.links, *p.loads]:
            s = urlsplit(u)
            if u.startswith(BLOB) and not (ROOT/unquote(u[len(BLOB):].split('#')[0])).exists():
                yield f'{name}: no such file in the repository: {u}'
            if remote(u) or s.scheme: continue
            if not (out/(unquote(s.path) or name)).exists(): yield f'{name}: dead link: {u}'
            elif s.fragment and unquote(s.fragment) not in pages[s.path or name].ids:
                yield f'{name}: no such anchor: {u}'
    for f in out.rglob('*.css'):
        yield from (f'{f.relative_to(out)}: loads from the network: {u}'
                    for u in css_urls(f.read_text(encoding='utf-8')) if remote(u))

def main(out='_docs'):
    out = Path(out).resolve()
    bad = [] if (failed := build(out)) else sorted(set(problems(out)))
    print(*bad, sep='\n', end='\n' if bad else '')
    if failed or bad: sys.exit(f'build_docs: {"Sphinx complains" if failed else f"{len(bad)} problems"}')
    size = sum(f.stat().st_size for f in out.rglob('*') if f.is_file())
    print(f'{out.name}: {len(list(out.glob("*.html")))} pages, {size/1e6:.1f} MB')

if __name__=='__main__': main(*sys.argv[1:])
