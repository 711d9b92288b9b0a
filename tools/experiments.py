"""The runs behind chapter 05b, in the order in which they are worth most: python tools/experiments.py OUT [--jobs 2]

What OUT already has is not computed again. The hypotheses that they test stand in nbs/05b_endings.ipynb."""
import argparse
from supernet_nas.engine import Pool
from supernet_nas.runs import supernet_config
from supernet_nas.store import Results
from supernet_nas.study import Worker, study

FEW = 1000  # images
PARTS = ('convolution', 'linear', 'norm_linear', 'norm', 'blocks')
LAYERS = ('block2.1@before', 'stride2@before', 'block2.2@last', 'block2.1@last', 'block1.2@last', 'linear@first')

def experiments():
    "Lists of configurations; each list of one kind of data"
    def mnist(seeds, endings='own'): return [supernet_config(s, 12, endings=endings) for s in seeds]
    def few(seeds, endings='own', epochs=120, sampler='uniform'):
        return [supernet_config(s, epochs, sampler, endings=endings, n_train=FEW) for s in seeds]
    yield mnist((3, 4))
    yield few(range(5))
    yield mnist((0, 1, 2))
    for part in PARTS[:3]: yield few(range(3), part)
    yield few((5, 6, 7)) + few((5, 6, 7), epochs=98, sampler='nested') + few((5, 6, 7), sampler='shallow')
    for part in PARTS[3:]: yield few(range(3), part)
    for layer in LAYERS: yield few(range(3), layer)

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('out'); p.add_argument('--jobs', type=int, default=2)
    args = p.parse_args()
    for configs in experiments():
        c = configs[0]
        study(configs, Results(args.out), Worker(c.dataset, None, c.n_train), Pool(args.jobs))
