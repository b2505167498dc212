/* Points in the plane that show their image: one panel a model, the same images in each.

   data: panels, each {name, points (N, 2)}; labels (N); images: all of them on one sheet, a data
   URI, `columns` in a row, `side` pixels wide */
"use strict";

kanvae.figure("points", (box, data) => {
  const { element } = kanvae;
  const labels = Array.from(data.labels.values);
  const COLOURS = [1, 2, 3, 4, 5, 2, 4, 1, 5, 3]; // two digits a colour: a dot and a cross, as in print
  const HEIGHT = 280, EDGE = 10;
  const sheet = new Image();
  sheet.src = data.images;
  let chosen = null;

  const card = element("canvas", { class: "touch-ink", width: data.side, height: data.side, "aria-hidden": true });
  const caption = element("span", { role: "status" }, "Point at a dot, or choose a picture and use the arrow keys.");
  const draws = [];
  const choose = (i) => {
    if (i === null || i === chosen) return;
    chosen = i;
    caption.textContent = `Test image ${i + 1}, a ${labels[i]}`;
    drawCard();
    for (const draw of draws) draw();
  };
  const drawCard = () => {
    if (chosen === null || !sheet.complete) return;
    const { side, columns } = data;
    const pen = card.getContext("2d", { willReadFrequently: true });
    pen.clearRect(0, 0, side, side);
    const [left, top] = [side * (chosen % columns), side * Math.floor(chosen / columns)];
    pen.drawImage(sheet, left, top, side, side, 0, 0, side, side);
    const pixels = pen.getImageData(0, 0, side, side); // white on black: its light becomes ink
    for (let k = 0; k < pixels.data.length; k += 4) {
      pixels.data[k + 3] = pixels.data[k];
      pixels.data.fill(0, k, k + 3);
    }
    pen.putImageData(pixels, 0, 0);
  };
  sheet.addEventListener("load", drawCard);

  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

  const panel = ({ name, points }) => {
    const xs = labels.map((_, i) => points.values[2 * i]);
    const ys = labels.map((_, i) => points.values[2 * i + 1]);
    const [x0, x1, y0, y1] = [xs, ys].flatMap((all) => [
      all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))]);
    const back = element("canvas"), front = element("canvas", {
      tabindex: 0, role: "application", "aria-roledescription": "scatter plot",
      "aria-label": `${name}: arrow keys move from point to point`,
    });
    let [width, across, down] = [0, [], []];
    const pen = (canvas) => {
      const ratio = window.devicePixelRatio;
      [canvas.width, canvas.height] = [width * ratio, HEIGHT * ratio];
      const context = canvas.getContext("2d");
      context.scale(ratio, ratio);
      return context;
    };
    const colour = (property) => getComputedStyle(box).getPropertyValue(property);
    const drawPoints = () => {
      const context = pen(back);
      for (const digit of new Set(labels)) {
        context.fillStyle = colour(`--touch-${COLOURS[digit]}`);
        context.strokeStyle = context.fillStyle;
        context.beginPath();
        labels.forEach((label, i) => {
          if (label !== digit) return;
          if (digit < 5) {
            context.rect(across[i] - 0.8, down[i] - 0.8, 1.6, 1.6);
          } else {
            for (const way of [-1, 1]) {
              context.moveTo(across[i] - 1.5, down[i] - 1.5 * way);
              context.lineTo(across[i] + 1.5, down[i] + 1.5 * way);
            }
          }
        });
        if (digit < 5) context.fill();
        else context.stroke();
      }
      context.font = "bold 13px sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      for (const digit of new Set(labels)) {
        const own = labels.flatMap((label, i) => (label === digit ? [i] : []));
        const [x, y] = [median(own.map((i) => across[i])), median(own.map((i) => down[i]))];
        context.fillStyle = colour("--touch-ground");
        context.strokeStyle = colour("--touch-ink");
        context.beginPath();
        context.arc(x, y, 10, 0, 2 * Math.PI);
        context.fill();
        context.stroke();
        context.fillStyle = context.strokeStyle;
        context.fillText(digit, x, y + 1);
      }
    };
    const drawChosen = () => {
      const context = pen(front);
      if (chosen === null) return;
      context.strokeStyle = colour("--touch-ink");
      context.lineWidth = 2.5;
      context.beginPath();
      context.arc(across[chosen], down[chosen], 8, 0, 2 * Math.PI);
      context.stroke();
    };
    draws.push(drawChosen);
    const layOut = () => {
      if (front.clientWidth === 0) return;
      width = front.clientWidth;
      across = xs.map((x) => EDGE + ((x - x0) / (x1 - x0)) * (width - 2 * EDGE));
      down = ys.map((y) => EDGE + ((y1 - y) / (y1 - y0)) * (HEIGHT - 2 * EDGE));
      drawPoints();
      drawChosen();
    };
    new ResizeObserver(layOut).observe(front);
    kanvae.onTheme(layOut);

    /** The point with the least cost, null if that is infinite. */
    const best = (cost) => {
      let [found, least] = [null, Infinity];
      labels.forEach((_, i) => {
        const value = cost(i);
        if (value < least) [found, least] = [i, value];
      });
      return found;
    };
    const near = (event) => {
      const place = front.getBoundingClientRect();
      const [x, y] = [event.clientX - place.left, event.clientY - place.top];
      choose(best((i) => {
        const distance = Math.hypot(across[i] - x, down[i] - y);
        return distance < 24 ? distance : Infinity;
      }));
    };
    front.addEventListener("pointermove", near);
    front.addEventListener("pointerdown", near);
    front.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (way === undefined) return;
      event.preventDefault();
      if (chosen === null) {
        choose(best((i) => Math.hypot(across[i] - width / 2, down[i] - HEIGHT / 2)));
        return;
      }
      choose(best((i) => { // the nearest in that direction, those to the side being farther
        const [a, b] = [across[i] - across[chosen], down[i] - down[chosen]];
        const ahead = a * way[0] + b * way[1], aside = Math.abs(a * way[1]) + Math.abs(b * way[0]);
        return i !== chosen && ahead > 0.5 && aside <= 2 * ahead ? ahead + 2 * aside : Infinity;
      }));
    });
    return {
      node: element("div", { class: "touch-scatter" }, element("p", {}, name), element("div", { class: "touch-under" }, back, front)),
      place: (i) => [across[i], down[i]],
    };
  };
  const panels = data.panels.map(panel);
  box.append(
    element("div", { class: "touch-card" }, card, caption),
    element("div", { class: "touch-panels" }, ...panels.map(({ node }) => node)),
  );
  return {
    values: () => ({
      chosen, label: labels[chosen],
      pixels: Array.from(card.getContext("2d").getImageData(0, 0, data.side, data.side).data).filter((_, k) => k % 4 === 3),
    }),
    place: (which, i) => panels[which].place(i),
  };
});
