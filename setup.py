"All settings live in settings.ini; edit there, not here."
from configparser import ConfigParser
from pathlib import Path
import shlex, setuptools

cp = ConfigParser(delimiters=['=']); cp.read('settings.ini', encoding='utf-8')
cfg = cp['DEFAULT']
setuptools.setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0',
    packages=[cfg['lib_name']], package_data={cfg['lib_name']: ['mnist/*']}, zip_safe=False,
    python_requires='>='+cfg['min_python'], install_requires=shlex.split(cfg['requirements']),
    extras_require={extra: shlex.split(cfg[f'{extra}_requirements']) for extra in ('dev', 'ray', 'export')},
    long_description=Path('README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    entry_points={'console_scripts': cfg['console_scripts'].split(),
                  'nbdev': [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"]})
