/* A B-spline curve to play with: control points and knots to move, a degree to choose.

   data: points, before (lists of [x, y]), inner (knots), range, degree */
"use strict";

kanvae.figure("spline", (box, data) => {
  const { bases, element, panel } = kanvae;
  const highest = data.points.length - 1;
  const start = () => ({
    degree: data.degree,
    inner: [...data.inner],
    points: data.points.map((point) => [...point]),
    ghost: { degree: data.degree, inner: [...data.inner], points: data.before },
    chosen: data.points.findIndex((point, i) => point.some((value, j) => value !== data.before[i][j])),
  });
  let state = start();

  const clamped = ({ inner, degree }) => {
    const [low, high] = data.range;
    return [...new Array(degree + 1).fill(low), ...inner, ...new Array(degree + 1).fill(high)];
  };

  /** [x, bases at x] along the curve, a piece for each interval that has a length. */
  const sampled = (given) => {
    const knots = clamped(given);
    const pieces = [];
    const each = Math.max(33, Math.ceil(200 / (given.inner.length + 1)));
    for (let i = given.degree; i < given.points.length; i += 1) {
      const [low, high] = [knots[i], knots[i + 1]];
      if (low === high) continue;
      const last = high - 1e-9 * (high - low); // at the knot itself the next piece begins
      pieces.push(kanvae.range(low, last, each).map((x) => [x, bases(x, knots, given.degree)]));
    }
    return pieces;
  };
  const along = (values, points) =>
    [0, 1].map((axis) => values.reduce((sum, value, i) => sum + value * points[i][axis], 0));

  const [xs, ys] = [0, 1].map((axis) => [...data.points, ...data.before].map((point) => point[axis]));
  const wide = (all, by) => [Math.min(...all) - by, Math.max(...all) + by];
  const plane = panel({
    label: "The curve and its control points", height: 270, x: wide(xs, 0.6), y: wide(ys, 0.8),
    xlabel: "first coordinate", ylabel: "second coordinate",
  });
  const line = panel({
    label: "The basis functions and their knots", height: 210, x: data.range, y: [0, 1.05],
    xlabel: "x, with the inner knots to move", ylabel: "basis functions", bottom: 52, below: 25,
  });
  const ghost = plane.curve("ghost");
  const polygon = plane.curve("c2 thin dashed");
  const curve = plane.curve("c1");
  const reach = plane.curve("c3 wide");
  const joints = plane.curve("ink");
  const marks = line.marks("ink dotted");
  const others = line.curve("c1 thin");
  const own = line.curve("c3 wide");
  const words = element("p", { class: "touch-words", role: "status" });

  const moveKnot = (i, x) => {
    const [low, high] = data.range;
    const least = state.inner[i - 1] ?? low;
    const most = state.inner[i + 1] ?? high;
    const near = [least, most].find((value) => Math.abs(value - x) < 0.03); // knots may coincide
    state.inner[i] = near ?? Math.min(Math.max(x, least), most);
    draw();
  };
  const remember = () => {
    const { degree, inner, points } = state;
    state.ghost = { degree, inner: [...inner], points: points.map((point) => [...point]) };
  };
  const dots = state.points.map((_, i) =>
    plane.handle({
      label: `Control point ${i + 1}`, step: [0.1, 0.1], now: () => state.points[i][1],
      at: () => state.points[i],
      words: () => state.points[i].map((value) => kanvae.text(value)).join(", "),
      start: remember,
      move: (x, y) => {
        const clip = (value, [low, high]) => Math.min(Math.max(value, low), high);
        state.points[i] = [clip(x, plane.x), clip(y, plane.y)];
        draw();
      },
    }));
  dots.forEach(({ node }, i) => node.addEventListener("focus", () => {
    state.chosen = i;
    draw();
  }));

  let knots = [];
  const makeKnots = () => {
    for (const knot of knots) knot.remove();
    knots = state.inner.map((_, i) =>
      line.handle({
        label: `Knot ${i + 1}`, kind: "knot", step: [0.1, 0], span: "x", now: () => state.inner[i],
        at: () => [state.inner[i], 0],
        words: () => kanvae.text(state.inner[i]),
        // knots that coincide stand on each other
        shift: () => 14 * state.inner.slice(0, i).filter((other) => other === state.inner[i]).length,
        start: remember,
        move: (x) => moveKnot(i, x),
      }));
  };

  const draw = () => {
    const { degree, points, chosen, inner } = state;
    const all = clamped(state);
    const pieces = sampled(state);
    const within = ([x]) => all[chosen] <= x && x <= all[chosen + degree + 1];
    ghost.set(sampled(state.ghost).map((piece) => piece.map(([, values]) => along(values, state.ghost.points))));
    polygon.set([points]);
    curve.set(pieces.map((piece) => piece.map(([, values]) => along(values, points))));
    reach.set(pieces.map((piece) => piece.filter(within).map(([, values]) => along(values, points))));
    joints.set(inner.map((x) => {
      const [a, b] = along(bases(x, all, degree), points);
      return [[a, b - 0.12], [a, b + 0.12]];
    }));
    const basis = (i) => pieces.map((piece) => piece.map(([x, values]) => [x, values[i]]));
    others.set(points.flatMap((_, i) => basis(i)));
    own.set(basis(chosen));
    marks.set(inner);
    for (const dot of dots) dot.draw();
    for (const knot of knots) knot.draw();
    const [low, high] = [all[chosen], all[chosen + degree + 1]].map((x) => kanvae.text(x, 1));
    if (degree === 0) {
      words.textContent = "Degree 0: the curve jumps from one control point to the next.";
      return;
    }
    words.textContent = `Control point ${chosen + 1} moves the curve from x = ${low} to ${high} and nowhere else.`;
  };

  const degree = kanvae.slider({
    name: "degree", min: 0, max: highest, step: 1, value: state.degree, digits: 0,
    change: (value) => {
      remember();
      state.degree = value;
      const count = highest - value;
      state.inner = kanvae.range(...data.range, count + 2).slice(1, -1);
      makeKnots();
      draw();
    },
  });
  const again = kanvae.button("Start again", () => {
    state = start();
    degree.set(state.degree);
    makeKnots();
    draw();
  });
  box.append(
    kanvae.legend(
      ["c1", "curve"], ["c3 wide", "what the chosen point moves"], ["ghost", "before the move"],
      ["touch-handle", "control points: drag them"], ["touch-handle knot", "knots: drag them"],
    ),
    plane.svg, line.svg,
    element("div", { class: "touch-controls" }, degree.node, again), words,
  );
  makeKnots();
  draw();
  return {
    values: () => ({
      degree: state.degree, knots: clamped(state), points: state.points,
      bases: sampled(state).flat(), curve: sampled(state).flat().map(([, v]) => along(v, state.points)),
    }),
  };
});
