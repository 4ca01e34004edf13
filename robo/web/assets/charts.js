"use strict";
// Curves and stacked bars over the steps of an episode: drawn once, then only the cursor moves.

const COLOURS = ["#58a6ff", "#ffa657", "#7ed385", "#d28cff", "#ff7b8f", "#56d3dc", "#e6cd5a",
  "#a096ff", "#c8916e", "#f096d7"];
const TOTAL = "#c4cbd6";
const EVENT_COLOURS = {success: "#3fb96e", infraction: "#f06058", limit: "#f06058",
  keyframe: "#d6aa54"};

function colour(index) { return COLOURS[index % COLOURS.length]; }

function ticks(low, high, count) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => span / s <= count) || 10 * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9; i++) found.push(i * step);
  return found;
}

function number(value) {
  if (value === null || value === undefined) return "\u2013";
  const size = Math.abs(value);
  return size >= 1e5 ? value.toExponential(2) : size >= 100 ? value.toFixed(1) : value.toFixed(3);
}

// Bars of positive parts grow upwards from 0, of negative parts downwards.
function stackBars(parts, steps) {
  const up = new Float64Array(steps), down = new Float64Array(steps);
  return parts.map(({values, colour}) => {
    const edges = values.map((value, t) => {
      const side = value >= 0 ? up : down;
      const from = side[t];
      side[t] += value || 0;
      return [from, side[t]];
    });
    return {edges, colour};
  });
}

class Chart {
  // canvas: shown; steps: L; lines: [{name, values [L+1], colour, width}]; bars: see stackBars.
  constructor(canvas, {steps, lines = [], bars = [], hops = null, range = null, onScrub}) {
    Object.assign(this, {canvas, steps, lines, bars, hops, range, onScrub});
    this.still = document.createElement("canvas");
    this.cursor = 0;
    this.limits();
    const scrub = (event) => {
      const box = canvas.getBoundingClientRect();
      const share = (event.clientX - box.left - this.left) / (this.width - this.left - this.right);
      this.onScrub(Math.round(Math.min(1, Math.max(0, share)) * this.steps));
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      scrub(event);
    });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) scrub(event); });
    this.observer = new ResizeObserver(() => this.render());
    this.observer.observe(canvas);
  }

  close() { this.observer.disconnect(); }

  limits() {
    const values = [0];
    for (const line of this.lines) for (const v of line.values) if (v !== null) values.push(v);
    for (const {edges} of this.bars) for (const [a, b] of edges) values.push(a, b);
    let low = Infinity, high = -Infinity;
    for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
    if (this.range) { low = Math.min(low, this.range[0]); high = Math.max(high, this.range[1]); }
    if (high - low < 1e-9) { low -= 1; high += 1; }
    const room = 0.06 * (high - low);
    this.low = low < 0 ? low - room : low;
    this.high = high + room;
  }

  x(step) { return this.left + step / this.steps * (this.width - this.left - this.right); }
  y(value) {
    return this.height - this.bottom
      - (value - this.low) / (this.high - this.low) * (this.height - this.bottom - this.top);
  }

  render() {
    const box = this.canvas.getBoundingClientRect();
    if (box.width < 20) return;
    Object.assign(this, {width: box.width, height: box.height, left: 52, right: 10, top: 8,
      bottom: 22});
    const ratio = window.devicePixelRatio || 1;
    for (const one of [this.canvas, this.still]) {
      one.width = Math.round(box.width * ratio);
      one.height = Math.round(box.height * ratio);
      one.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    const pen = this.still.getContext("2d");
    this.axes(pen);
    for (const {edges, colour} of this.bars) this.drawBars(pen, edges, colour);
    for (const line of this.lines) this.drawLine(pen, line);
    if (this.hops) this.drawHops(pen);
    this.move(this.cursor);
  }

  axes(pen) {
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of ticks(this.low, this.high, 5)) {
      const y = Math.round(this.y(value)) + 0.5;
      pen.strokeStyle = Math.abs(value) < 1e-12 ? "#545e6e" : "#2a313c";
      pen.beginPath(); pen.moveTo(this.left, y); pen.lineTo(this.width - this.right, y); pen.stroke();
      pen.fillStyle = "#9aa5b6";
      pen.fillText(String(+value.toPrecision(4)), this.left - 7, y);
    }
    pen.textAlign = "center";
    pen.textBaseline = "top";
    const wanted = Math.min(12, this.steps, Math.floor(this.width / 70));
    for (const step of ticks(0, this.steps, Math.max(1, wanted)))
      if (Number.isInteger(step)) pen.fillText(String(step), this.x(step), this.height - 17);
  }

  drawBars(pen, edges, colour) {
    pen.fillStyle = colour;
    const gap = this.x(1) - this.x(0) >= 5 ? 1 : 0;
    edges.forEach(([from, to], t) => {
      if (from === to) return;
      const top = this.y(Math.max(from, to)), bottom = this.y(Math.min(from, to));
      const left = this.x(t), width = Math.max(1, this.x(t + 1) - left - gap);
      pen.fillRect(left, top, width, Math.max(1, bottom - top));
    });
  }

  drawLine(pen, {values, colour, width = 2, held = true}) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.lineJoin = "round";
    pen.beginPath();
    let open = false;
    values.forEach((value, step) => {
      if (value === null) { open = false; return; }
      const x = this.x(step), y = this.y(value);
      if (!open) pen.moveTo(x, y);
      else { if (held) pen.lineTo(x, this.y(values[step - 1])); pen.lineTo(x, y); }
      open = true;
    });
    pen.stroke();
    pen.lineWidth = 1;
  }

  drawHops(pen) {
    const {step, value, heights} = this.hops;
    step.forEach((at, i) => {
      const hop = value[i];
      if (hop === null || Math.abs(hop) < 0.01) return;
      const up = hop > 0 ? 1 : -1, half = 2.5 + 4 * Math.sqrt(Math.min(1, Math.abs(hop)));
      const x = this.x(at), y = this.y(heights[at]) - up * 5;
      pen.fillStyle = up > 0 ? "#3fb96e" : "#f06058";
      pen.beginPath();
      pen.moveTo(x - half, y); pen.lineTo(x + half, y); pen.lineTo(x, y - up * 1.6 * half);
      pen.fill();
    });
  }

  move(step) {
    this.cursor = step;
    if (!this.width) return;
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, this.width, this.height);
    pen.drawImage(this.still, 0, 0, this.width, this.height);
    const x = Math.round(this.x(step)) + 0.5;
    pen.strokeStyle = "#ebeff5";
    pen.beginPath(); pen.moveTo(x, this.top); pen.lineTo(x, this.height - this.bottom); pen.stroke();
    for (const {values, colour} of this.lines) {
      if (values[step] === null || values[step] === undefined) continue;
      pen.fillStyle = colour;
      pen.beginPath(); pen.arc(x, this.y(values[step]), 4, 0, 2 * Math.PI); pen.fill();
    }
  }
}
