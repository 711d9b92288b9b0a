"Sphinx's settings; tools/build_docs.py runs it"
import configparser, re
from pathlib import Path
from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from pygments.formatters import HtmlFormatter
from sphinx.highlighting import PygmentsBridge

_c = configparser.ConfigParser(delimiters=['='])
_c.read(Path(__file__).parents[2]/'settings.ini', encoding='utf-8')
_c = _c['DEFAULT']
project, author, release, copyright, language = _c['title'], _c['author'], _c['version'], _c['copyright'], 'en-GB'
extensions = ['myst_parser', 'sphinx_copybutton']
myst_enable_extensions = ['dollarmath', 'attrs_block']
myst_heading_anchors = 3
myst_all_links_external = True  # links are written as they stand in the pages, and checked there
html_theme, html_title, html_favicon = 'furo', project, 'favicon.svg'
html_static_path, html_css_files = ['style.css', 'supernet.js', 'draw.js'], ['style.css']
html_theme_options = dict(top_of_page_buttons=[],
                          footer_icons=[dict(name='GitHub', url=_c['git_url'], html='GitHub', **{'class': ''})])
html_copy_source = html_show_sourcelink = html_show_sphinx = html_use_index = False
html_domain_indices = False
pygments_style, pygments_dark_style = 'a11y-high-contrast-light', 'github-dark'
copybutton_selector = 'div.highlight-python pre, div.highlight-sh pre'
html_math_renderer = 'mathml'

class Lines(HtmlFormatter):
    "Each line an element that knows its indent, so that a long one can be wrapped and its rest set in"
    def wrap(self, source):
        indent = lambda line: re.match(' *', re.sub('<.*?>', '', line)).end()
        return super().wrap((n, f'<span class="line" style="--indent:{indent(line)}ch">{line}</span>')
                            for n,line in source)

PygmentsBridge.html_formatter = Lines

def setup(app):
    "Maths as MathML: no script, no fonts"
    def math(display):
        def visit(self, node):
            self.body.append(convert(node.astext(), display=display))
            raise SkipNode
        return visit, None
    app.add_html_math_renderer('mathml', math('inline'), math('block'))
