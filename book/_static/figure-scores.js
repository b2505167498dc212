/* A table of results as a picture: a point a model, with what to show of it to choose.

   data: rows, each {name, kind, x, and a value for every choice and measure}; xlabel;
   choices: [{key, name, options: [[value, words]]}], each of which keeps the rows with its value;
   measures: [{key, words, spread (key of the error, or null), digits, log, top (where the axis ends at
   most; what lies above is written at its end)}]; kinds: [[kind, words]];
   pairs: [[name, name]], joined by a line */
"use strict";

kanvae.figure("scores", (box, data) => {
  const { choice, element, panel, text } = kanvae;
  const SHAPES = [ // those of kanvae/figures/style.py
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", "M-5 -5H5V5H-5Z", "M0 -6L6 5H-6Z", "M0 -7L6 0L0 7L-6 0Z",
    "M0 6L6 -5H-6Z", "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
  ];
  const chosen = Object.fromEntries(data.choices.map(({ key, options }) => [key, options[0][0]]));
  let measure = data.measures[0];

  const rows = () => data.rows.filter((row) =>
    data.choices.every(({ key }) => row[key] === chosen[key]) && Number.isFinite(row[measure.key]));
  const value = (row) => row[measure.key];
  const error = (row) => (measure.spread === null ? 0 : row[measure.spread] ?? 0);

  const words = element("p", { class: "touch-words", role: "status" });
  const hint = "Point at a model or tap it, or move to it by the tab key.";
  const make = () => panel({
    label: "The models", height: 360, x: [1, 2], y: [1, 2], xlabel: data.xlabel, ylabel: measure.words,
    log: measure.log ? "xy" : "x", left: 58,
  });
  const say = (row) => {
    const spread = error(row) ? ` ± ${text(error(row), measure.digits)}` : "";
    return `${row.name}: ${text(value(row), measure.digits)}${spread}, ${row.x.toLocaleString("en")} ${data.xlabel}`;
  };
  let points = []; // what is drawn: {node, row, x, y}
  const show = ({ node, row }) => {
    for (const one of points) one.node.classList.toggle("chosen", one.node === node);
    words.textContent = `${say(row)}.`;
  };
  /** Show the model nearest to a pointer, where models stand close to each other. */
  const near = (event) => {
    const place = event.currentTarget.getBoundingClientRect();
    const far = ({ x, y }) => Math.hypot(x - event.clientX + place.left, y - event.clientY + place.top);
    const [nearest] = [...points].sort((a, b) => far(a) - far(b));
    if (nearest && far(nearest) < 24) show(nearest);
  };
  const drawPoints = (plot, group) => {
    group.replaceChildren();
    points = [];
    const shown = rows();
    const place = (row) => [plot.px(row.x), plot.py(value(row))];
    const end = plot.py(plot.y[1]);
    /** The line between two places, up to the end of the axis. */
    const line = ([a, b], [c, d]) => {
      const cut = (x, y, u, v) => (y < end ? [x + ((end - y) / (v - y)) * (u - x), end] : [x, y]);
      return b < end && d < end ? "" : `M${cut(a, b, c, d).join(" ")}L${cut(c, d, a, b).join(" ")}`;
    };
    for (const pair of data.pairs) {
      const ends = pair.map((name) => shown.find((row) => row.name === name));
      if (ends.includes(undefined)) continue;
      group.append(element("path", { class: "touch-curve ink dotted thin", d: line(...ends.map(place)) }));
    }
    for (const row of shown) {
      const [x, real] = place(row);
      const y = Math.max(real, end + 12);
      const kind = data.kinds.findIndex(([key]) => key === row.kind);
      const [low, high] = [-1, 1].map((way) => plot.py(Math.max(value(row) + way * error(row), plot.y[0])) - real);
      const bar = real < end
        ? element("text", { x: 12, y: 4 }, `↑ ${text(value(row), 0)}`)
        : element("path", { class: `touch-curve c${kind + 1}`, d: `M0 ${low}V${high}M-4 ${low}h8M-4 ${high}h8` });
      const node = element(
        "g", { class: "touch-point", tabindex: 0, role: "img", "aria-label": say(row), transform: `translate(${x} ${y})` },
        element("circle", { class: "touch-reach", r: 10 }),
        bar,
        element("path", { class: `touch-shape c${kind + 1}`, d: SHAPES[kind % SHAPES.length] }),
      );
      const point = { node, row, x, y };
      node.addEventListener("focus", () => show(point));
      points.push(point);
      group.append(node);
    }
  };
  const place = element("div");
  const draw = () => {
    const shown = rows();
    const plot = make();
    const around = (values, log) => {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      if (log) return [low / 1.3, high * 1.3];
      const margin = 0.1 * (high - low || Math.abs(high) || 1);
      return [low - margin, high + margin];
    };
    if (shown.length > 0) {
      plot.x = around(shown.map(({ x }) => x), true);
      const ends = shown.flatMap((row) => [-1, 1].map((way) => value(row) + way * error(row)));
      plot.y = around(measure.log ? ends.filter((end) => end > 0) : ends, measure.log);
      if (measure.top && shown.some((row) => value(row) < measure.top)) plot.y[1] = Math.min(plot.y[1], measure.top);
    }
    for (const event of ["pointermove", "pointerdown"]) plot.svg.addEventListener(event, near);
    place.replaceChildren(plot.svg);
    plot.layer((group) => drawPoints(plot, group));
    words.textContent = shown.length > 0 ? hint : "No model has been measured so.";
  };
  const controls = data.choices.map(({ key, name, options }) => choice({
    name, options, value: chosen[key],
    change: (one) => {
      chosen[key] = one;
      draw();
    },
  }).node);
  controls.push(choice({
    name: "measure", options: data.measures.map((one) => [one, one.words]), value: measure,
    change: (one) => {
      measure = one;
      draw();
    },
  }).node);
  const shape = (kind) => element("svg", { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": true },
    element("path", { class: `touch-shape c${kind + 1}`, d: SHAPES[kind % SHAPES.length] }));
  box.append(
    element("div", { class: "touch-controls" }, ...controls),
    element("p", { class: "touch-legend" },
      ...data.kinds.map(([, name], kind) => element("span", {}, shape(kind), ` ${name}`))),
    place, words,
  );
  draw();
  return { values: () => ({ ...chosen, measure: measure.key, shown: rows() }) };
});
