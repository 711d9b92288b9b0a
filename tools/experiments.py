"""The runs behind chapter 05b, in the order in which they are worth most: python tools/experiments.py OUT [--jobs 2]

What OUT already has is not computed again. The hypotheses that they test stand in nbs/05b_endings.ipynb. The machine
of these runs has no bf16 arithmetic, that of the earlier ones had: so the baseline is repeated into OUT/fp32."""
import argparse
from pathlib import Path
from supernet_nas.engine import Pool
from supernet_nas.evidence import SHARES, THIRD_FEW
from supernet_nas.runs import supernet_config
from supernet_nas.store import Results
from supernet_nas.study import Worker, study

FEW = 1000  # images
LAYERS = ('block2.1@before', 'stride2@before', 'block2.2@last', 'block2.1@last', 'block1.2@last', 'linear@first')

def mnist(seeds, endings='own', share='a third'):
    return [supernet_config(s, SHARES[share]['uniform'], endings=endings) for s in seeds]

def few(seeds, endings='own', sampler='uniform'):
    epochs = THIRD_FEW.get(sampler, THIRD_FEW['uniform'])
    return [supernet_config(s, epochs, sampler, endings=endings, n_train=FEW) for s in seeds]

def experiments():
    "Folder and configurations, all of one kind of data"
    yield '', mnist((3, 4))
    yield '', few(range(5))
    yield 'fp32', mnist((1, 2, 3, 4), None)
    yield 'fp32', few(range(5), None)
    yield '', mnist((2, 0, 1))
    yield '', mnist((3, 4), share='all')
    yield '', few(range(3), 'norm_linear') + few(range(3), 'convolution') + few(range(3), 'linear')
    yield '', few((3, 4), 'linear') + few(range(3), 'norm') + few(range(3), 'blocks')
    yield '', mnist((3, 4, 0, 1, 2), 'linear')
    for part in LAYERS: yield '', few(range(3), part)
    yield '', few((5, 6, 7)) + few((5, 6, 7), sampler='nested') + few((5, 6, 7), sampler='shallow')

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('out'); p.add_argument('--jobs', type=int, default=2)
    p.add_argument('--skip', type=int, default=0, help='lists that are passed over')
    args = p.parse_args()
    for folder,configs in list(experiments())[args.skip:]:
        c = configs[0]
        study(configs, Results(Path(args.out)/folder), Worker(c.dataset, None, c.n_train), Pool(args.jobs))
