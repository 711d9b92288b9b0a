// The page "Draw a digit": the nine answer what is drawn; see supernet.js
'use strict';
(() => {
  const root = document.getElementById('draw'), find = s => root.querySelector(s)
  const pad = find('.pad'), ink = pad.getContext('2d', {willReadFrequently: true})
  const seen = find('.seen canvas'), digits = find('.digits')
  const {DEPTHS, each, centred, forwardAll, stats} = supernet
  let pixels = null, label = null  // what the networks see, 784 numbers 0..255, and its class where that is known

  function show(canvas, pixels) {
    const data = new ImageData(28, 28)
    if (pixels) pixels.forEach((v, i) => data.data.set([255, 255, 255, v], 4 * i))
    canvas.getContext('2d').putImageData(data, 0, 0)
  }

  // Answers

  function answer(logits) {
    const exp = logits.map(v => Math.exp(v - Math.max(...logits))), p = Math.max(...exp) / exp.reduce((s, v) => s + v)
    return {digit: exp.indexOf(Math.max(...exp)), confidence: p > .995 ? '>99 %' : `${Math.round(100 * p)} %`}
  }

  // Archs by the digit they say, most first
  function groups(answers) {
    const by = {}
    for (const [arch, {digit}] of Object.entries(answers)) (by[digit] ??= []).push(`(${arch})`)
    return Object.entries(by).sort((a, b) => b[1].length - a[1].length)
  }

  function summary(said) {
    const [[most, all], ...others] = said
    const rest = others.map(([digit, archs]) => `${archs.join(', ')} ${archs.length == 1 ? 'says' : 'say'} ${digit}`)
    const truth = label == null ? '.' : `. It is a ${label}.`
    return [`${all.length} of 9 networks say ${most}`, ...rest].join('; ') + truth
  }

  const text = (kind, x, y, said) => `<text class="${kind}" x="${x}" y="${y}">${said}</text>`
  const rect = (kind, x, y, w, h) => `<rect class="${kind}" x="${x}" y="${y}" width="${w}" height="${h}" rx="4"/>`
  const box = (kind, x, y, said) => rect(kind, x, y, 56, 26) + text('', x + 28, y + 17, said)

  function leaf(x, y, a, right) {
    if (!a) return text('large', x + 28, y + 26, '–')
    const odd = a.digit != right, mark = odd ? label == null ? ' ≠' : ' ✗' : ''
    return rect(odd ? 'odd' : 'leaf', x - 3, y, 62, 46) + text('large', x + 28, y + 26, a.digit) +
      text('small', x + 28, y + 41, a.confidence + mark)
  }

  // The supernet as a tree: block 1 downwards, a row for each of its depths, a column for each depth of block 2
  function tree(answers, right) {
    const parts = [text('small', 31, 12, 'image'), box('stem', 3, 18, 'stem')]
    for (const d2 of DEPTHS) parts.push(text('small', 101 + 70 * d2, 54, `d₂ = ${d2}`))
    for (const d1 of DEPTHS) {
      const y = 98 * d1 - 38
      parts.push(`<path d="M31 ${d1 == 1 ? 44 : y - 72}V${y}M59 ${y + 13}H73"/>`, box('conv', 3, y, 'conv'),
        box('down', 73, y, 'stride 2'), text('small', 101, y + 42, `d₁ = ${d1}`))
      for (const d2 of DEPTHS) {
        const x = 70 * d2 + 73
        parts.push(`<path d="M${x - 14} ${y + 13}H${x}M${x + 28} ${y + 26}V${y + 34}"/>`, box('conv', x, y, 'conv'),
          leaf(x, y + 35, answers?.[`${d1},${d2}`], right))
      }
    }
    return parts.join('')
  }

  // Histogram

  const median = values => values.sort((a, b) => a - b)[values.length >> 1]
  const ratio = (mode, node) => {
    const own = stats('transitions.1', 'per node', node).std
    return median(Array.from(stats('transitions.1', mode, node).std, (s, c) => s / own[c])).toFixed(1)
  }

  // The channel whose shared mean is farthest from what one convolution in block 1 leaves, in its spreads
  function channel() {
    const own = stats('transitions.1', 'per node', 0), all = stats('transitions.1', 'shared', 0)
    const far = Array.from(own.mean, (m, c) => Math.abs(m - all.mean[c]) / own.std[c])
    return far.indexOf(Math.max(...far))
  }
  const CHANNEL = channel()

  function spread(mode, node) {
    const {mean, std} = stats('transitions.1', mode, node)
    return {mean: mean[CHANNEL], std: std[CHANNEL]}
  }

  const MESSAGES = {
    'shared': `<strong>One mean and one spread for all three do not fit.</strong> Shared statistics divide by
      ${ratio('shared', 0)} times the spread that one convolution in block 1 leaves, and by ${ratio('shared', 2)} times
      that of three (median over channels).`,
    'per node': `<strong>Each depth of block 1 has a mean and a spread that fit.</strong> They were averaged in
      training, apart for each depth.`,
    'recalibrated': `<strong>Each depth of block 1 has a mean and a spread that fit.</strong> They were measured after
      training, on ${DRAW.images.toLocaleString('en')} training images.`}

  // From where to where the axis goes, in whole numbers: far enough for what each depth leaves
  function range() {
    const own = DEPTHS.map((_, node) => spread('per node', node))
    const lo = Math.min(...own.map(s => s.mean - 2.5 * s.std)), hi = Math.max(...own.map(s => s.mean + 2 * s.std))
    return [Math.floor(lo), Math.ceil(hi)]
  }

  // How many values are in each of equal bins, as a share of the fullest; what lies outside is in the first or the last
  function binned(values, lo, hi, bins) {
    const counts = new Array(bins).fill(0), bin = v => Math.floor((v - lo) / (hi - lo) * bins)
    for (const v of values) counts[Math.min(Math.max(bin(v), 0), bins - 1)]++
    return counts.map(n => n / Math.max(...counts, 1))
  }

  const bar = (x, base, wide, high) => `<path class="bar" d="M${x} ${base}v${-high}h${wide}v${high}z"/>`
  const minus = said => said.replace('-', '−')

  // For one depth of block 1, the output of the stride convolution and the mean ± spread that BatchNorm uses there
  function row(d, values, {mean, std}, [lo, hi]) {
    const base = 70 * d - 6, bins = 5 * (hi - lo), wide = 332 / bins, X = v => 4 + 332 * (v - lo) / (hi - lo)
    const bars = binned(values, lo, hi, bins).map((share, i) => bar(4.5 + i * wide, base, wide - 1, 48 * share))
    return [rect('band', X(mean - std), base - 54, X(mean + std) - X(mean - std), 54),
      `<path class="mean" d="M${X(mean)} ${base - 54}v54"/>`, ...bars, `<path d="M4 ${base}H336"/>`,
      text('small start', 4, base - 42, `d₁ = ${d}`),
      text('small start', 4, base - 27, minus(`${mean.toFixed(2)} ± ${std.toFixed(2)}`))].join('')
  }

  function histogram(strided, mode) {
    const [lo, hi] = range(), n = strided[0].length / stats('transitions.1', mode, 0).mean.length
    const values = x => x.subarray(CHANNEL * n, (CHANNEL + 1) * n), ticks = []
    for (let v = lo; v <= hi; v++) ticks.push(text('small', 8 + 324 * (v - lo) / (hi - lo), 222, minus(`${v}`)))
    const rows = DEPTHS.map((d, node) => row(d, values(strided[node]), spread(mode, node), [lo, hi]))
    return [...rows, ...ticks].join('')
  }

  // Said only when it is news: what is read aloud should not be read twice
  function say(where, html) {
    if (where.said != html) where.innerHTML = where.said = html
  }

  function update() {
    const mode = find('.modes').elements.mode.value, out = forwardAll(pixels ?? new Uint8Array(784), mode)
    const answers = pixels && each(out.logits, answer), said = pixels && groups(answers)
    const spoken = Object.entries(answers ?? {}).map(([arch, a]) => `(${arch}): ${a.digit}, ${a.confidence}`)
    show(seen, pixels)
    say(find('.summary'), pixels ? summary(said) : 'Nothing is drawn yet.')
    find('.tree').innerHTML = tree(answers, pixels && (label ?? said[0][0]))
    find('.tree').setAttribute('aria-label', spoken.join('; ') || 'No answers yet')
    say(find('.message'), MESSAGES[mode])
    find('.histogram').innerHTML = histogram(out.strided, mode)
  }

  // Input

  const PEN = 27, EDGE = 280  // so thick a pen leaves about as much ink as MNIST has
  let asked = 0

  function clear() {
    ink.clearRect(0, 0, EDGE, EDGE)
    for (const r of digits.querySelectorAll(':checked')) r.checked = false
    pixels = label = null
  }

  // The answer to what is on the canvas, once a frame at most
  function soon() {
    asked ||= requestAnimationFrame(() => {
      const alpha = ink.getImageData(0, 0, EDGE, EDGE).data.filter((_, i) => i % 4 == 3)
      asked = 0
      if (label == null) pixels = centred(alpha, EDGE)
      update()
    })
  }

  function line(from, to) {
    if (label != null) clear()
    Object.assign(ink, {lineWidth: PEN, lineCap: 'round', strokeStyle: '#fff'})
    ink.beginPath(); ink.moveTo(from.x, from.y); ink.lineTo(to.x + .01, to.y); ink.stroke()  // a dot too has a length
    soon()
  }

  function where(e) {
    const r = pad.getBoundingClientRect()
    return {x: (e.clientX - r.left) * EDGE / r.width, y: (e.clientY - r.top) * EDGE / r.height}
  }

  let last = null
  pad.addEventListener('pointerdown', e => {
    if (!e.isPrimary || e.button) return
    pad.setPointerCapture(e.pointerId)
    last = where(e)
    line(last, last)
  })
  pad.addEventListener('pointermove', e => {
    if (!last || !e.isPrimary) return
    const to = where(e)
    line(last, to)
    last = to
  })
  for (const end of ['pointerup', 'pointercancel']) pad.addEventListener(end, () => last = null)

  const MOVES = {ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10], ' ': [0, 0]}
  const pen = {x: 140, y: 60, down: false}, inside = v => Math.min(Math.max(v, 20), EDGE - 20)
  pad.addEventListener('keydown', e => {
    if (!(e.key in MOVES)) return
    const [dx, dy] = MOVES[e.key], from = {...pen}
    e.preventDefault()
    if (e.key == ' ') pen.down = !pen.down
    Object.assign(pen, {x: inside(pen.x + dx), y: inside(pen.y + dy)})
    if (pen.down) line(from, pen)
    showPen()
  })

  // Where the keyboard's pen is, a ring; filled while it is down
  function showPen() {
    const ring = find('.pen')
    Object.assign(ring.style, {left: `${pen.x / EDGE * 100}%`, top: `${pen.y / EDGE * 100}%`})
    ring.classList.toggle('down', pen.down)
  }

  function choose(digit, radio) {
    clear()
    radio.checked = true
    pixels = supernet.bytes(digit.pixels); label = digit.label
    show(seen, pixels)
    ink.imageSmoothingEnabled = false
    ink.drawImage(seen, 0, 0, EDGE, EDGE)
    update()
  }

  for (const digit of DRAW.digits) {
    const option = document.createElement('label')
    option.innerHTML = `<input type="radio" name="digit" aria-label="${digit.label}">` +
      '<canvas width="28" height="28"></canvas>'
    const [radio, picture] = option.children
    show(picture, supernet.bytes(digit.pixels))
    radio.addEventListener('change', () => choose(digit, radio))
    find(`[data-hard=${digit.hard}]`).append(option)
    if (digit.index == DRAW.start) choose(digit, radio)
  }
  find('button').addEventListener('click', () => { clear(); update() })
  find('.modes').addEventListener('input', update)
  showPen()
  root.hidden = false
  document.querySelector('.still').hidden = true
})()
