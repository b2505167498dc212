document.addEventListener("DOMContentLoaded", () => {
  // pydata-sphinx-theme 0.17 binds only the first button of each kind, which stands in a bar that
  // this book hides (its issue 2451): the buttons that a reader sees press that one.
  for (const kind of [".primary-toggle", ".secondary-toggle"]) {
    const [first, ...others] = document.querySelectorAll(kind);
    for (const button of others) {
      button.addEventListener("click", () => first.click());
    }
  }

  // The theme leaves its side bar outside all landmarks (its pull request 1454) and its dialogs
  // without names. It keeps a dialog open over the place that a reader has chosen there, and scrolls
  // away from that place when it gives the focus back to the button: so the dialog closes first.
  const names = {
    "pst-primary-sidebar": "The book",
    "pst-primary-sidebar-modal": "The book",
    "pst-secondary-sidebar-modal": "On this page",
    "pst-search-dialog": "Search",
  };
  for (const [id, name] of Object.entries(names)) {
    const element = document.getElementById(id);
    if (element === null) continue;
    element.setAttribute("aria-label", name);
    if (element.tagName === "DIALOG") {
      element.addEventListener("click", (event) => {
        const link = event.target.closest("a");
        if (!link?.hash || link.pathname !== location.pathname) return;
        event.preventDefault();
        element.addEventListener("close", () => location.assign(link.href), { once: true });
        element.close();
      });
    } else {
      element.setAttribute("role", "navigation");
    }
  }

  // It names its search buttons by less than their visible words, and its switch of the colour mode
  // otherwise than the icons in it.
  for (const button of document.querySelectorAll(".search-button-field")) {
    button.setAttribute("aria-label", button.textContent.trim().replace(/\s+/g, " "));
  }
  // The icons may be drawings already, with their titles in them, or become drawings at any time.
  for (const button of document.querySelectorAll(".theme-switch-button")) {
    const hide = () => {
      for (const icon of button.children) {
        icon.removeAttribute("title");
        icon.setAttribute("aria-hidden", "true");
        icon.querySelector("title")?.remove();
      }
    };
    hide();
    new MutationObserver(hide).observe(button, { childList: true });
  }
  // It gives the folds of its table of contents no name.
  for (const fold of document.querySelectorAll(".bd-sidenav details > summary")) {
    const chapter = fold.closest("li").querySelector("a").textContent.trim();
    fold.setAttribute("aria-label", `Pages of ${chapter}`);
  }
});

// Sphinx's search takes its excerpts from the text of a page, where formulas still are TeX. Those
// without commands stay, as plain text; the others become an ellipsis.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  const { htmlToText } = Search;
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    for (const formula of page.querySelectorAll(".math")) {
      const tex = formula.textContent.replace(/\\[()[\]]/g, "");
      formula.textContent = /[\\{}]/.test(tex) ? "…" : tex;
    }
    return htmlToText(page.documentElement.outerHTML, anchor);
  };
});

// A formula that scrolls inside itself can be reached, and so scrolled, by the keyboard.
function reachFormulas() {
  for (const formula of document.querySelectorAll("div.math > mjx-container")) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
}
document.addEventListener("DOMContentLoaded", () => {
  window.MathJax?.startup?.promise?.then(reachFormulas);
});
addEventListener("resize", reachFormulas);

// Paper is white, whatever the screen's theme.
let theme;
addEventListener("beforeprint", () => {
  theme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = theme;
});
