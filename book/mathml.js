// Formulas as MathML, by the MathJax that the pages use: of each line of the input, a pair of TeX and
// whether it is displayed, a line with its MathML. book/paper.py runs it with MathJax's folder.
const folder = process.argv[2];
const lines = require("node:readline").createInterface({ input: process.stdin });

require(`${folder}/node-main.js`)
  .init({
    loader: {
      paths: { mathjax: folder },
      load: ["input/tex-base", "[tex]/ams", "adaptors/liteDOM"],
      versionWarnings: false,
    },
    tex: { packages: ["base", "ams"] },
  })
  .then((MathJax) => {
    lines.on("line", async (line) => {
      const [tex, display] = JSON.parse(line);
      console.log(JSON.stringify(await MathJax.tex2mmlPromise(tex, { display })));
    });
  });
