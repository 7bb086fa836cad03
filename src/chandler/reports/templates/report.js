// Draws every chart from the JSON behind it, in the colours of the page, and again when these change; sorts and searches tables.
(function () {
  "use strict";
  function colours(value, style) {
    if (typeof value === "string") {
      return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    }
    if (Array.isArray(value)) {
      return value.map(function (one) { return colours(one, style); });
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(function (pair) { return [pair[0], colours(pair[1], style)]; }));
    }
    return value;
  }
  function draw() {
    const style = getComputedStyle(document.documentElement);
    document.querySelectorAll("div.chart").forEach(function (div) {
      const figure = colours(JSON.parse(div.nextElementSibling.textContent), style);
      const axis = figure.layout.xaxis;
      if (div.clientWidth < 420 && axis.ticktext) {
        axis.ticktext = axis.ticktext.map(function (text, i) { return i % 2 ? "" : text; });
      }
      Plotly.react(div, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    });
  }
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // A chart has the width of the window; with a view box it takes that of the paper.
  addEventListener("beforeprint", function () {
    document.querySelectorAll(".main-svg").forEach(function (svg) {
      svg.setAttribute("viewBox", [0, 0, svg.getAttribute("width"), svg.getAttribute("height")].join(" "));
    });
  });
  addEventListener("afterprint", function () {
    document.querySelectorAll(".main-svg").forEach(function (svg) { svg.removeAttribute("viewBox"); });
  });

  const table = document.querySelector("table.sortable"), find = document.querySelector("#find");
  if (table) {
    const body = table.tBodies[0], heads = table.querySelectorAll("th");
    heads.forEach(function (head, column) {
      head.addEventListener("click", function () {
        const down = head.dataset.down !== "1";
        heads.forEach(function (one) { delete one.dataset.down; });
        head.dataset.down = down ? "1" : "0";
        const key = function (row) { return row.cells[column].dataset.v ?? row.cells[column].textContent; };
        const number = function (value) { return value !== "" && !isNaN(value); };
        [...body.rows].sort(function (a, b) {
          const x = key(a), y = key(b);
          const order = number(x) && number(y) ? x - y : String(x).localeCompare(String(y));
          return down ? -order : order;
        }).forEach(function (row) { body.append(row); });
      });
    });
    if (find) {
      find.addEventListener("input", function () {
        for (const row of body.rows) {
          row.hidden = !row.cells[0].textContent.toLowerCase().includes(find.value.toLowerCase());
        }
      });
    }
  }
})();
