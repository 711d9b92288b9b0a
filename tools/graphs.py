"""The step of `train` as CUDA graphs, one for each architecture: the same arithmetic without Python's share of the time

On an H100 most of a step of these small networks is Python's (`results/graphs.log`). `replayed()` makes
`train` record a step the first time that an architecture is drawn and replay it from then on, with the update of SGD
in the graph. Rounding differs from the usual step in the last bits; `python tools/graphs.py` compares the two.
Momenta are not in the optimizer: a training that goes on from a checkpoint, or a run with a
`state`, is not replayed."""
import contextlib, sys, time
import torch
from supernet_nas import study, train as trained
from supernet_nas.data import load_data
from supernet_nas.fixes import cross_entropy
from supernet_nas.sampler import make_sampler
from supernet_nas.supernet import SuperNet
from supernet_nas.train import runtime

class Replayed:
    "In the place of `train._step`"
    def __init__(self, eager): self.eager,self.opt = eager,None

    def __call__(self, net, x, y, archs, opt, rt, loss, gradient, max_label):
        began_here = opt is self.opt or not opt.state
        sgd = type(opt) is torch.optim.SGD and len(opt.param_groups)==1 and opt.defaults['nesterov']
        usual = rt.precision=='fp32' and loss is cross_entropy and gradient is None and sgd
        if not (rt.device=='cuda' and usual and began_here):
            return self.eager(net, x, y, archs, opt, rt, loss, gradient, max_label)
        if opt is not self.opt: self._begin(net, opt)
        key = tuple(archs),x.shape
        if key not in self.steps: self.steps[key] = self._record(net, x, y, archs, opt, rt, max_label)
        graph,into,losses = self.steps[key]
        for static,new in zip(into, (x, y)): static.copy_(new)
        self.lr.fill_(opt.param_groups[0]['lr'])
        graph.replay()
        return losses

    def _begin(self, net, opt):
        "Forget the graphs of another training"
        self.opt,self.steps,self.pool,self.stream = opt,{},torch.cuda.graph_pool_handle(),torch.cuda.Stream()
        self.lr = torch.zeros((), device='cuda')
        self.momenta = {p: torch.zeros_like(p) for p in net.parameters()}

    def _record(self, net, x, y, archs, opt, rt, max_label):
        x,y = x.clone(),y.clone()
        def step(): return self.eager(net, x, y, archs, opt, rt, cross_entropy, None, max_label)
        kept = [b.clone() for b in net.buffers()]
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream): # to warm up, which must leave no trace
            for _ in range(3): step()
            for b,old in zip(net.buffers(), kept): b.copy_(old)
            opt.zero_grad()
        torch.cuda.current_stream().wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            losses = step()
            self._update([p for p in net.parameters() if p.grad is not None], opt.param_groups[0])
        opt.zero_grad() # the optimizer's own step has nothing to do
        return graph, (x, y), losses

    @torch.no_grad()
    def _update(self, params, group):
        "Nesterov's momentum, as torch.optim.SGD; what has no gradient stays as it is"
        momenta = [self.momenta[p] for p in params]
        grads = torch._foreach_add([p.grad for p in params], params, alpha=group['weight_decay'])
        torch._foreach_mul_(momenta, group['momentum'])
        torch._foreach_add_(momenta, grads)
        torch._foreach_add_(grads, momenta, alpha=group['momentum'])
        torch._foreach_mul_(grads, self.lr)
        torch._foreach_sub_(params, grads)

@contextlib.contextmanager
def replayed():
    "Within it `train` replays its steps"
    eager = trained._step
    trained._step = Replayed(eager)
    try: yield
    finally: trained._step = eager

class Worker(study.Worker):
    "Computes runs so"
    def __call__(self, task, tick):
        if task.what.state: return super().__call__(task, tick)
        with replayed(): found = super().__call__(task, tick)
        torch.cuda.empty_cache() # graphs keep their memory
        return found

def _some_steps(n, root, replay):
    "Weights and statistics after `n` steps, and seconds of a step"
    data,stamps = load_data('MNIST', root).train,[]
    torch.manual_seed(0)
    net,draw = SuperNet(endings='own'),make_sampler('uniform', (3,3), 0)
    some = type(data)(data.x[:128*n], data.y[:128*n])
    with replayed() if replay else contextlib.nullcontext():
        trained.train(net, some, 1, draw, rt=runtime('cuda', 'fp32'), tick=lambda: stamps.append(time.perf_counter()))
        torch.cuda.synchronize()
    return net.state_dict(), (time.perf_counter()-stamps[n//2])/(n-n//2)

if __name__=='__main__':
    root = sys.argv[1] if len(sys.argv)>1 else None
    for n in (20, 400):
        (a,slow),(b,fast),(c,_) = (_some_steps(n, root, replay) for replay in (False, True, False))
        real = [k for k in a if a[k].is_floating_point()]
        def apart(a, b): return max(((a[k]-b[k]).abs().max()/a[k].abs().max().clamp(min=1e-6)).item() for k in real)
        print(f'{n} steps: apart by {apart(a, b):.1e} of the largest, two usual ones by {apart(a, c):.1e}; '
              f'{1000*slow:.2f} and {1000*fast:.2f} ms a step', flush=True)
