/* What the interactive figures of the book share; figure-KIND.js draws those of one kind.

   A page holds, for each of its figures, the data in a tag, as a JSON text.

       <script type="application/json" data-figure="fig-edge" data-kind="edge">{...}</script>

   Where they are large, the tag names a script with them in `data-beside`, which puts them into
   `kanvae.beside`; it is loaded when the figure comes near the screen.

   A figure is drawn into a box that stands in place of the static picture of the element with that
   id. The picture stays where the script does not run or fails, and on paper. */
"use strict";

const kanvae = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const DRAWN = new Set("svg g defs clipPath path circle line rect text title".split(" "));
  let panels = 0;

  // ---- Elements and controls ----

  /** An element of HTML or SVG; attributes that begin with "on" are listeners. */
  const element = (name, attributes = {}, ...children) => {
    const node = DRAWN.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value !== false) node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  };

  /** A number as the book writes it, with a real minus sign. */
  const text = (value, digits = 2) => value.toFixed(digits).replace(/^-(?=.*[1-9])/, "−").replace(/^-/, "");

  /** A slider with its name before it and its value behind it: {node, set(value)}. */
  const slider = ({ name, min, max, step, value, digits = 2, label = name, change }) => {
    const output = element("output", {}, text(value, digits));
    const input = element("input", {
      type: "range", min, max, step, value, "aria-label": label,
      oninput: () => {
        output.textContent = text(Number(input.value), digits);
        change(Number(input.value));
      },
    });
    const node = element("label", { class: "touch-slider" }, element("span", {}, name), input, output);
    const set = (number) => {
      input.value = number;
      output.textContent = text(number, digits);
    };
    return { node, input, set };
  };

  /** A choice of one among some: {node, set(value)}; options are [value, words]. */
  const choice = ({ name, options, value, change }) => {
    const select = element("select", { "aria-label": name, onchange: () => change(options[select.selectedIndex][0]) });
    for (const [, words] of options) select.append(element("option", {}, words));
    const set = (chosen) => {
      select.selectedIndex = options.findIndex(([one]) => one === chosen);
    };
    set(value);
    return { node: element("label", { class: "touch-choice" }, element("span", {}, name), select), set };
  };

  const button = (words, click, label = false) =>
    element("button", { type: "button", "aria-label": label, onclick: click }, words);

  /** The lines of a legend: [class of the curve, words], or of a dot that can be moved. */
  const legend = (...lines) => {
    const node = element("p", { class: "touch-legend" });
    for (const [kind, words] of lines) {
      const swatch = element("svg", { width: 28, height: 16, "aria-hidden": true });
      swatch.append(kind.startsWith("touch-handle")
        ? element("g", { class: kind }, element("circle", { class: "touch-dot", cx: 14, cy: 8, r: 6 }))
        : element("path", { class: `touch-curve ${kind}`, d: "M0 8H28" }));
      node.append(element("span", {}, swatch, ` ${words}`));
    }
    return node;
  };

  // ---- Panels: axes with curves, and points that can be moved ----

  const ticks = (low, high, most) => {
    const rough = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) {
      found.push([i * step, text(i * step, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))]);
    }
    return found;
  };

  const powers = (low, high) => {
    const factors = high / low > 100 ? [1] : high / low > 10 ? [1, 2, 5] : [1, 2, 3, 4, 6, 8];
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const factor of factors) {
        const value = factor * 10 ** power;
        if (value >= low && value <= high) found.push([value, value.toLocaleString("en")]);
      }
    }
    return found;
  };

  /**
   * Axes as wide as the box that they stand in.
   *
   * x, y: the ranges, [low, high]; log: the axes that are logarithmic, "", "x", "y" or "xy"; below:
   * how far under the axis its numbers stand.
   */
  const panel = ({ label, height, x, y, xlabel, ylabel, log = "", left = 46, bottom = 40, below = 17 }) => {
    panels += 1;
    const clip = element("rect");
    const axes = element("g", { class: "touch-axes", "aria-hidden": true });
    const inside = element("g", { "clip-path": `url(#touch-${panels})` });
    const above = element("g");
    const svg = element(
      "svg", { class: "touch-panel", role: "group", "aria-label": label, height },
      element("defs", {}, element("clipPath", { id: `touch-${panels}` }, clip)), axes, inside, above,
    );
    const items = [];
    const handles = [];
    const edge = { left, right: 12, top: 10, bottom };
    const self = { svg, x, y, xlabel, ylabel, width: 0, height };
    const bend = { x: log.includes("x") ? Math.log : Number, y: log.includes("y") ? Math.log : Number };
    const back = { x: log.includes("x") ? Math.exp : Number, y: log.includes("y") ? Math.exp : Number };
    const share = (axis, value) => {
      const [low, high] = self[axis].map(bend[axis]);
      return (bend[axis](value) - low) / (high - low);
    };
    const value = (axis, part) => {
      const [low, high] = self[axis].map(bend[axis]);
      return back[axis](low + part * (high - low));
    };
    const across = () => self.width - edge.left - edge.right;
    const down = () => self.height - edge.top - edge.bottom;
    self.px = (number) => edge.left + across() * share("x", number);
    self.py = (number) => edge.top + down() * (1 - share("y", number));
    /** The place in the axes of a pointer event. */
    self.at = (event) => {
      const box = svg.getBoundingClientRect();
      return [
        value("x", (event.clientX - box.left - edge.left) / across()),
        value("y", 1 - (event.clientY - box.top - edge.top) / down()),
      ];
    };

    const drawAxes = () => {
      axes.replaceChildren();
      const [x0, x1, y0, y1] = [edge.left, self.width - edge.right, self.height - edge.bottom, edge.top];
      axes.append(element("path", { d: `M${x0} ${y1}V${y0}H${x1}` }));
      const horizontal = log.includes("x") ? powers(...self.x) : ticks(...self.x, across() / 70);
      let end = -Infinity; // of the words before, at 8 pixels a letter with a gap
      for (const [at, words] of horizontal) {
        const place = self.px(at);
        axes.append(element("path", { d: `M${place} ${y0}v4` }));
        if (place - 4 * words.length < end) continue;
        axes.append(element("text", { x: place, y: y0 + below, "text-anchor": "middle" }, words));
        end = place + 4 * words.length;
      }
      const vertical = log.includes("y") ? powers(...self.y) : ticks(...self.y, down() / 30);
      for (const [at, words] of vertical) {
        const place = self.py(at);
        axes.append(element("path", { d: `M${x0} ${place}h-4` }));
        axes.append(element("text", { x: x0 - 7, y: place + 4, "text-anchor": "end" }, words));
      }
      const middle = (x0 + x1) / 2;
      axes.append(element("text", { x: middle, y: self.height - 4, "text-anchor": "middle" }, self.xlabel));
      const turn = `translate(12 ${(y0 + y1) / 2}) rotate(-90)`;
      axes.append(element("text", { transform: turn, "text-anchor": "middle" }, self.ylabel));
    };

    /** Draw everything anew, after a change of the size or of the ranges. */
    self.render = () => {
      if (self.width === 0) return;
      svg.setAttribute("viewBox", `0 0 ${self.width} ${self.height}`);
      const corner = { x: edge.left, y: edge.top, width: Math.max(0, across()), height: down() };
      for (const [key, number] of Object.entries(corner)) clip.setAttribute(key, number);
      drawAxes();
      for (const item of items) item();
    };

    const keep = (item) => {
      items.push(item);
      if (self.width > 0) item();
    };

    /** A curve, or several: set(pieces), each a list of [x, y]. */
    self.curve = (kind) => {
      const path = element("path", { class: `touch-curve ${kind}` });
      let pieces = [];
      inside.append(path);
      const draw = () => {
        const place = ([a, b]) => `${self.px(a).toFixed(2)} ${self.py(b).toFixed(2)}`;
        path.setAttribute("d", pieces.map((piece) => `M${piece.map(place).join("L")}`).join(""));
      };
      keep(draw);
      return {
        path,
        set: (given) => {
          pieces = given.filter((piece) => piece.length > 0);
          if (self.width > 0) draw();
        },
      };
    };

    /** Vertical lines: set(places). */
    self.marks = (kind) => {
      const curve = self.curve(kind);
      return { set: (places) => curve.set(places.map((a) => [[a, self.y[0]], [a, self.y[1]]])) };
    };

    /** Bars: set([[left, right, height]]). */
    self.bars = (kind) => {
      const curve = self.curve(kind);
      const outline = ([a, b, h]) => [[a, 0], [a, h], [b, h], [b, 0]];
      return { set: (bars) => curve.set(bars.map(outline)) };
    };

    /**
     * A point to move by pointer, finger and arrow keys.
     *
     * at() gives its place, move(x, y) is called with the one wished for, start() before the first
     * move; shift() lifts it by so many pixels; words() and now() say where it is, now() along the
     * axis `span`.
     */
    self.handle = ({ label: name, kind = "", step, at, move, words, now, span = "y", shift = () => 0, start = () => {} }) => {
      const node = element(
        "g", { class: `touch-handle ${kind}`, tabindex: 0, role: "slider", "aria-label": name },
        element("circle", { class: "touch-reach", r: 18 }), element("circle", { class: "touch-dot", r: 7 }),
      );
      const draw = () => {
        const [a, b] = at();
        node.setAttribute("transform", `translate(${self.px(a)} ${self.py(b) - shift()})`);
        [["min", self[span][0]], ["max", self[span][1]]].forEach(([end, limit]) =>
          node.setAttribute(`aria-value${end}`, limit));
        node.setAttribute("aria-valuenow", Number(now().toFixed(3)));
        node.setAttribute("aria-valuetext", words());
      };
      let offset = null;
      const own = {
        place: () => [self.px(at()[0]), self.py(at()[1]) - shift()],
        grab: (event) => {
          const [a, b] = at(), [c, d] = self.at(event);
          offset = [a - c, b - d];
          node.setPointerCapture(event.pointerId);
          node.focus({ preventScroll: true });
          event.preventDefault();
          start();
        },
      };
      handles.push(own);
      // where handles stand close, their reaches overlap: the nearest is meant
      node.addEventListener("pointerdown", (event) => {
        const box = svg.getBoundingClientRect();
        const pressed = [event.clientX - box.left, event.clientY - box.top];
        const far = ({ place }) => Math.hypot(place()[0] - pressed[0], place()[1] - pressed[1]);
        handles.reduce((best, one) => (far(one) < far(best) ? one : best), own).grab(event);
      });
      node.addEventListener("pointermove", (event) => {
        if (offset === null) return;
        const [a, b] = self.at(event);
        move(a + offset[0], b + offset[1]);
      });
      // where touch-action does not reach into drawings
      node.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
      for (const end of ["pointerup", "pointercancel"]) {
        node.addEventListener(end, () => {
          offset = null;
        });
      }
      node.addEventListener("keydown", (event) => {
        const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (way === undefined) return;
        event.preventDefault();
        if (!event.repeat) start();
        const size = event.shiftKey ? 5 : 1;
        const [a, b] = at();
        move(a + size * way[0] * step[0], b + size * way[1] * step[1]);
      });
      above.append(node);
      keep(draw);
      return {
        node,
        draw: () => self.width > 0 && draw(),
        remove: () => {
          node.remove();
          items.splice(items.indexOf(draw), 1);
          handles.splice(handles.indexOf(own), 1);
        },
      };
    };

    /** A place for what a figure draws itself: draw() is called whenever it must. */
    self.layer = (draw) => {
      const group = element("g");
      above.append(group);
      keep(() => draw(group));
      return group;
    };

    new ResizeObserver(() => {
      const width = svg.clientWidth;
      if (width === self.width) return;
      self.width = width;
      self.render();
    }).observe(svg);
    return self;
  };

  // ---- Arrays, splines and layers, as in kanvae.splines and kanvae.layers ----

  /** A number of 16 bits (IEEE 754 binary16). */
  const half = (bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1024 + fraction) * 2 ** (exponent - 25);
  };

  const KINDS = { uint8: Uint8Array, uint16: Uint16Array, float16: Uint16Array, float32: Float32Array };

  /** Data as it was given: packed arrays become {shape, values}. */
  const unpack = (value) => {
    if (Array.isArray(value)) return value.map(unpack);
    if (value === null || typeof value !== "object") return value;
    if (!("base64" in value)) {
      return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, unpack(part)]));
    }
    const bytes = Uint8Array.from(atob(value.base64), (letter) => letter.charCodeAt(0));
    const values = new KINDS[value.dtype](bytes.buffer);
    return { shape: value.shape, values: value.dtype === "float16" ? Float32Array.from(values, half) : values };
  };

  /** The B-spline bases at x by the Cox-de Boor recursion; the right end as in `cox_de_boor`. */
  const bases = (x, knots, degree) => {
    const end = knots[knots.length - degree - 1];
    let values = [];
    for (let i = 0; i + 1 < knots.length; i += 1) {
      const opens = knots[i] <= x && x < knots[i + 1] && x !== end;
      const closes = knots[i + 1] === end && knots[i] < end && x === end;
      values.push(opens || closes ? 1 : 0);
    }
    for (let k = 1; k <= degree; k += 1) {
      const rising = values.map((value, i) => {
        const width = i + k < knots.length ? knots[i + k] - knots[i] : 0;
        return value === 0 || width === 0 ? 0 : ((x - knots[i]) / width) * value;
      });
      values = rising.slice(0, -1).map((value, i) => value + values[i + 1] - rising[i + 1]);
    }
    return values;
  };

  /** sum_i c_i N_i(x). */
  const spline = (x, knots, coefficients, degree) =>
    bases(x, knots, degree).reduce((sum, value, i) => sum + value * coefficients[i], 0);

  /** Knots that cut [low, high] into so many intervals, with `degree` more a side. */
  const uniformKnots = (intervals, degree, [low, high]) =>
    Array.from({ length: intervals + 2 * degree + 1 }, (_, i) =>
      (i - degree) * ((high - low) / intervals) + low);

  /** Least squares, rows · c = y: by modified Gram-Schmidt on [rows y], columns of full rank. */
  const leastSquares = (rows, y) => {
    const n = rows[0].length;
    const columns = Array.from({ length: n }, (_, j) => rows.map((row) => row[j]));
    const rest = [...y];
    const upper = columns.map(() => new Array(n).fill(0));
    const right = new Array(n).fill(0);
    const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
    const without = (a, factor, b) => a.forEach((_, i) => { a[i] -= factor * b[i]; });
    for (let j = 0; j < n; j += 1) {
      upper[j][j] = Math.sqrt(dot(columns[j], columns[j]));
      columns[j] = columns[j].map((value) => value / upper[j][j]);
      for (let i = j + 1; i < n; i += 1) {
        upper[j][i] = dot(columns[j], columns[i]);
        without(columns[i], upper[j][i], columns[j]);
      }
      right[j] = dot(columns[j], rest);
      without(rest, right[j], columns[j]);
    }
    for (let j = n - 1; j >= 0; j -= 1) {
      for (let i = j + 1; i < n; i += 1) right[j] -= upper[j][i] * right[i];
      right[j] /= upper[j][j];
    }
    return right;
  };

  /** Coefficients of a spline on new knots: `kanvae.splines.refit`, point by point the same. */
  const refit = (coefficients, knots, newKnots, degree) => {
    const inside = (all) => all.slice(degree, all.length - degree);
    const fresh = inside(newKnots);
    const clamp = (value) => Math.min(Math.max(value, fresh[0]), fresh[fresh.length - 1]);
    const ends = [...inside(knots), ...fresh].sort((a, b) => a - b).map(clamp);
    const points = [];
    for (let i = 0; i + 1 < ends.length; i += 1) {
      for (let p = 0; p <= degree; p += 1) {
        points.push(ends[i] + ((ends[i + 1] - ends[i]) * (p + 0.5)) / (degree + 1));
      }
    }
    return leastSquares(
      points.map((x) => bases(x, newKnots, degree)),
      points.map((x) => spline(x, knots, coefficients, degree)),
    );
  };

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const FUNCTIONS = {
    silu: (x) => x * sigmoid(x),
    relu: (x) => Math.max(0, x),
    tanh: Math.tanh,
    identity: (x) => x,
  };

  /** The knots of an input: layers whose inputs share theirs ship one row. */
  const knotsOf = ({ grid: { shape: [rows, count], values } }, i) => {
    const first = rows === 1 ? 0 : i * count;
    return Array.from(values.subarray(first, first + count));
  };

  /** The bases that are not zero at the input i: [index, value]. */
  const alive = (layer, i, x) =>
    [...bases(x, knotsOf(layer, i), layer.order).entries()].filter(([, value]) => value !== 0);

  const LAYERS = {
    function: ({ name }, x) => x.map(FUNCTIONS[name]),
    linear: ({ weight, bias }, x) => {
      const [outputs, inputs] = weight.shape;
      return Float64Array.from({ length: outputs }, (_, o) => {
        let sum = bias === null ? 0 : bias.values[o];
        for (let i = 0; i < inputs; i += 1) sum += weight.values[o * inputs + i] * x[i];
        return sum;
      });
    },
    norm: ({ eps, weight, bias }, x) => {
      const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
      const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
      const scale = 1 / Math.sqrt(variance + eps);
      return x.map((value, i) => (value - mean) * scale * weight.values[i] + bias.values[i]);
    },
    kan: (layer, x) => {
      const [outputs, inputs, count] = layer.spline_weight.shape;
      const y = new Float64Array(outputs);
      for (let i = 0; i < inputs; i += 1) {
        const base = FUNCTIONS[layer.base](x[i]);
        const there = alive(layer, i, x[i]);
        for (let o = 0; o < outputs; o += 1) {
          const edge = o * inputs + i;
          y[o] += layer.base_weight.values[edge] * base;
          for (const [j, value] of there) y[o] += layer.spline_weight.values[edge * count + j] * value;
        }
      }
      return y;
    },
    shared: (layer, x) => {
      const [groups, inputs, count] = layer.spline_weight.shape;
      const values = new Float64Array(groups * inputs);
      for (let i = 0; i < inputs; i += 1) {
        const base = FUNCTIONS[layer.base](x[i]);
        const there = alive(layer, i, x[i]);
        for (let g = 0; g < groups; g += 1) {
          const curve = g * inputs + i;
          values[curve] = layer.base_scale.values[curve] * base;
          for (const [j, value] of there) values[curve] += layer.spline_weight.values[curve * count + j] * value;
        }
      }
      const outputs = layer.weight.shape[0];
      return Float64Array.from({ length: outputs }, (_, o) => {
        const first = Math.floor((o * groups) / outputs) * inputs;
        let sum = layer.bias === null ? 0 : layer.bias.values[o];
        for (let i = 0; i < inputs; i += 1) sum += layer.weight.values[o * inputs + i] * values[first + i];
        return sum;
      });
    },
  };

  /** What a stack of layers (`kanvae.export.layers`) gives for x. */
  const run = (layers, x) => layers.reduce((h, layer) => LAYERS[layer.kind](layer, h), Float64Array.from(x));

  /** The two parts of the function on the edge from input i to output o of a KAN layer. */
  const edge = (layer, i, o) => {
    const [, inputs, count] = layer.spline_weight.shape;
    const first = (o * inputs + i) * count;
    const coefficients = layer.spline_weight.values.subarray(first, first + count);
    const knots = knotsOf(layer, i);
    return {
      knots,
      base: (x) => layer.base_weight.values[o * inputs + i] * FUNCTIONS[layer.base](x),
      spline: (x) => spline(x, knots, coefficients, layer.order),
    };
  };

  /** An image (values in 0 to 1) in ink on a canvas; figure.css inverts it on dark pages. */
  const paint = (canvas, pixels, side, left = 0, top = 0) => {
    const image = new ImageData(side, side);
    pixels.forEach((value, i) => {
      image.data[4 * i + 3] = Math.round(255 * value);
    });
    canvas.getContext("2d").putImageData(image, left, top);
  };

  const range = (low, high, count) =>
    Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));

  /** Call what draws with the page's colours when its theme changes. */
  const onTheme = (draw) =>
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  // ---- The figures of a page ----

  const beside = {};

  /** Call act once, when an element is less than a screen or so away. */
  const whenNear = (node, act) => {
    const watch = (entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      act();
    };
    new IntersectionObserver(watch, { rootMargin: "1000px" }).observe(node);
  };

  /** Draw all figures of a kind: make(box, data) fills the box and returns what tests look at. */
  const figure = (kind, make) => {
    for (const script of document.querySelectorAll(`script[data-kind="${kind}"]`)) {
      const name = script.dataset.figure;
      const place = document.getElementById(name);
      const draw = (data) => {
        const box = element("div", { class: "touch" });
        const picture = place.querySelector("img");
        picture.before(box);
        try {
          box.figure = make(box, unpack(data));
        } catch (error) {
          box.remove();
          throw error;
        }
        picture.classList.add("touch-static");
      };
      const src = script.dataset.beside;
      const load = () => document.head.append(element("script", { src, onload: () => draw(beside[name]) }));
      if (src) whenNear(place, load);
      else draw(JSON.parse(script.textContent));
    }
  };

  return {
    beside, bases, button, choice, edge, element, figure, legend, onTheme, paint, panel, range, refit, run,
    sigmoid, slider, spline, text, uniformKnots, FUNCTIONS,
  };
})();
