"Write README.md from the stored outputs of nbs/index.ipynb: python tools/build_readme.py"
import json, re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def text(s): return ''.join(s)

def markdown(s):
    "Paths as seen from the repository's root"
    s = re.sub(r'\]\(\.\./', '](', s)
    return re.sub(r'\]\((\w+\.ipynb)', r'](nbs/\1', s)

def cell(c):
    "The markdown of one cell; code is shown unless it says `#| echo: false`"
    src = text(c['source'])
    if c['cell_type']=='markdown': yield markdown(src)
    if c['cell_type']!='code' or src.startswith('#| hide'): return
    if '#| echo: false' not in src: yield f'```python\n{src}\n```'
    for o in c['outputs']:
        data = o.get('data', {})
        if 'text/markdown' in data: yield markdown(text(data['text/markdown']))
        elif 'text/plain' in data or 'text' in o:
            yield '```\n'+text(data.get('text/plain', o.get('text'))).rstrip()+'\n```'

def readme():
    cells = json.loads((ROOT/'nbs'/'index.ipynb').read_text(encoding='utf-8'))['cells']
    parts = ['<!-- made from nbs/index.ipynb by tools/build_readme.py: edit the notebook -->',
             *(p for c in cells for p in cell(c))]
    return '\n\n'.join(p.strip('\n') for p in parts)+'\n'

if __name__=='__main__': (ROOT/'README.md').write_text(readme(), encoding='utf-8')
