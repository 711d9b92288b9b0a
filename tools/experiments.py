"""The runs behind chapters 05b, 05f and 05g, in the order in which they are worth most: python tools/experiments.py OUT

What OUT already has is not computed again. The hypotheses that they test stand in these chapters. The machine of
the first of these runs has no bf16 arithmetic, that of the earlier ones had: so the baselines, shared endings and
networks from scratch, are repeated into OUT/fp32. What is judged on validation, with seeds that nothing else uses, is
kept apart in OUT/candidates."""
import argparse
from pathlib import Path
import graphs
from supernet_nas.engine import Pool
from supernet_nas.evidence import ADAMW, ALONE, CONFIRMING, SHARES, SHARES_FEW, THIRD, THIRD_FEW, alone, shared
from supernet_nas.runs import scratch_config, supernet_config
from supernet_nas.store import Results
from supernet_nas.study import Worker, study
from supernet_nas.supernet import search_space

FEW = 1000  # images
LAYERS = ('block2.1@before', 'stride2@before', 'block2.2@last', 'block2.1@last', 'block1.2@last', 'linear@first',
    'block1.1@last', 'block2.2@before', 'block2.3@before')

def mnist(seeds, endings='own', share='a third', sampler='uniform', **kw):
    epochs = shared('MNIST', share, sampler, endings=endings).epochs
    return [supernet_config(s, epochs, sampler, endings=endings, **kw) for s in seeds]

def mnist_alone(seeds, epochs=ALONE['MNIST'], **kw):
    return [scratch_config(s, epochs, a, **kw) for s in seeds for a in search_space()]

def few(seeds, endings='own', sampler='uniform', epochs=None, **kw):
    epochs = epochs or shared('1,000 images', sampler=sampler, endings=endings).epochs
    return [supernet_config(s, epochs, sampler, endings=endings, n_train=FEW, **kw) for s in seeds]

def few_alone(seeds, epochs=ALONE['1,000 images'], **kw):
    return [scratch_config(s, epochs, a, n_train=FEW, **kw) for s in seeds for a in search_space()]

def few_shot(seeds, epochs, **kw):
    return [supernet_config(s, epochs, f'few_shot_{i}', **kw) for s in seeds for i in (1,2,3)]

def levels(seeds):
    "How much is shared, at the FLOPs of 120 and of 360 epochs of a supernet, where that is not among the others"
    total = {share: SHARES_FEW[share]['uniform'] for share in ('a third', 'all')}
    own = few(seeds, epochs=total['all'])
    return few_alone(seeds, total['a third']//9) + own + few_shot(seeds, total['all']//3, n_train=FEW)

def longest_few(seeds):
    "Likewise at three times the FLOPs of 360 epochs, all levels"
    total = SHARES_FEW['three times']['uniform']
    supernets = few(seeds, epochs=total) + few(seeds, None, epochs=total)
    return supernets + few_shot(seeds, total//3, n_train=FEW) + few_alone(seeds, total//9)

LARGER,DEPTHS = dict(n_train=FEW, widths=(16,32,64)),(3,3,3)  # 27 networks in three stages
JUDGED = (None, None), ('own', None), (None, 'parent')  # endings and `bn` that the hypotheses are about

def larger(seeds, kinds=(*JUDGED, ('own', 'parent')), epochs=3*THIRD_FEW['uniform'], data=LARGER):
    "Supernets of 27 networks with a third of the FLOPs of training all alone"
    made = [dict(seed=s, endings=e, bn=bn) for s in seeds for e,bn in kinds]
    return [supernet_config(**m, epochs=epochs, max_depths=DEPTHS, **data) for m in made]

def larger_alone(seeds, epochs=ALONE['1,000 images'], data=LARGER):
    return [scratch_config(s, epochs, a, **data) for s in seeds for a in search_space(DEPTHS)]

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
    yield 'fp32', few_alone(range(5))
    adamw = dict(recipe=ADAMW)
    yield '', few(range(3), None, **adamw) + few(range(3), **adamw) + few_alone(range(3), **adamw)
    yield '', [c for part in LAYERS for c in few(range(3), part)]
    teacher = dict(loss='teacher') # repeated: its BatchNorm averages had been moved by one image before it taught
    yield 'fp32', few(range(5), None, **teacher)
    yield 'fp32', mnist(range(3), None, **teacher)
    yield 'fp32', mnist_alone(range(5))
    yield 'candidates', few((5, 6, 7)) + few((5, 6, 7), sampler='nested', epochs=THIRD_FEW['nested']) # more FLOPs
    yield 'candidates', few((5, 6, 7), sampler='nested') + few((5, 6, 7), sampler='shallow')
    yield '', few(range(5), sampler='nested')
    yield '', larger([0])+larger_alone([0])
    yield '', mnist((3, 4, 0, 1, 2), sampler='nested')
    for seed in range(5): yield '', levels([seed])
    yield '', mnist((5, 6, 7))
    yield 'fp32', mnist((5, 6, 7), None)
    yield 'fp32', mnist_alone((5, 6, 7))
    yield '', mnist((5, 6, 7), share='all')
    yield '', [c for part in LAYERS for c in few((3, 4), part)]
    yield '', mnist(range(3), dataset='FashionMNIST')
    yield 'fp32', mnist(range(3), None, dataset='FashionMNIST')
    yield '', larger(range(1, 5), JUDGED)
    yield 'fp32', mnist_alone(range(3), dataset='FashionMNIST')
    for seed in range(1, 5): yield '', larger_alone([seed])+larger([seed])
    yield from on_gpu()
    yield from on_cpu()
    yield from left()

UNSEEN = 3, 4, 5, 6, 7  # seeds that the prototype of own endings had not seen
MOVED = 'block2.1@last', 'linear', 'stride2@before', 'linear@first'  # those shown to move something on 1,000 images
ON_FASHION = dict(dataset='FashionMNIST', widths=(16,32,64))  # 27 networks

def on_gpu():
    "Computed on a GPU, in fp32: --device cuda --precision fp32"
    yield 'fp32', mnist(UNSEEN, None, share='all') + few(range(5), None, epochs=SHARES_FEW['all']['uniform'])
    yield 'fp32', few_shot(range(5), THIRD['few_shot']) + few_shot(range(5), THIRD_FEW['few_shot'], n_train=FEW)
    yield 'fp32', mnist_alone(UNSEEN, alone(share='three times').epochs)
    yield '', [c for part in MOVED for c in mnist(UNSEEN[:3], part, share='all')]
    yield 'fp32', few_shot(UNSEEN[:3], THIRD['uniform'])
    yield '', mnist(CONFIRMING)
    yield 'fp32', mnist(CONFIRMING, None) + mnist_alone(CONFIRMING)

def on_cpu():
    "The first list in fp32, the others in bf16: --precision"
    yield '', mnist(range(5), 'convolution') + mnist(range(3), 'norm') + mnist(range(3), 'norm_linear')
    yield '', mnist(range(3), share='all', dataset='FashionMNIST')
    yield '', mnist(UNSEEN, share='three times')
    yield '', mnist(UNSEEN[:3], None, share='three times') + few_shot(UNSEEN[:3], SHARES['all']['uniform'])
    yield '', mnist((5,), None, share='all')  # as 3 and 4, for what 108 epochs bring in one arithmetic
    yield '', larger_alone(range(3), ALONE['Fashion-MNIST'], ON_FASHION)
    yield '', larger(range(3), JUDGED, SHARES['all']['uniform'], ON_FASHION)
    yield '', mnist(UNSEEN[3:], None, share='three times')
    yield '', longest_few(range(5))

def left():
    "Not computed yet"
    yield '', mnist(range(3), share='all')
    yield 'fp32', mnist(range(3), None, share='all')
    yield '', [c for part in LAYERS if part not in MOVED for c in mnist(UNSEEN[:3], part, share='all')]

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('out'); p.add_argument('--jobs', type=int, default=2)
    p.add_argument('--skip', type=int, default=0, help='lists that are passed over')
    p.add_argument('--fashion', help="folder with Fashion-MNIST's files")
    p.add_argument('--device', default='auto'); p.add_argument('--precision', default='auto')
    args = p.parse_args()
    for folder,configs in list(experiments())[args.skip:]:
        c = configs[0]
        root = args.fashion if c.dataset=='FashionMNIST' else None
        kind = graphs.Worker if args.device=='cuda' else Worker
        worker = kind(c.dataset, root, c.n_train, args.device, args.precision)
        study(configs, Results(Path(args.out)/folder), worker, Pool(args.jobs))
