/* The latent space of trained models: move z, see the image that the decoder makes of it.

   data: models, each {name, layers (kanvae.export.layers), nats (L: what each latent carries),
   starts (n, L: latents to begin from)}; digits (n names of the starts) */
"use strict";

kanvae.figure("latent", (box, data) => {
  const { button, choice, element, panel, slider, text } = kanvae;
  const SIDE = 28, TILES = 9, REACH = 3; // of the plane: so many images, from -3 to 3

  const models = data.models.map((model) => {
    const latents = model.nats.length;
    // the latents that carry the most come first
    const order = [...model.nats.keys()].sort((a, b) => model.nats[b] - model.nats[a]);
    const z = Array.from(model.starts.values.subarray(0, latents));
    return { ...model, latents, order, z, plane: [order[0], order[1]] };
  });
  let model = models[0];
  const decode = (z) => kanvae.run(model.layers, z).map(kanvae.sigmoid);

  const image = element("canvas", {
    class: "touch-image touch-ink", width: SIDE, height: SIDE, role: "img", "aria-label": "The image decoded from z",
  });
  const map = element("canvas", {
    class: "touch-ink", width: SIDE * TILES, height: SIDE * TILES, "aria-hidden": true,
  });
  const plane = panel({
    label: "A plane through the latent space", height: 300, x: [-REACH, REACH], y: [-REACH, REACH], xlabel: "", ylabel: "",
  });
  const name = (i) => `z${i + 1}`;
  const point = plane.handle({
    label: "The point in the plane", step: [0.1, 0.1], span: "x", now: () => clip(model.z[model.plane[0]]),
    at: () => model.plane.map((i) => clip(model.z[i])),
    words: () => model.plane.map((i) => `${name(i)} ${text(model.z[i])}`).join(", "),
    move: (x, y) => { // a latent beyond the plane stays where it is until it is moved inwards
      model.plane.forEach((i, axis) => {
        const wished = clip([x, y][axis]);
        if (wished !== clip(model.z[i])) model.z[i] = wished;
      });
      draw();
    },
  });
  const clip = (value) => Math.min(REACH, Math.max(-REACH, value));

  // The images of the plane take longer than one: they follow a moment later, and only when latents
  // outside the plane have changed.
  let drawn = "", waiting = 0;
  const drawMap = () => {
    const z = [...model.z];
    const [i, j] = model.plane;
    const key = [models.indexOf(model), i, j, ...z.filter((_, k) => k !== i && k !== j)].join();
    if (key === drawn) return;
    drawn = key;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      for (let row = 0; row < TILES; row += 1) {
        for (let column = 0; column < TILES; column += 1) {
          z[i] = (2 * (column + 0.5) / TILES - 1) * REACH;
          z[j] = -(2 * (row + 0.5) / TILES - 1) * REACH;
          kanvae.paint(map, decode(z), SIDE, SIDE * column, SIDE * row);
        }
      }
    });
  };
  let sliders = [];
  const draw = () => {
    kanvae.paint(image, decode(model.z), SIDE);
    model.order.forEach((i, place) => sliders[place].set(model.z[i]));
    point.draw();
    drawMap();
  };
  const set = (z) => {
    model.z = Array.from(z);
    draw();
  };

  const bank = element("div", { class: "touch-bank", role: "group", "aria-label": "The latents" });
  const axes = element("div", { class: "touch-controls" });
  const setPlane = () => {
    [plane.xlabel, plane.ylabel] = model.plane.map(name);
    plane.render();
    draw();
  };
  const build = () => {
    sliders = model.order.map((i) => slider({
      name: name(i), label: `${name(i)}, ${text(model.nats[i], 1)} nats`, min: -REACH, max: REACH, step: 0.05,
      value: model.z[i],
      change: (value) => {
        model.z[i] = value;
        draw();
      },
    }));
    model.order.forEach((i, place) => {
      if (model.nats[i] < 0.05) sliders[place].node.classList.add("idle");
    });
    bank.replaceChildren(...sliders.map(({ node }) => node));
    const options = model.order.map((i) => [i, `${name(i)} (${text(model.nats[i], 1)} nats)`]);
    const choices = ["across", "up"].map((way, axis) => choice({
      name: way, options, value: model.plane[axis],
      change: (i) => {
        if (i === model.plane[1 - axis]) model.plane[1 - axis] = model.plane[axis];
        model.plane[axis] = i;
        choices.forEach((one, other) => one.set(model.plane[other]));
        setPlane();
      },
    }));
    axes.replaceChildren(...choices.map(({ node }) => node));
    setPlane();
  };
  const which = choice({
    name: "model", options: models.map((one) => [one, one.name]), value: model,
    change: (one) => {
      model = one;
      build();
    },
  });
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const starts = element("div", { class: "touch-starts", role: "group", "aria-label": "Start from a test digit" });
  data.digits.forEach((digit, n) => starts.append(button(digit, () => {
    const { values } = model.starts;
    set(values.subarray(n * model.latents, (n + 1) * model.latents));
  }, `Start from a test digit ${digit}`)));

  box.append(
    element("div", { class: "touch-controls" }, which.node,
      button("Draw z from the prior", () => set(model.z.map(normal))),
      button("All zero", () => set(model.z.map(() => 0)))),
    element("div", { class: "touch-controls" }, element("span", { "aria-hidden": true }, "Start from a test digit"), starts),
    element("div", { class: "touch-two" },
      element("div", { class: "touch-follow" }, image),
      element("div", {}, element("div", { class: "touch-under" }, map, plane.svg), axes)),
    element("p", { class: "touch-words" }, "The image is decoded from all latents. Drag the point through the plane of two "
      + "of them, or move any by its slider; those that carry the most nats come first."),
    bank,
  );
  build();
  return { values: () => ({ name: model.name, z: model.z, pixels: Array.from(decode(model.z)) }) };
});
