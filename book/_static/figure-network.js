/* The edges of a trained KAN: choose one, see its function and where its inputs fall.

   data: layers, each {name, inputs, outputs (words), layer (kind "kan"), seen (what
   `kanvae.figures.interactive.histograms` gives for the marks)}; marks: where the grid ends and where
   the knots do; start: [layer, input, output] */
"use strict";

kanvae.figure("network", (box, data) => {
  const { element, panel, range, slider } = kanvae;
  const state = { at: 0, input: 0, output: 0 };
  const inputsOf = (layer) => layer.seen.counts.shape[0];
  const outputsOf = (layer) => layer.layer.spline_weight.shape[0];

  /** The bins of an input's histogram: [left, right, share]. */
  const bins = (layer, i) => {
    const count = layer.seen.counts.shape[1];
    const counts = Array.from(layer.seen.counts.values.subarray(i * count, (i + 1) * count));
    const all = counts.reduce((sum, value) => sum + value, 0);
    const ends = range(layer.seen.low.values[i], layer.seen.high.values[i], count + 1);
    return counts.map((value, j) => [ends[j], ends[j + 1], value / all]);
  };
  const valueOf = ({ base, spline }) => (x) => base(x) + spline(x);

  /** How much an edge varies over its inputs: the standard deviation of its function. */
  const strength = (layer, i, o) => {
    const value = valueOf(kanvae.edge(layer.layer, i, o));
    let [mean, square] = [0, 0];
    for (const [left, right, share] of bins(layer, i)) {
      if (share === 0) continue;
      const y = value((left + right) / 2);
      mean += share * y;
      square += share * y * y;
    }
    return Math.sqrt(Math.max(0, square - mean * mean));
  };
  const strengths = data.layers.map((layer) =>
    Array.from({ length: outputsOf(layer) }, (_, o) =>
      Array.from({ length: inputsOf(layer) }, (__, i) => strength(layer, i, o))));

  const map = element("canvas", { class: "touch-map touch-ink", "aria-hidden": true });
  const plot = panel({ label: "The function on the chosen edge", height: 250, x: [-1, 1], y: [-1, 1], xlabel: "", ylabel: "φ", left: 58 });
  const seen = panel({ label: "Where the inputs of the edge fall", height: 150, x: [-1, 1], y: [0, 1], xlabel: "", ylabel: "share", left: 58 });
  const marks = [plot, seen].map((one) => one.marks("ink dotted thin"));
  const curves = { base: plot.curve("c2 dashed"), spline: plot.curve("c3 dashdot"), whole: plot.curve("c1 wide") };
  const bars = seen.bars("c1 filled");
  const words = element("p", { class: "touch-words", role: "status" });
  const about = element("p", { class: "touch-words" });

  const current = () => data.layers[state.at];
  const flipped = () => outputsOf(current()) > inputsOf(current()); // the longer side goes across
  const drawMap = () => {
    const table = strengths[state.at];
    const most = Math.max(...table.flat());
    const sizes = [table[0].length, table.length];
    [map.width, map.height] = flipped() ? sizes.reverse() : sizes;
    const image = new ImageData(map.width, map.height);
    table.forEach((row, o) => row.forEach((value, i) => {
      const cell = flipped() ? i * map.width + o : o * map.width + i;
      image.data[4 * cell + 3] = 20 + 200 * (value / most);
    }));
    map.getContext("2d").putImageData(image, 0, 0);
    const [across, down] = flipped() ? [current().outputs, current().inputs] : [current().inputs, current().outputs];
    about.textContent = `Every edge of the layer: each column is a ${across}, each row a ${down}. The more an edge `
      + "varies, the more ink it has. Click one, or use the sliders.";
  };
  const draw = () => {
    const layer = current();
    const { input, output } = state;
    const edge = kanvae.edge(layer.layer, input, output);
    const histogram = bins(layer, input);
    const filled = histogram.filter(([, , share]) => share > 0);
    const x = [Math.min(-data.marks[1], filled[0][0]), Math.max(data.marks[1], filled[filled.length - 1][1])];
    const places = [...range(...x, 400), ...edge.knots.filter((knot) => knot >= x[0] && knot <= x[1])];
    const values = places.sort((a, b) => a - b).map((value) => [value, edge.base(value), edge.spline(value)]);
    const heights = values.flatMap(([, base, spline]) => [base, spline, base + spline]);
    const [low, high] = [Math.min(...heights), Math.max(...heights)];
    plot.x = x;
    seen.x = x;
    plot.y = [low - 0.08 * (high - low) - 1e-6, high + 0.08 * (high - low) + 1e-6];
    seen.y = [0, 1.05 * Math.max(...histogram.map(([, , share]) => share))];
    plot.xlabel = `${layer.inputs} ${input + 1}`;
    seen.xlabel = plot.xlabel;
    const [grid, knots] = data.marks;
    for (const mark of marks) mark.set([-knots, -grid, grid, knots]);
    curves.base.set([values.map(([at, base]) => [at, base])]);
    curves.spline.set([values.map(([at, , spline]) => [at, spline])]);
    curves.whole.set([values.map(([at, base, spline]) => [at, base + spline])]);
    bars.set(histogram);
    plot.render();
    seen.render();
    const [inside, reached] = layer.seen.inside.values.subarray(2 * input, 2 * input + 2);
    const [within, beyond] = [100 * inside, 100 * (1 - reached)].map((value) => value.toFixed(0));
    words.textContent = `From ${layer.inputs} ${input + 1} to ${layer.outputs} ${output + 1}: ${within} % of the `
      + `inputs fall inside the grid, ${beyond} % beyond all knots. The edge varies by `
      + `${kanvae.text(strengths[state.at][output][input], 3)} (standard deviation over its inputs).`;
    const [across, down] = flipped() ? [output, input] : [input, output];
    cross.style.left = `${(100 * (across + 0.5)) / map.width}%`;
    cross.style.top = `${(100 * (down + 0.5)) / map.height}%`;
  };

  const ends = element("div", { class: "touch-controls" });
  let sliders = {};
  const makeControls = () => {
    const layer = current();
    const one = (key, name, count) => slider({
      name, min: 1, max: count, step: 1, value: state[key] + 1, digits: 0,
      change: (value) => {
        state[key] = value - 1;
        draw();
      },
    });
    sliders = {
      input: one("input", layer.inputs, inputsOf(layer)),
      output: one("output", layer.outputs, outputsOf(layer)),
    };
    ends.replaceChildren(sliders.input.node, sliders.output.node);
  };
  const show = (at, input, output) => {
    Object.assign(state, { at, input, output });
    makeControls();
    drawMap();
    draw();
  };
  const choose = (at) => { // first the edge that varies the most
    const most = Math.max(...strengths[at].flat());
    const output = strengths[at].findIndex((row) => row.includes(most));
    show(at, strengths[at][output].indexOf(most), output);
  };
  const choice = kanvae.choice({
    name: "layer", options: data.layers.map((layer, i) => [i, layer.name]), value: data.start[0], change: choose,
  });
  const cross = element("span", { class: "touch-cross", "aria-hidden": true });
  const pick = (event) => {
    const edges = map.getBoundingClientRect();
    const place = (part, count) => Math.min(count - 1, Math.max(0, Math.floor(part * count)));
    const across = place((event.clientX - edges.left) / edges.width, map.width);
    const down = place((event.clientY - edges.top) / edges.height, map.height);
    [state.input, state.output] = flipped() ? [down, across] : [across, down];
    sliders.input.set(state.input + 1);
    sliders.output.set(state.output + 1);
    draw();
  };
  map.addEventListener("pointerdown", pick);
  map.addEventListener("pointermove", (event) => event.buttons && pick(event));
  box.append(
    element("div", { class: "touch-controls" }, choice.node, ends),
    element("div", { class: "touch-grid" }, map, cross),
    about,
    kanvae.legend(["c1 wide", "edge: the sum"], ["c2 dashed", "base"], ["c3 dashdot", "spline"], ["ink dotted thin", "ends of the grid and of the knots"]),
    plot.svg, seen.svg, words,
  );
  show(...data.start);
  return {
    values: (places) => ({
      ...state, parts: places.map((x) => {
        const edge = kanvae.edge(current().layer, state.input, state.output);
        return [edge.base(x), edge.spline(x)];
      }),
      strength: strengths[state.at][state.output][state.input],
    }),
  };
});
