// The nine networks of a supernet in plain JavaScript, named as in the package; tools/draw_data.py makes DRAW
'use strict'
const supernet = (() => {
  const DEPTHS = [1, 2, 3], SIZE = 28
  const each = (o, f) => Object.fromEntries(Object.entries(o).map(([k, v]) => [k, f(v)]))
  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0))

  function half(bits) {
    const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = (bits & 1023) / 1024
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction)
  }

  const weights = each(DRAW.weights, text => Float32Array.from(new Uint16Array(bytes(text).buffer), half))
  const buffers = each(DRAW.buffers, mode => each(mode, text => new Float32Array(bytes(text).buffer)))

  // Zeros around each channel of x (channels, size, size)
  function padded(x, channels, size) {
    const wide = size + 2, out = new Float32Array(channels * wide * wide)
    for (let row = 0; row < channels * size; row++) {
      const channel = Math.floor(row / size), y = row % size
      out.set(x.subarray(row * size, (row + 1) * size), (channel * wide + y + 1) * wide + 1)
    }
    return out
  }

  // 3x3 convolution with padding 1, no bias: x (C, size, size), weight (O, C, 3, 3)
  function conv(x, name, size, stride = 1) {
    const weight = weights[`${name}.conv.weight`], C = x.length / size ** 2, O = weight.length / C / 9
    const wide = size + 2, n = size / stride, p = padded(x, C, size), out = new Float32Array(O * n * n)
    for (let o = 0; o < O; o++) for (let c = 0; c < C; c++) {
      const [a, b, d, e, f, g, h, k, l] = weight.subarray((o * C + c) * 9, (o * C + c + 1) * 9)
      for (let y = 0; y < n; y++) {
        let i = (c * wide + y * stride) * wide, to = (o * n + y) * n
        for (const end = to + n; to < end; to++, i += stride) {
          const j = i + wide, m = j + wide
          out[to] += a * p[i] + b * p[i+1] + d * p[i+2] + e * p[j] + f * p[j+1] + g * p[j+2] +
            h * p[m] + k * p[m+1] + l * p[m+2]
        }
      }
    }
    return out
  }

  // What BatchNorm subtracts and divides by, per channel; a node is the depth of block 1, from 0
  function stats(name, mode, node) {
    const all = buffers[mode], C = weights[`${name}.bn.weight`].length
    const own = kind => all[`${name}.bn.node_${kind}`]?.subarray(node * C, (node + 1) * C)
    const part = kind => own(kind) ?? all[`${name}.bn.running_${kind}`]
    return {mean: part('mean'), std: part('var').map(v => Math.sqrt(v + DRAW.eps))}
  }

  // BatchNorm, folded into a scale and a shift per channel, and ReLU
  function norm(x, name, mode, node) {
    const {mean, std} = stats(name, mode, node), gain = weights[`${name}.bn.weight`], bias = weights[`${name}.bn.bias`]
    const C = gain.length, n = x.length / C, out = new Float32Array(x.length)
    for (let c = 0; c < C; c++) {
      const scale = gain[c] / std[c], shift = bias[c] - mean[c] * scale
      for (let i = c * n; i < (c + 1) * n; i++) out[i] = Math.max(0, x[i] * scale + shift)
    }
    return out
  }

  // Global average pooling and a linear layer
  function head(x) {
    const weight = weights['head.linear.weight'], bias = weights['head.linear.bias']
    const C = weight.length / bias.length, n = x.length / C
    const pooled = Array.from({length: C}, (_, c) => x.subarray(c * n, (c + 1) * n).reduce((s, v) => s + v) / n)
    return Array.from(bias, (b, k) => pooled.reduce((s, v, c) => s + v * weight[k * C + c], b))
  }

  // Logits of the nine from one pass that computes every shared prefix once; pixels 0..255 (784).
  // `strided` is what the stride convolution puts out after each depth of block 1.
  function forwardAll(pixels, mode) {
    const logits = {}, strided = []
    const image = Float32Array.from(pixels, v => (v / 255 - DRAW.mean) / DRAW.std)
    let x = norm(conv(image, 'transitions.0', SIZE), 'transitions.0', mode, 0)
    for (const d1 of DEPTHS) {
      const name = `blocks.0.layers.${d1 - 1}`, node = d1 - 1
      x = norm(conv(x, name, SIZE), name, mode, 0)
      strided.push(conv(x, 'transitions.1', SIZE, 2))
      let y = norm(strided[node], 'transitions.1', mode, node)
      for (const d2 of DEPTHS) {
        const name = `blocks.1.layers.${d2 - 1}`
        y = norm(conv(y, name, SIZE / 2), name, mode, node)
        logits[`${d1},${d2}`] = head(y)
      }
    }
    return {logits, strided}
  }

  // A drawing (size x size, ink 0..255) as MNIST's digits are: in a box of 20 x 20, its centre of mass in the middle
  function centred(ink, size) {
    let left = size, right = -1, top = size, bottom = -1, mass = 0, cx = 0, cy = 0
    ink.forEach((v, i) => {
      if (!v) return
      const x = i % size, y = Math.floor(i / size)
      left = Math.min(left, x); right = Math.max(right, x)
      top = Math.min(top, y); bottom = Math.max(bottom, y)
      mass += v; cx += v * (x + .5); cy += v * (y + .5)
    })
    if (!mass) return null
    const step = Math.max(right - left + 1, bottom - top + 1) / 20, middle = SIZE / 2 + .5, fine = 8
    const at = (x, y) => x >= 0 && x < size && y >= 0 && y < size ? ink[Math.floor(y) * size + Math.floor(x)] : 0
    return Uint8Array.from({length: SIZE ** 2}, (_, i) => {  // grey levels: the mean of 8 x 8 points in each pixel
      let sum = 0
      for (let k = 0; k < fine ** 2; k++) {
        const u = i % SIZE + (k % fine + .5) / fine, v = Math.floor(i / SIZE) + (Math.floor(k / fine) + .5) / fine
        sum += at(cx / mass + (u - middle) * step, cy / mass + (v - middle) * step)
      }
      return Math.round(sum / fine ** 2)
    })
  }

  return {DEPTHS, each, bytes, centred, forwardAll, stats, logits: (pixels, mode) => forwardAll(pixels, mode).logits}
})()
