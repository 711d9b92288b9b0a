"""What the page "Draw a digit" computes with, as one JavaScript file: weights, BatchNorm statistics, ready-made digits

`draw_data.js` assigns a constant, so that a page opened as a file can load it by a script tag; tools/docs/supernet.js
reads it."""
import base64, json
from copy import deepcopy
from pathlib import Path
import torch
from supernet_nas.data import load_data
from supernet_nas.files import load_net
from supernet_nas.train import Runtime, recalibrate_bn

ROOT = Path(__file__).resolve().parent.parent
WHICH = dict(arm='supernet', dataset='MNIST', sampler='uniform', widths=[16,32], max_depths=[3,3], epochs=12, seed=0)
RECAL_IMAGES = 2000  # a figure in chapter 5 is level from here on
LOOKED_AT = 1000  # test images among which the hard ones are chosen
HARD = 3  # how many of them

def trained():
    "The committed supernet that `WHICH` describes, and the name of its run"
    for path in sorted((ROOT/'results'/'weights').glob('*.safetensors')):
        net,about = load_net(path)
        if WHICH.items()<=about.items(): return net, path.stem
    raise FileNotFoundError(f'no supernet with {WHICH} in results/weights')

@torch.no_grad()
def rounded(net):
    "A copy with parameters that half precision can hold; BatchNorm's statistics stay as they are"
    net = deepcopy(net)
    for p in net.parameters(): p.copy_(p.half())
    return net

def modes(net, images):
    "`net` with each kind of statistics; what a path measures anew is the same for all networks that share the prefix"
    recalibrated,deepest = deepcopy(net),net.max_depths[1]
    for d in range(1, net.max_depths[0]+1):
        recalibrate_bn(recalibrated, images[:RECAL_IMAGES], (d,deepest), rt=Runtime('cpu', 'fp32'))
    return {'shared': net.with_shared_stats(), 'per node': net, 'recalibrated': recalibrated}

@torch.no_grad()
def logits(net, x):
    "Of all networks: (N, 9, 10)"
    return torch.stack(list(net.forward_all(x).values()), 1)

def wrong(net, x, y): return (logits(net, x).argmax(2)!=y[:,None]).sum(1)  # how many of the nine, for each image

def ready_made(nets, test):
    """Test images to choose from: the first of each class, and those of the first `LOOKED_AT` that most networks get
    wrong with statistics per node; last, where to start: the first of its class that shared statistics harm most"""
    x,y = test.x[:LOOKED_AT],test.y[:LOOKED_AT]
    first = torch.tensor([int((y==c).nonzero()[0]) for c in y.unique()])
    hard = wrong(nets['per node'], x, y).argsort(descending=True, stable=True)[:HARD]
    harm = wrong(nets['shared'], x[first], y[first])-wrong(nets['per node'], x[first], y[first])
    return first.tolist(), hard.tolist(), int(first[harm.argmax()])

def encoded(t): return base64.b64encode(t.contiguous().numpy().tobytes()).decode()

def buffers(net):
    "A network's statistics; where there are some per node, only these"
    kept = {k: v for k,v in net.state_dict().items() if k.endswith(('_mean', '_var'))}
    return {k: encoded(v) for k,v in kept.items() if k.replace('running', 'node') not in kept or 'node' in k}

def content(data, net, run):
    "All that the page needs, ready for JSON"
    nets = modes(rounded(net), data.train.x)
    first,hard,start = ready_made(nets, data.test)
    (mean,),(std,) = data.mean,data.std
    raw = ((data.test.x*std+mean)*255).round().byte()
    digits = [dict(index=i, label=int(data.test.y[i]), hard=i in hard, pixels=encoded(raw[i])) for i in [*first, *hard]]
    return dict(run=run, mean=mean, std=std, eps=net.transitions[0].bn.eps, images=RECAL_IMAGES, start=start,
                digits=digits, weights={k: encoded(p.detach().half()) for k,p in net.named_parameters()},
                buffers={mode: buffers(n) for mode,n in nets.items()})

def write(path):
    path.write_text(f'const DRAW = {json.dumps(content(load_data(), *trained()))}\n', encoding='utf-8')
