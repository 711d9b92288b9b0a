"The documentation as its readers meet it: built, checked, and opened in a browser (skipped where there is none)."
import base64, functools, http.server, re, shutil, subprocess, sys, threading
from contextlib import contextmanager
from pathlib import Path
import pytest, torch
from execnb.nbio import read_nb
from supernet_nas.data import load_data, read_dataset

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))
import draw_data
from build_docs import BLOB, INHERITED, OWN, SEEDS, picked, problems, url_of

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'google-chrome', 'chromium-browser'))), None)
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))
PAGES = [*(url_of(p.stem) for p in NOTEBOOKS), 'search.html']
FORMS = dict(light=dict(color_scheme='light', viewport=dict(width=1280, height=900)),
             dark=dict(color_scheme='dark', viewport=dict(width=1280, height=900)),
             phone=dict(color_scheme='light', viewport=dict(width=390, height=844), device_scale_factor=2))
needs_browser = pytest.mark.skipif(not BROWSER, reason='no Chromium or Chrome')

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp('site')/'_docs'
    r = subprocess.run([sys.executable, ROOT/'tools'/'build_docs.py', out], capture_output=True, text=True)
    assert r.returncode==0, r.stdout+r.stderr
    return out

def test_chapters(site):
    "Every notebook is a page with its description, neighbours and source links"
    for p in NOTEBOOKS:
        html = (site/url_of(p.stem)).read_text(encoding='utf-8')
        assert 'class="lead"' in html and 'name="description"' in html
        assert ('Next' in html or p==NOTEBOOKS[-2]) and ('Previous' in html or p.stem=='index')
        if '#| export' in p.read_text(encoding='utf-8'): assert f'href="{BLOB}supernet_nas/' in html

def test_source_links(site):
    "A link to a symbol's source names the line where it is defined"
    found = 0
    for f in site.glob('*.html'):
        for name,path,line in re.findall(rf'id="api\.([\w.]+)" href="{BLOB}(\S+?)#L(\d+)"',
                                         f.read_text(encoding='utf-8')):
            near = (ROOT/path).read_text(encoding='utf-8').splitlines()[int(line)-1:][:4]
            assert re.search(rf'(def|class) {name.split(".")[-1]}\b', '\n'.join(near)), (name, path, line)
            found += 1
    assert found>50

def test_figures_are_sharp():
    "Stored figures have two pixels for each that they take up"
    for p in NOTEBOOKS:
        for o in (o for c in read_nb(p).cells for o in c.get('outputs', []) if 'image/png' in o.get('data', {})):
            pixels = int.from_bytes(base64.b64decode(''.join(o['data']['image/png']))[16:20], 'big')
            assert abs(pixels-2*o['metadata'].get('image/png', {}).get('width', 0))<=2, p.name

@pytest.mark.parametrize('html,expected', [
    ('<a href="nowhere.html">x</a>', 'dead link'), ('<a href="#nowhere">x</a>', 'no such anchor'),
    ('<p id="a"><b id="a">', 'doubled anchor'), ('<img src="a.png">', 'no alternative text'),
    ('<img src="a.png" alt="">', 'no alternative text'), ('<svg role="img"></svg>', 'no alternative text'),
    (f'<a href="{BLOB}nowhere.md">x</a>', 'no such file'),
    ('<img src="https://example.org/a.png" alt="a">', 'network'),
    ('<script src="//example.org/a.js"></script>', 'network'),
    ('<link rel="stylesheet" href="https://example.org/a.css">', 'network'),
    ('<iframe src="https://example.org/"></iframe>', 'network'),
    ('<p style="background: url(https://example.org/a.png)">', 'network'),
    ('<style>@import "https://example.org/a.css"</style>', 'network'),
    ('<a id="here" href="https://example.org/">x</a> <a href="#here">y</a> <img src="a.png" alt="a">', None)])
def test_problems(tmp_path, html, expected):
    (tmp_path/'page.html').write_text(html)
    (tmp_path/'a.png').touch()
    found = list(problems(tmp_path))
    assert len(found)==1 and expected in found[0] if expected else not found

def test_problems_css(tmp_path):
    (tmp_path/'a.css').write_text('@import url("https://example.org/a.css"); '
                                  '@font-face { src: url(//example.org/a.woff2) } p { background: url(a.png) }')
    assert len(list(problems(tmp_path)))==2

@pytest.fixture(scope='module')
def url(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()

@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p: yield p.chromium.launch(executable_path=BROWSER, args=['--no-sandbox'])

@contextmanager
def opened(browser, url, path, **kw):
    "A page, which at the end must have asked only this server, got all it asked for, and said no error"
    context,bad = browser.new_context(**kw),[]
    page = context.new_page()
    page.on('console', lambda m: bad.append(m.text) if m.type=='error' else None)
    page.on('pageerror', lambda e: bad.append(str(e)))
    page.on('requestfailed', lambda r: bad.append(f'failed: {r.url}'))
    page.on('request', lambda r: bad.append(f'asked for {r.url}') if not r.url.startswith((url, 'data:')) else None)
    page.on('response', lambda r: bad.append(f'{r.status}: {r.url}') if r.status>=400 else None)
    page.goto(f'{url}/{path}')
    yield page
    context.close()
    assert not bad

@needs_browser
@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('path', PAGES)
def test_opens(browser, url, path, form):
    with opened(browser, url, path, **FORMS[form]) as page:
        for part in ('html', '.content'): assert page.eval_on_selector(part, 'e => e.scrollWidth-e.clientWidth')<=0
        r,g,b = map(int, re.findall(
            r'\d+', page.eval_on_selector('body', 'e => getComputedStyle(e).backgroundColor'))[:3])
        assert (r+g+b<200) == (form=='dark')

@needs_browser
def test_picker(browser, url):
    "By mouse and by keyboard: the chosen network's row, its path lit, and its own layers marked"
    rows = picked()[1].set_index('arch').drop(columns=['binomial', 'seeds', SEEDS])
    def check(page, arch, absent=OWN, private=0):
        said,due = page.inner_text('.chosen'),rows.loc[arch].drop(list(absent))
        for v in due: assert v in said
        assert page.locator('.chosen dd').count()==len(due)+2  # and depths, seeds
        d1,d2 = map(int, arch.split(','))
        assert page.locator('.conv:not(.off)').count()==d1+d2
        assert page.locator('path[data-exit]:not(.off)').count()==2
        assert page.locator('tbody tr.on').text_content().split()[0]==arch
        assert page.locator('.private').count()==private==page.locator('.private:not(.off)').count()
    with opened(browser, url, 'supernet.html', **FORMS['phone']) as page:
        page.check('[name=d1][value="1"]'); page.check('[name=d2][value="3"]'); check(page, '1,3')
        page.focus('[name=d2]:checked'); page.keyboard.press('ArrowLeft'); check(page, '1,2')
        page.focus('[name=d1]:checked'); page.keyboard.press('ArrowRight'); check(page, '2,2')
        page.click('.conv[data-block="1"][data-from="3"]'); check(page, '3,2')
        page.check('[name=endings][value=own]'); check(page, '3,2', (*INHERITED, 'from scratch', 'gap'), 2)

@needs_browser
def test_without_javascript(browser, url):
    with opened(browser, url, 'supernet.html', java_script_enabled=False, **FORMS['light']) as page:
        assert page.locator('#picker tbody tr').count()==9
        assert page.locator('#picker table').is_visible() and not page.locator('#picker form').is_visible()

def expected_logits(n):
    "Logits of the first `n` test images (n, 9, 10) by mode, with parameters as the page has them"
    data,(net,_) = load_data(),draw_data.trained()
    nets = draw_data.modes(draw_data.rounded(net), data.train.x)
    return {mode: draw_data.logits(m, data.test.x[:n]) for mode,m in nets.items()}

MODES = 'shared', 'per node', 'recalibrated'

@needs_browser
def test_draw_logits(browser, url):
    """The page's nine logits of 100 test images are PyTorch's, in all three modes;
    the nine take less than 100 ms (500 on a busy machine)"""
    expected,images = expected_logits(100),read_dataset('MNIST')[1].data[:100].flatten(1).tolist()
    with opened(browser, url, 'draw.html', **FORMS['light']) as page:
        for mode in MODES:
            found,ms = page.evaluate("""([images, mode]) => {
                const ms = [], out = images.map(i => {
                    const start = performance.now(), logits = supernet.logits(i, mode)
                    ms.push(performance.now()-start)
                    return Object.values(logits) })
                return [out, ms.sort((a, b) => a-b)] }""", [images, mode])
            far = (torch.tensor(found)-expected[mode]).abs().max().item()
            print(f'{mode}: {far:.1e} from PyTorch, median {ms[50]:.0f} ms, fastest {ms[0]:.0f} ms')
            assert far<1e-3 and ms[50]<500
    assert (expected['shared']-expected['per node']).abs().max()>1  # the modes differ by more than the tolerance

def answers(page, mode):
    page.check(f'.modes [value="{mode}"]')
    return page.inner_text('.summary')

TWO = [(90,100), (100,65), (140,45), (175,65), (185,100), (150,160), (80,230), (210,230)]

@needs_browser
def test_draw_by_mouse(browser, url):
    "A 2 is a 2 to all nine with their own statistics, not with shared ones; cleared, there is no answer"
    with opened(browser, url, 'draw.html', **FORMS['light']) as page:
        box = page.locator('.pad').bounding_box()
        to = lambda x, y: page.mouse.move(box['x']+x*box['width']/280, box['y']+y*box['height']/280)
        to(*TWO[0]); page.mouse.down()
        for p in TWO[1:]: to(*p)
        page.mouse.up()
        page.wait_for_function("!document.querySelector('.summary').textContent.includes('It is')")
        for mode in MODES: assert (answers(page, mode)=='9 of 9 networks say 2.')==(mode!='shared'), mode
        page.click('text=Clear')
        assert 'Nothing' in page.inner_text('.summary') and page.locator('.tree >> text=%').count()==0

@needs_browser
def test_draw_by_keyboard_and_touch(browser, url):
    "A ready-made digit, named by its label, and the pen, by keys; a tap is a stroke"
    with opened(browser, url, 'draw.html', has_touch=True, **FORMS['phone']) as page:
        page.get_by_role('radio', name='6').focus()
        page.keyboard.press('ArrowRight')
        assert page.get_by_role('radio', name='7').first.is_checked() and 'It is a 7.' in page.inner_text('.summary')
        assert page.get_by_role('radio', checked=True).count()==2  # the digit and the mode
        page.focus('.pad'); page.keyboard.press(' ')
        for _ in range(16): page.keyboard.press('ArrowDown')
        page.wait_for_function("document.querySelector('.summary').textContent.endsWith('say 1.')")
        page.click('text=Clear'); page.tap('.pad')
        page.wait_for_function("!document.querySelector('.summary').textContent.includes('Nothing')")

@needs_browser
def test_draw_centres(browser, url):
    "A bar of 100 x 40 anywhere is 20 x 8 with its centre of mass in the middle; nothing stays nothing"
    with opened(browser, url, 'draw.html', **FORMS['light']) as page:
        pixels = page.evaluate("""() => { const inside = i => i%280>=170 && i%280<270 && i>=280*10 && i<280*50
            return Array.from(supernet.centred(Uint8Array.from({length: 280*280}, (_, i) => 255*inside(i)), 280)) }""")
        image,at = torch.tensor(pixels).view(28,28)/255, torch.arange(28.)
        assert abs(image.sum()-160)<2 and (image>0).any(0).sum() in (20, 21) and (image>0).any(1).sum() in (8, 9)
        for axis in (0, 1): assert abs((image.sum(axis)*at).sum()/image.sum()-14)<.05
        assert page.evaluate('supernet.centred(new Uint8Array(280*280), 280)') is None

@needs_browser
@pytest.mark.parametrize('script', [True, False])
def test_draw_without_javascript(browser, url, script):
    "The still picture and the table stand where otherwise one can draw"
    with opened(browser, url, 'draw.html', java_script_enabled=script, **FORMS['light']) as page:
        assert page.locator('#draw').is_visible()==script
        for part in ('img', 'table'): assert page.locator(f'.still {part}').is_visible()!=script
        assert page.locator('.still tbody tr').count()==9

@needs_browser
def test_search(browser, url):
    with opened(browser, url, 'search.html?q=recalibrate_bn', **FORMS['phone']) as page:
        page.wait_for_selector('#search-results a[href*="train.html#recalibrate-bn"]', timeout=10_000)
