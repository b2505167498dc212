/* One edge of a KAN layer: its coefficients, its two parts, and grid extension.

   data: coefficients, base_weight, spline_scale, grid_size, order, range, sizes ([least, most] G) */
"use strict";

kanvae.figure("edge", (box, data) => {
  const { element, panel, slider } = kanvae;
  const { order } = data;
  const knotsOf = (size) => kanvae.uniformKnots(size, order, data.range);
  const start = () => ({
    size: data.grid_size,
    coefficients: [...data.coefficients],
    // what the reader set last: a grid is extended from it, so that no error adds up
    set: { size: data.grid_size, coefficients: [...data.coefficients] },
    base: data.base_weight,
    scale: data.spline_scale,
  });
  let state = start();

  const x = [-3, 3];
  const plot = panel({ label: "The function on one edge", height: 330, x, y: [-3, 3], xlabel: "x", ylabel: "φ(x)" });
  const marks = plot.marks("ink dotted thin");
  const curves = { base: plot.curve("c2 dashed"), spline: plot.curve("c3 dashdot"), edge: plot.curve("c1 wide") };
  const words = element("p", { class: "touch-words", role: "status" });
  const at = (value) => ({
    base: state.base * kanvae.FUNCTIONS.silu(value),
    spline: state.scale * kanvae.spline(value, knotsOf(state.size), state.coefficients, order),
  });

  let dots = [];
  const makeDots = () => {
    for (const dot of dots) dot.remove();
    const knots = knotsOf(state.size);
    dots = state.coefficients.map((_, j) =>
      plot.handle({
        label: `Coefficient ${j + 1}`, step: [0, 0.1], now: () => state.coefficients[j],
        at: () => [(knots[j] + knots[j + order + 1]) / 2, state.coefficients[j]], // the middle of its basis
        words: () => kanvae.text(state.coefficients[j]),
        move: (_, y) => {
          state.coefficients[j] = Math.min(Math.max(y, plot.y[0]), plot.y[1]);
          state.set = { size: state.size, coefficients: [...state.coefficients] };
          draw();
        },
      }));
  };
  const draw = () => {
    const places = [...kanvae.range(...x, 301), ...knotsOf(state.size)].sort((a, b) => a - b);
    const values = places.map((value) => [value, at(value)]);
    curves.base.set([values.map(([value, { base }]) => [value, base])]);
    curves.spline.set([values.map(([value, { spline }]) => [value, spline])]);
    curves.edge.set([values.map(([value, { base, spline }]) => [value, base + spline])]);
    marks.set(knotsOf(state.size));
    for (const dot of dots) dot.draw();
    words.textContent = `G = ${state.size} intervals, ${state.coefficients.length} coefficients`;
    if (state.size !== state.set.size) words.textContent += `: ${moved()}`;
    words.textContent += ".";
  };
  /** How far the change of the grid moved the spline, inside it. */
  const moved = () => {
    const before = knotsOf(state.set.size), after = knotsOf(state.size);
    const most = Math.max(...kanvae.range(...data.range, 501).map((value) => Math.abs(
      kanvae.spline(value, after, state.coefficients, order)
      - kanvae.spline(value, before, state.set.coefficients, order))));
    if (most < 1e-9) return `from G = ${state.set.size} the spline inside the grid did not move at all`;
    return `from G = ${state.set.size} the spline inside the grid moved by at most ${kanvae.text(most, 3)}`;
  };

  const [least, most] = data.sizes;
  const size = slider({
    name: "G", label: "G, intervals of the grid", min: least, max: most, step: 1, value: state.size, digits: 0,
    change: (value) => {
      state.size = value;
      const { set } = state;
      state.coefficients = value === set.size ? [...set.coefficients]
        : kanvae.refit(set.coefficients, knotsOf(set.size), knotsOf(value), order);
      makeDots();
      draw();
    },
  });
  const weight = (name, key) => slider({
    name, min: -2, max: 2, step: 0.1, value: state[key],
    change: (value) => {
      state[key] = value;
      draw();
    },
  });
  const base = weight("base weight", "base"), scale = weight("spline scale", "scale");
  const again = kanvae.button("Start again", () => {
    state = start();
    size.set(state.size);
    base.set(state.base);
    scale.set(state.scale);
    makeDots();
    draw();
  });
  box.append(
    kanvae.legend(["c1 wide", "edge: the sum"], ["c2 dashed", "base"], ["c3 dashdot", "spline"], ["ink dotted thin", "knots"],
      ["touch-handle", "coefficients: drag them"]),
    plot.svg,
    element("div", { class: "touch-controls" }, size.node, base.node, scale.node, again), words,
  );
  makeDots();
  draw();
  return {
    values: (places) => ({
      size: state.size, coefficients: state.coefficients, base_weight: state.base, spline_scale: state.scale,
      parts: places.map(at),
    }),
  };
});
