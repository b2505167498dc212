// The table of points: a click on a heading sorts, words and conditions above it filter.
const table = document.getElementById("points");
const body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells];
const names = heads.map((head) => head.textContent.trim());

const valueOf = (row, i) => {
  const cell = row.cells[i];
  return cell.dataset.number === undefined ? cell.textContent.trim() : Number(cell.dataset.number);
};

const compare = (a, b) => {  // numbers before words, nothing last
  if (a === b) return 0;
  if (a === "" || b === "") return a === "" ? Infinity : -Infinity;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : 1;
};

heads.forEach((head, i) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = names[i];
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const lines = [...body.rows].map((row) => [valueOf(row, i), row]);
    lines.sort(([a], [b]) => {
      const order = compare(a, b);
      return down && Number.isFinite(order) ? -order : order;
    });
    body.replaceChildren(...lines.map(([, row]) => row));
  });
});

const bar = document.createElement("div");
bar.className = "filter";
bar.innerHTML = '<label for="filter">Filter</label><input id="filter" type="search">'
  + '<output for="filter"></output>'
  + '<span class="soft">words, and conditions such as <code></code>; all must hold</span>';
const first = [...(body.rows[0]?.cells ?? [])].findIndex((cell) => cell.dataset.number !== undefined);
bar.querySelector("code").textContent = `${names[first] ?? "seconds"}>0`;
const input = bar.querySelector("input"), count = bar.querySelector("output");
table.parentElement.before(bar);

const tests = {
  "=": (a, b) => String(a) === String(b) || Number(a) === Number(b),
  "!=": (a, b) => !tests["="](a, b),
  "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
};

const condition = (word) => {
  const parts = word.match(/^(.+?)(<=|>=|!=|=|<|>)(.*)$/);
  const i = parts ? names.indexOf(parts[1]) : -1;
  if (i < 0) return (row) => row.textContent.toLowerCase().includes(word.toLowerCase());
  const [, , sign, text] = parts;
  const wanted = /[<>]/.test(sign) ? Number(text) : text;
  return (row) => valueOf(row, i) !== "" && tests[sign](valueOf(row, i), wanted);
};

const filter = () => {
  const conditions = input.value.split(/\s+/).filter(Boolean).map(condition);
  let shown = 0;
  for (const row of body.rows) {
    row.hidden = !conditions.every((holds) => holds(row));
    shown += !row.hidden;
  }
  count.textContent = `${shown} of ${body.rows.length} points`;
};
input.addEventListener("input", filter);
filter();
